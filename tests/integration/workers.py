"""What child processes do. Each function talks to its test through `say` and `hear`.

Run by `zygote.py`; tests never import this.
"""

from __future__ import annotations

import itertools
import os
import resource
import signal
import sqlite3
from collections.abc import Callable
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from parts import HashedWords, long_text, parrot

from inside import Import
from inside import file as sqlite_file
from langchain_kronvex import (
    KronvexKeyValueStore,
    KronvexMemory,
    MemoryDraft,
    StoreError,
    with_memory,
)

Say = Callable[[Any], None]
Hear = Callable[[], Any]


def write_until_killed(say: Say, hear: Hear, url: str, user_id: str, round_number: int) -> None:
    """Write in every way there is, for ever; say what was written once the call has returned."""
    memory = KronvexMemory(url, embeddings=HashedWords())
    session = f"session-{round_number}"
    history = memory.chat_history(session, user_id)
    chain = with_memory(parrot(), memory)
    config = {"configurable": {"user_id": user_id, "session_id": session}}
    for number in itertools.count():
        token = f"r{round_number}n{number}"
        text = long_text(token)
        way = number % 5
        if way == 0:
            memory.remember(text, user_id=user_id)
        elif way == 1:
            memory.remember_many(
                [MemoryDraft(long_text(f"{token}{part}"), user_id=user_id) for part in "abc"]
            )
        elif way == 2:
            memory.save_exchange(text, f"re {text}", user_id=user_id)
        elif way == 3:
            history.add_messages([HumanMessage(text), AIMessage(f"re {text}")])
        else:
            chain.invoke({"input": text}, config)
        say(token)
        if number % 7 == 6:  # access counts are written in the background
            memory.recall(token, user_id=user_id)


def supersede_until_killed(say: Say, hear: Hear, url: str, user_id: str) -> None:
    """Let each memory supersede the one before, and every other one be corrected, for ever."""
    memory, last = KronvexMemory(url), None
    for number in itertools.count():
        last = memory.remember(f"home {number}", user_id=user_id, supersedes=last).id
        if number % 2:
            memory.update(last, content=f"home {number}, corrected")
        say(number)


def open_and_say(say: Say, hear: Hear, url: str) -> None:
    """Open a store, however new, and write one memory."""
    with KronvexMemory(url) as memory:
        memory.remember("opened by a child", user_id="ana")
        say("written")
        hear()


def open_many(say: Say, hear: Hear, folder: str, stores: int, number: int) -> None:
    """Open stores that do not exist yet, each at a word of command."""
    for store in range(stores):
        say("ready")
        hear()
        with KronvexMemory(f"sqlite:///{folder}/{store}/memory.db") as memory:
            memory.remember(f"opened by {number}", user_id="ana")


def member(say: Say, hear: Hear, url: str, number: int) -> None:
    """One of many writers and readers: after each round, look for everybody's memories."""
    say("ready")
    hear()
    with KronvexMemory(url) as memory:
        say("open")
        room = memory.chat_history("room", "everyone")
        while (order := hear())["do"] != "stop":
            round_number, members = order["round"], order["members"]
            if order["do"] == "write":
                memory.remember(f"greeting m{number}r{round_number}", user_id="everyone")
                for part in range(2):
                    name = f"m{number}r{round_number}p{part}"
                    room.add_messages([HumanMessage(f"{name} {line}") for line in range(3)])
                memory.save_exchange(
                    f"question m{number}r{round_number}", "answer", session_id=f"own-{number}"
                )
                say("written")
            else:
                wanted = [f"greeting m{other}r{round_number}" for other in range(members)]
                found = {
                    text: [m.content for m in memory.recall(text, user_id="everyone", top_k=1)]
                    for text in wanted
                }
                say([text for text in wanted if found[text] != [text]])


def remote(say: Say, hear: Hear, url: str, embeddings: bool | None = None) -> None:
    """Keep a memory open and do what is asked: recall, remember, or let go.

    `embeddings`: the bundled ones for None, none for False, hashed words for True.
    """
    model = HashedWords() if embeddings else embeddings
    with KronvexMemory(url, embeddings=model) as memory:
        say("open")
        while (order := hear())["do"] != "stop":
            if order["do"] == "recall":
                found = memory.recall(order["query"], user_id=order["user_id"], top_k=50)
                say([each.content for each in found])
            else:
                memory.remember(order["content"], user_id=order["user_id"])
                say("remembered")


class Halting(HashedWords):
    """Embeddings that say how many texts they were given, and wait for a word before they go on."""

    def __init__(self, say: Say, hear: Hear) -> None:
        super().__init__()
        self._say, self._hear = say, hear

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self._say(len(texts))
        self._hear()
        return super().embed_documents(texts)


