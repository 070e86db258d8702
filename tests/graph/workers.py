"""Work of child processes with a store. `integration/zygote.py` runs it; do not import it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langgraph.store.base import PutOp

from langchain_kronvex import KronvexMemory
from langchain_kronvex.langgraph import KronvexStore

Say = Callable[[Any], None]
Hear = Callable[[], Any]


def move_until_killed(say: Say, hear: Hear, url: str, rounds: int) -> None:
    """Move an item back and forth between two namespaces; report each move."""
    store = KronvexStore(KronvexMemory(url))
    places = [("a",), ("b",)]
    if store.get(("b",), "token"):
        places.reverse()
    for number in range(rounds):
        there, other = places
        store.batch([PutOp(other, "token", {"text": f"t{number}"}), PutOp(there, "token", None)])
        say(number)
        places.reverse()


def delete_and_wait(say: Say, hear: Hear, url: str, words: list[str]) -> None:
    """Delete items; then wait to be killed before the file is rewritten."""
    store = KronvexStore(KronvexMemory(url))
    store.memory.engine.eraser.pause_seconds = 3600.0
    for word in words:
        store.put(("a",), word, {"text": word})
    for word in words:
        store.delete(("a",), word)
    say("deleted")
    hear()
