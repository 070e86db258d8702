"""The index of a large store is read in pages, while others write and forget between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langchain_kronvex import KronvexMemory, MemoryDraft

OpenMemory = Callable[..., KronvexMemory]
Change = Callable[[KronvexMemory], Any]
QUERIES = ["tea number7", "cello word3", "answer5", "number12 word1"]
PAGES = 7


@pytest.fixture
def reader(open_memory: OpenMemory) -> KronvexMemory:
    """A memory that reads the index in pages of three."""
    memory = open_memory()
    memory.engine.backend.page_rows = 3  # type: ignore[attr-defined]
    return memory


@pytest.fixture
def filled(open_memory: OpenMemory) -> KronvexMemory:
    """Twenty memories of all forms."""
    memory = open_memory()
    for n in range(5):
        memory.remember(f"tea number{n}", user_id="ana", session_id=f"s{n % 2}")
        memory.remember(f"cello word{n}", user_id="ana", memory_type="semantic")
        memory.save_exchange(f"question{n} of it", f"answer{n}", user_id="ana")
    memory.remember_many([MemoryDraft(f"tea number{n}", user_id="ana") for n in range(10, 14)])
    memory.save_messages([HumanMessage("which one?")], "chat", user_id="ana")
    return memory


def seen(memory: KronvexMemory) -> list[list[tuple[str, str, float, float]]]:
    """What a memory tells: as a list of all memories, for each query."""
    return [
        [
            (m.id, m.content, round(m.similarity, 5), round(m.probability, 5))
            for m in memory.recall(query, user_id="ana", top_k=99, order_by="similarity")
        ]
        for query in QUERIES
    ]


def between_pages(memory: KronvexMemory, page: int, change: Callable[[], Any]) -> None:
    """Let something happen just before a page is read: pages are read in snapshots."""
    file = memory.engine.backend.file  # type: ignore[attr-defined]
    in_snapshot, left = file.in_snapshot, [page]

    def interrupted(work: Callable[..., Any]) -> Any:
        left[0] -= 1
        if left[0] == 0:
            change()
        return in_snapshot(work)

    file.in_snapshot = interrupted


def test_twenty_memories_are_read_in_pages_of_three(
    filled: KronvexMemory, reader: KronvexMemory, open_memory: OpenMemory
) -> None:
    pages: list[int] = []
    for page in range(1, 99):
        between_pages(reader, page, lambda page=page: pages.append(page))  # type: ignore[misc]
    in_pages = seen(reader)
    assert len(pages) >= PAGES
    assert len(in_pages[0]) == 20
    assert seen(open_memory()) == in_pages
    assert in_pages == seen(filled)  # it has read each write on its own


def forget_first(memory: KronvexMemory) -> None:
    oldest = memory.memories(user_id="ana", limit=99)[-1]
    assert memory.forget(id=oldest.id) == 1


def forget_last(memory: KronvexMemory) -> None:
    assert memory.forget(id=memory.memories(user_id="ana")[0].id) == 1


def retype(memory: KronvexMemory) -> None:
    found = memory.recall("tea number0", user_id="ana", top_k=1)
    memory.update(found[0].id, memory_type="fact")


def answer(memory: KronvexMemory) -> None:
    memory.save_messages([AIMessage("the answer5")], "chat", user_id="ana")


CHANGES: dict[str, Change] = {
    "the first is forgotten": forget_first,
    "the last is forgotten": forget_last,
    "a session is forgotten": lambda m: m.forget(user_id="ana", session_id="s1"),
    "all are forgotten": lambda m: m.forget(user_id="ana"),
    "all are forgotten and others come": lambda m: (
        m.forget(user_id="ana"),
        m.remember("tea number7", user_id="ana"),
    ),
    "one is retyped": retype,
    "one is answered": answer,
    "more is said": lambda m: m.save_exchange("and number7?", "answer5", user_id="ana"),
    "another user is forgotten": lambda m: (
        m.remember("tea", user_id="bob"),
        m.forget(user_id="bob"),
    ),
    "all is indexed anew": lambda m: m.reindex(),
}


@pytest.mark.parametrize("page", [1, 2, 4, PAGES])
@pytest.mark.parametrize("change", CHANGES)
def test_changes_between_two_pages_are_seen(
    filled: KronvexMemory, reader: KronvexMemory, open_memory: OpenMemory, change: str, page: int
) -> None:
    happened: list[str] = []

    def happens() -> None:
        CHANGES[change](filled)
        happened.append(change)

    between_pages(reader, page, happens)
    during = reader.recall(QUERIES[0], user_id="ana", top_k=99)
    assert happened == [change]
    visible = {m.id: m.content for m in filled.memories(user_id="ana", limit=99)}
    assert {m.id: m.content for m in during}.items() <= visible.items()
    assert len(during) >= min(len(visible), 18)
    assert seen(reader) == seen(open_memory())


def test_the_next_recall_works_after_a_failure_between_two_pages(
    filled: KronvexMemory, reader: KronvexMemory, open_memory: OpenMemory
) -> None:
    class Broken(Exception):
        pass

    def fail() -> None:
        raise Broken

    between_pages(reader, 4, fail)
    with pytest.raises(Broken):
        reader.recall("tea", user_id="ana")
    assert seen(reader) == seen(open_memory())
