"""Key-value stores of several processes on one file."""

from __future__ import annotations

from collections.abc import Callable

from langchain_kronvex import KronvexKeyValueStore, KronvexMemory

from .crew import Crew

OpenMemory = Callable[..., KronvexMemory]


def test_processes_appending_to_one_list_lose_nothing(
    crew: Crew, store_url: str, open_memory: OpenMemory
) -> None:
    children = [
        crew.start("append_to_list", url=store_url, worker=worker, count=25) for worker in range(3)
    ]
    for child in children:
        assert child.hear() == "open"
    for child in children:
        child.say("go")
    for child in children:
        child.finish()

    log = KronvexKeyValueStore(open_memory(), "shared").get("log")
    assert sorted(log) == [[worker, step] for worker in range(3) for step in range(25)]


def test_values_survive_a_killed_process(
    crew: Crew, store_url: str, open_memory: OpenMemory
) -> None:
    child = crew.start("set_until_killed", url=store_url)
    while (last := child.hear()) < 30:
        pass
    last = max([last, *child.kill()])

    store = KronvexKeyValueStore(open_memory(), "counters")
    assert store.get("n") in (last, last + 1)  # killed between storing and saying so
    assert store.list_keys() == ["n"]
