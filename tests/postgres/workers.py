"""What the workers do that tests of PostgreSQL start. Run by `integration/zygote.py`."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from typing import Any

from langchain_core.messages import HumanMessage
from parts import HashedWords

from inside import PostgresBackend
from inside import database as postgres_database
from langchain_kronvex import KronvexMemory

Say = Callable[[Any], None]
Hear = Callable[[], Any]


def open_on_command(say: Say, hear: Hear, url: str, number: int) -> None:
    """Open an empty database at a word of command, with many others."""
    say("ready")
    hear()
    with KronvexMemory(url) as memory:
        memory.remember(f"opened by {number}", user_id="everyone")


def save_to_one_session(say: Say, hear: Hear, url: str, worker: int, rounds: int) -> None:
    """Append to a session that others append to; then say in which order it is seen from here."""
    with KronvexMemory(url) as memory:
        say("open")
        hear()
        for number in range(rounds):
            said = [HumanMessage(f"w{worker} n{number} {part}") for part in "ab"]
            memory.save_messages(said, "room", user_id="everyone", remember=False)
            memory.remember(f"w{worker} remembers {number}", user_id="everyone")
        say("saved")
        hear()
        say([m.text for m in memory.load_messages("room", user_id="everyone")])
        hear()
        query = f"w{worker} remembers"
        say(sorted(m.content for m in memory.recall(query, user_id="everyone", top_k=10_000)))


def with_a_wrong_clock(say: Say, hear: Hear, url: str, hours: float) -> None:
    """Remember for two minutes on a machine whose clock is wrong; then look at another's."""
    real_time, real_ns = time.time, time.time_ns
    time.time = lambda: real_time() + hours * 3600
    time.time_ns = lambda: real_ns() + int(hours * 3600e9)
    _shift_datetime(hours)
    with KronvexMemory(url) as memory:
        mine = memory.remember(f"wrong by {hours} h", user_id="ana", ttl_days=2 / 1440)
        say(mine.created_at.timestamp())
        hear()
        say(sorted(m.content for m in memory.memories(user_id="ana")))
        hear()
        say(sorted(m.content for m in memory.memories(user_id="ana")))


def _shift_datetime(hours: float) -> None:
    """Make `datetime.now` of every module of the package wrong."""
    import datetime
    import sys

    real = datetime.datetime

    class Wrong(real):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return real.now(tz) + datetime.timedelta(hours=hours)

    for name, module in list(sys.modules.items()):
        if name.startswith("langchain_kronvex") and getattr(module, "datetime", None) is real:
            module.datetime = Wrong
    assert postgres_database.datetime is Wrong


class Noted(HashedWords):
    """Slow embeddings that note every text they are given in a file."""

    def __init__(self, file: str, seconds: float) -> None:
        super().__init__(model="noted")
        self._file, self._seconds = file, seconds

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        with open(self._file, "a", encoding="utf-8") as notes:
            notes.writelines(f"{text}\n" for text in texts)
        time.sleep(self._seconds)
        return super().embed_documents(texts)


def embed(
    say: Say, hear: Hear, url: str, file: str, number: int, memories: int, seconds: float
) -> None:
    """Write memories whose embeddings are slow; say when all that can be done here is done."""
    with KronvexMemory(url, embeddings=Noted(file, seconds)) as memory:
        say("open")
        hear()
        for each in range(memories):
            memory.remember(f"memory {number}-{each}", user_id=f"user {each % 7}")
        say("written")
        hear()


def embed_for_a_moment(say: Say, hear: Hear, url: str, file: str, claim_seconds: float) -> None:
    """Be somebody who embeds, and whose claims run out soon."""
    PostgresBackend.claim_seconds = claim_seconds
    with KronvexMemory(url, embeddings=Noted(file, 0.0)):
        say("open")
        hear()


def embed_once_told(
    say: Say, hear: Hear, url: str, file: str, claim_seconds: float, look: str
) -> None:
    """Be open, with nothing to do, before another writes; then look at what it has written."""
    PostgresBackend.claim_seconds = claim_seconds
    with KronvexMemory(url, embeddings=Noted(file, 0.0)) as memory:
        say("open")
        hear()
        if look == "recall":
            say(len(memory.recall("left behind", user_id="ana")))
        elif look == "stats":
            say(memory.stats().unembedded)
        hear()


def embed_for_ever(say: Say, hear: Hear, url: str, claim_seconds: float, memories: int) -> None:
    """Take memories to embed, and never come back with them."""
    PostgresBackend.claim_seconds = claim_seconds

    class Noted(HashedWords):  # the name is part of what vectors are told apart by
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            say("embedding")
            time.sleep(3600)
            raise AssertionError

    memory = KronvexMemory(url, embeddings=Noted(model="noted"))
    for number in range(memories):
        memory.remember(f"left behind {number}", user_id="ana")
    hear()


def write_until_told(say: Say, hear: Hear, url: str, worker: int) -> None:
    """Write and recall for ever; say what was written once it is."""
    memory = KronvexMemory(url)
    for number in itertools.count():
        memory.remember(f"w{worker} n{number}", user_id="ana")
        say(f"w{worker} n{number}")
        if os.getppid() == 1:
            return