def reindex_step_by_step(say: Say, hear: Hear, url: str) -> None:
    """Change over to hashed words, one batch at a word of command."""
    with KronvexMemory(url, embeddings=False) as memory:
        say({"indexed": memory.reindex(Halting(say, hear))})


def reindex_on_command(say: Say, hear: Hear, url: str) -> None:
    """Change over to hashed words as soon as told to, then wait to be killed."""
    memory = KronvexMemory(url, embeddings=False)
    say("ready")
    hear()
    memory.reindex(HashedWords())
    say("done")
    hear()


def forget_and_die(say: Say, hear: Hear, url: str, user_id: str, at: int) -> None:
    """Forget a user, and be killed before the statement number `at` of doing so."""
    left = itertools.count(1)
    armed = False

    class Doomed(sqlite_file.AgentConnection):
        def execute(self, *arguments: Any) -> sqlite3.Cursor:
            if armed and next(left) == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().execute(*arguments)

    sqlite_file.AgentConnection = Doomed
    memory = KronvexMemory(url)
    armed = True
    memory.forget(user_id=user_id)
    say("forgotten")
    os._exit(0)  # no closing, which would tidy up


def forget_on_command(say: Say, hear: Hear, url: str, user_id: str) -> None:
    """Forget a user as soon as told to, then wait to be killed."""
    memory = KronvexMemory(url)
    say("ready")
    hear()
    memory.forget(user_id=user_id)
    say("forgotten")
    hear()


def forget_many(say: Say, hear: Hear, url: str, users: list[str]) -> None:
    """Forget one user after the other, each at a word of command."""
    with KronvexMemory(url) as memory:
        for user in users:
            say("ready")
            hear()
            say(memory.forget(user_id=user))
        hear()  # closing would tidy up


def fill_the_disk(say: Say, hear: Hear, url: str) -> None:
    """Write until the files may not grow, then go on reading and chatting."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with KronvexMemory(url) as memory:
        memory.remember("the first memory", user_id="ana")
        room = memory.stats().size_bytes + 100_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
        stored = []
        try:
            for number in range(1000):
                stored.append(memory.remember(long_text(f"n{number}"), user_id="ana").content)
        except StoreError as error:
            say({"type": type(error).__name__, "message": str(error)})
        say([each.content for each in memory.recall("first", user_id="ana", top_k=1)])
        say(with_memory(parrot(), memory).invoke({"input": "hello"}, _config("ana")))
        say(memory.stats().degraded)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        memory.flush()
        say(stored)


def without_rights(say: Say, hear: Hear, urls: list[str]) -> None:
    """Open stores as a user who owns nothing."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    for url in urls:
        try:
            KronvexMemory(url).close()
        except StoreError as error:
            say([type(error).__name__, str(error)])
        else:
            say(["opened", url])


def append_to_list(say: Say, hear: Hear, url: str, worker: int, count: int) -> None:
    """Append to a list that others append to as well."""
    with KronvexMemory(url) as memory:
        store = KronvexKeyValueStore(memory, "shared")
        say("open")
        hear()
        for step in range(count):
            store.change("log", lambda log, step=step: [*log, [worker, step]], [])


def set_until_killed(say: Say, hear: Hear, url: str) -> None:
    """Count upwards under one key; say each number once it is stored."""
    store = KronvexKeyValueStore(KronvexMemory(url), "counters")
    for number in itertools.count():
        store.set("n", number)
        say(number)


def import_step_by_step(say: Say, hear: Hear, url: str, file: str, batch: int) -> None:
    """Import a file, one batch at a word of command."""
    Import.__init__.__kwdefaults__["batch_records"] = batch

    def told(done: int, total: int) -> None:
        say(done)
        hear()

    with KronvexMemory(url) as memory:
        say({"stored": memory.import_(file, progress=told).stored})


def import_on_command(say: Say, hear: Hear, url: str, file: str, batch: int) -> None:
    """Import a file as soon as told to, then wait to be killed."""
    Import.__init__.__kwdefaults__["batch_records"] = batch
    memory = KronvexMemory(url)
    say("ready")
    hear()
    memory.import_(file)
    say("done")
    hear()


def move_and_weigh(say: Say, hear: Hear, url: str, file: str, again: str) -> None:
    """Import a file and export it again; say by how many MiB this process grew at its highest."""

    def highest() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    with KronvexMemory(url) as memory:
        memory.remember("something to begin with", user_id="warm")
        memory.recall("something", user_id="warm")
        before = highest()
        memory.import_(file)
        imported = highest()
        memory.export(again, vectors=True)
        say([imported - before, highest() - imported])


def _config(user_id: str) -> dict[str, Any]:
    return {"configurable": {"user_id": user_id, "session_id": "chat"}}
