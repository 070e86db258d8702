"""Writers and readers that go on while something is done to the server, and what must be left."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from langchain_core.messages import HumanMessage

from langchain_kronvex import KronvexKeyValueStore, KronvexMemory

USER = "ana"


class Load:
    """Threads and tasks that write and recall; all that was acknowledged is noted."""

    def __init__(self, memory: KronvexMemory) -> None:
        self._memory = memory
        self._stop = threading.Event()
        self.failures: list[BaseException] = []
        self.remembered: list[str] = []
        self.said: list[str] = []
        self.listed: list[str] = []
        self.recalls = 0

    def _write(self, worker: int) -> None:
        store = KronvexKeyValueStore(self._memory, "shared")
        number = 0
        while not self._stop.is_set():
            name = f"t{worker} n{number}"
            self._memory.remember(name, user_id=USER)
            self.remembered.append(name)
            self._memory.save_messages([HumanMessage(name)], "chat", user_id=USER, remember=False)
            self.said.append(name)
            store.change("log", lambda log, name=name: [*log, name], [])
            self.listed.append(name)
            number += 1

    def _recall(self) -> None:
        while not self._stop.is_set():
            expected = self.remembered[-1] if self.remembered else None
            found = self._memory.recall(expected or "none", user_id=USER, top_k=1000)
            assert expected is None or expected in [m.content for m in found]
            self.recalls += 1

    def _awaited(self, worker: int) -> None:
        async def write(task: int) -> None:
            number = 0
            while not self._stop.is_set():
                name = f"l{worker} k{task} n{number}"
                await self._memory.aremember(name, user_id=USER)
                self.remembered.append(name)
                message = [HumanMessage(name)]
                await self._memory.asave_messages(message, "chat", user_id=USER, remember=False)
                self.said.append(name)
                await self._memory.arecall(name, user_id=USER, top_k=3)
                self.recalls += 1
                number += 1

        async def all_of_them() -> None:
            await asyncio.gather(*(write(task) for task in range(3)))

        asyncio.run(all_of_them())

    def during(self, disturb: Callable[[], Any], seconds: float) -> None:
        """Run while `disturb` is called over and over."""
        work: list[tuple[Callable[..., None], tuple[int, ...]]] = [
            (self._write, (0,)), (self._write, (1,)), (self._recall, ()), (self._awaited, (0,)),
        ]  # fmt: skip

        def noting(function: Callable[..., None], arguments: tuple[int, ...]) -> None:
            try:
                function(*arguments)
            except BaseException as error:
                self.failures.append(error)
                self._stop.set()

        threads = [threading.Thread(target=noting, args=each) for each in work]
        for thread in threads:
            thread.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self._stop.is_set():
            disturb()
        deadline = time.monotonic() + 30  # some more, undisturbed; a slow machine has done little
        while not self._has_done_enough() and time.monotonic() < deadline:
            self._stop.wait(0.1)
        self._stop.set()
        for thread in threads:
            thread.join()
        if self.failures:
            raise self.failures[0]

    def _has_done_enough(self) -> bool:
        done = (self.remembered, self.said, self.listed)
        return bool(self.failures) or (self.recalls > 3 and all(len(each) > 3 for each in done))

    def check(self) -> None:
        """See that all acknowledged is there, once; at most what was under way is there besides."""
        memories = [m.content for m in self._memory.memories(user_id=USER, limit=100_000)]
        messages = [m.text for m in self._memory.load_messages("chat", user_id=USER)]
        store = KronvexKeyValueStore(self._memory, "shared")
        log = store.mget(["log"])[0] or []
        assert self.recalls
        for acknowledged, there in (
            (self.remembered, memories), (self.said, messages), (self.listed, log),
        ):  # fmt: skip
            assert len(acknowledged) > 3
            assert Counter(there) == Counter(acknowledged)
        found = self._memory.recall(self.remembered[0], user_id=USER, top_k=100_000)
        assert sorted(m.content for m in found) == sorted(self.remembered)
