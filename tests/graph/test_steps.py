"""A batch is one step for readers and after a crash; deleted items are erased soon after."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from langgraph.store.base import PutOp

from databases import DATABASES
from integration.crew import Crew, Gone
from integration.parts import files_with
from langchain_kronvex import KronvexMemory
from langchain_kronvex.langgraph import KronvexStore

OpenMemory = Callable[..., KronvexMemory]
A, B = ("a",), ("b",)


@pytest.fixture(scope="module")
def _warm() -> Iterator[Crew]:
    with Crew(Path(__file__).parent) as crew:
        yield crew


@pytest.fixture
def crew(_warm: Crew) -> Iterator[Crew]:
    yield _warm
    _warm.dismiss()


def urls(folder: Path, backend: str) -> str:
    return DATABASES.url(folder) if backend == "postgres" else f"sqlite:///{folder / 'memory.db'}"


def tokens(store: KronvexStore) -> int:
    return len(store.search((), limit=10))


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_readers_see_an_item_once_while_it_is_moved(
    crew: Crew, tmp_path: Path, open_memory: OpenMemory, backend: str
) -> None:
    url = urls(tmp_path, backend)
    with KronvexStore(open_memory(url)) as store:
        store.put(A, "token", {"text": "t"})
        child = crew.start("move_until_killed", url=url, rounds=60)
        seen = set()
        try:
            while True:
                child.hear()
                seen |= {tokens(store) for _ in range(3)}
        except Gone:
            child.close()
        assert seen == {1}


def _kill_movers(
    crew: Crew, url: str, open_memory: OpenMemory, rounds: int, luck: random.Random
) -> None:
    with KronvexStore(open_memory(url)) as store:
        store.put(A, "token", {"text": "t"})
    for _ in range(rounds):
        child = crew.start("move_until_killed", url=url, rounds=10_000)
        for _ in range(luck.randint(1, 8)):
            child.hear()
        time.sleep(luck.uniform(0, 0.004))  # only the moment of death is random
        child.kill()
        with KronvexStore(open_memory(url)) as store:
            assert tokens(store) == 1


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_a_process_killed_while_moving_an_item_leaves_it_in_one_place(
    crew: Crew, tmp_path: Path, open_memory: OpenMemory, backend: str
) -> None:
    _kill_movers(crew, urls(tmp_path, backend), open_memory, 6, random.Random(7))


@pytest.mark.soak
@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_hundreds_of_processes_killed_while_moving_an_item(
    crew: Crew, tmp_path: Path, open_memory: OpenMemory, backend: str
) -> None:
    _kill_movers(crew, urls(tmp_path, backend), open_memory, 200, random.Random(8))


def test_a_rejected_batch_deletes_nothing(store: KronvexStore) -> None:
    store.put(A, "k", {"v": 1})
    with pytest.raises(ValueError, match="value"):
        store.batch([PutOp(A, "k", None), PutOp(B, "k", {"v": object()})])

    assert store.get(A, "k").value == {"v": 1}


def test_deletions_in_many_namespaces_are_one_write(
    plain: KronvexStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    namespaces = [("users", str(number)) for number in range(50)]
    plain.batch([PutOp(each, "k", {"v": 1}) for each in namespaces])
    backend, written = plain.memory.engine.backend, []
    put = backend.put
    monkeypatch.setattr(
        backend, "put", lambda *args, **more: written.append(args) or put(*args, **more)
    )
    plain.batch([PutOp(each, "k", None) for each in namespaces])

    assert len(written) == 1
    assert plain.search(()) == []
    assert plain.list_namespaces() == []


def test_deleted_items_are_erased_in_the_background(plain: KronvexStore, tmp_path: Path) -> None:
    words = [f"w{number:016x}" for number in range(40)]
    for word in words:
        plain.put(A, word, {"text": word})
    plain.put(B, "stays", {"text": "stays"})
    for word in words:
        plain.delete(A, word)
    erased = plain.memory.engine.writer.submit("erasing", lambda: None, once=True)
    erased.result(timeout=30)

    assert files_with(tmp_path, *words) == []
    assert [item.key for item in plain.search(())] == ["stays"]


def test_items_deleted_by_a_killed_process_are_erased_by_the_next(
    crew: Crew, store_url: str, tmp_path: Path, open_memory: OpenMemory
) -> None:
    words = [f"w{number:016x}" for number in range(9)]
    child = crew.start("delete_and_wait", url=store_url, words=words)
    assert child.hear() == "deleted"
    child.kill()
    assert files_with(tmp_path, *words)
    open_memory()

    assert files_with(tmp_path, *words) == []


def test_closing_erases_deleted_items(open_memory: OpenMemory, tmp_path: Path) -> None:
    with KronvexStore(open_memory()) as store:
        store.put(("secretnamespace1",), "k", {"text": "w0123456789abcdef"})
        store.delete(("secretnamespace1",), "k")

    assert files_with(tmp_path, "w0123456789abcdef", "secretnamespace1") == []


def test_forgetting_a_user_also_erases_deleted_items(
    plain: KronvexStore, open_memory: OpenMemory, tmp_path: Path
) -> None:
    memory = open_memory()
    memory.remember("Ana likes tea.", user_id="ana")
    plain.put(A, "k", {"text": "w0123456789abcdef"})
    plain.delete(A, "k")
    memory.forget(user_id="ana")

    assert files_with(tmp_path, "w0123456789abcdef") == []


def test_deleted_items_do_not_enlarge_the_file(plain: KronvexStore, tmp_path: Path) -> None:
    plain.batch([PutOp(A, str(number), {"v": number}) for number in range(1000)])
    plain.batch([PutOp(A, str(number), None) for number in range(999)])
    plain.memory.flush()

    with sqlite3.connect(tmp_path / "memory.db") as connection:
        assert connection.execute("SELECT count(*) FROM records").fetchall() == [(1,)]
    connection.close()
    assert [item.key for item in plain.search(A)] == ["999"]
