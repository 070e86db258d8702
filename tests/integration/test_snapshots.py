"""Snapshots of indexes on SQLite: what they are read for, when they go, and what they survive."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inside import ScopeIndex, snapshot_keeping, sqlite_snapshots
from langchain_kronvex import KronvexMemory, MemoryDraft, Retention, with_memory

from .parts import HashedWords, files_with, parrot

OpenMemory = Callable[..., KronvexMemory]
TEXTS = [f"note {n} about tea{n % 7} and cello{n % 5}" for n in range(30)]
pytestmark = pytest.mark.usefixtures("small_snapshots")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    return folder / "memory.db"


@pytest.fixture
def open_store(store: Path, open_memory: OpenMemory) -> OpenMemory:
    return lambda **options: open_memory(f"sqlite:///{store}", **options)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many rows were added to indexes, each time that some were."""
    counts: list[int] = []
    apply = ScopeIndex.apply

    def counting(index: ScopeIndex, rows: Any) -> None:
        rows = list(rows)
        counts.append(len(rows))
        apply(index, rows)

    monkeypatch.setattr(ScopeIndex, "apply", counting)
    return counts


def fill(memory: KronvexMemory, *users: str) -> None:
    for user in users or ("ana",):
        memory.remember_many([MemoryDraft(text, user_id=user) for text in TEXTS])
        memory.recall("tea1", user_id=user)
    assert memory.flush(30)


def found(memory: KronvexMemory, query: str = "tea1 cello", user: str = "ana") -> list[Any]:
    best = memory.recall(query, user_id=user, top_k=20, order_by="similarity")
    return [(m.content, m.similarity) for m in best]


def files(store: Path) -> list[Path]:
    folder = sqlite_snapshots.folder_of(store)
    return sorted(folder.iterdir()) if folder.is_dir() else []


def test_a_new_memory_reads_the_snapshot_and_what_was_written_since(
    store: Path, open_store: OpenMemory, built: list[int]
) -> None:
    with open_store() as memory:
        fill(memory, "ana", "ben")
        memory.remember("a later tea1 of ana", user_id="ana")
        expected = found(memory)
    assert len(files(store)) == 2
    assert not files_with(files(store)[0].parent, "ana", "default")
    assert stat.S_IMODE(files(store)[0].parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in files(store)} == {0o600}
    built.clear()
    for options in ({}, {"read_only": True}):
        with open_store(**options) as memory:
            assert found(memory) == expected
    assert built == [1, 1]
    assert len(files(store)) == 2


def test_a_turn_of_a_chat_keeps_the_snapshot(store: Path, open_store: OpenMemory) -> None:
    memory = open_store()
    fill(memory)
    before = files(store)
    config: Any = {"configurable": {"user_id": "ana", "session_id": "s"}}
    with_memory(parrot(), memory).invoke({"input": "What about tea2?"}, config)
    memory.remember(TEXTS[0], user_id="ana")
    memory.flush()
    assert files(store) == before


def erasures(memory: KronvexMemory) -> dict[str, Callable[[], object]]:
    first = memory.memories(user_id="ana", limit=1)[0]
    return {
        "forget one": lambda: memory.forget(id=first.id),
        "forget the user": lambda: memory.forget(user_id="ana"),
        "clear": memory.clear,
        "correct": lambda: memory.update(first.id, content="quite another text"),
        "change the metadata": lambda: memory.update(first.id, metadata={"a": 1}),
        "change the type": lambda: memory.update(first.id, memory_type="semantic"),
    }


@pytest.mark.parametrize(
    "name",
    [
        "forget one",
        "forget the user",
        "clear",
        "correct",
        "change the metadata",
        "change the type",
    ],
)
def test_what_takes_words_out_takes_the_snapshot_along(
    store: Path, open_store: OpenMemory, name: str
) -> None:
    memory = open_store()
    fill(memory, "ana", "ben")
    assert len(files(store)) == 2
    erasures(memory)[name]()
    assert len(files(store)) == (0 if name == "clear" else 1)
    assert len(found(memory, user="ben")) == (0 if name == "clear" else 20)


def test_under_whatever_name_the_store_is_opened(store: Path, open_memory: OpenMemory) -> None:
    link = store.parent.parent / "link.db"
    link.symlink_to(store)
    with open_memory(f"sqlite:///{link}") as memory:
        fill(memory)
    assert len(files(store)) == 1
    open_memory(f"sqlite:///{store}").forget(user_id="ana")
    assert files(link) == []


def test_retention_and_reindexing_take_the_snapshot_along(
    store: Path, open_store: OpenMemory
) -> None:
    with open_store() as memory:
        fill(memory)
    with open_store(retention=Retention(max_memories=25)) as memory:
        memory.expire()
        assert files(store) == []
        found(memory)
    assert len(files(store)) == 1
    with open_store(embeddings=None) as memory:
        memory.reindex(HashedWords())
        assert files(store) == []


@pytest.mark.parametrize("ends", ["forgotten", "changed"])
def test_what_is_forgotten_while_a_snapshot_is_written_is_in_no_file(
    store: Path, open_store: OpenMemory, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    memory, other = open_store(), open_store()
    word = "w0123456789abcdef"
    secret = memory.remember(f"the secret {word}", user_id="ana")
    write, left = sqlite_snapshots._write, []

    def write_and_forget(path: Path, made: Any) -> None:
        write(path, made)
        if ends == "forgotten" and not left:
            assert files_with(store.parent, word)
            other.forget(id=secret.id)
            left.extend(files_with(store.parent, word))
            left.append("asked")
        elif not left:
            memory.remember("something new", user_id="ana")
            memory.recall("new", user_id="ana")
            left.append("asked")

    monkeypatch.setattr(sqlite_snapshots, "_write", write_and_forget)
    fill(memory)
    assert left == ["asked"]
    if ends == "forgotten":
        assert files(store) == []
        assert found(memory, word) == found(other, word)
    else:
        assert len(files(store)) == 1
        with open_store() as third:
            assert found(third, "something new") == found(memory, "something new")


def test_what_is_replaced_before_a_snapshot_is_begun_is_in_no_file(
    store: Path, open_store: OpenMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, other = open_store(), open_store()
    word = "w0123456789abcdef"
    secret = memory.remember("tea", user_id="ana", metadata={"word": word})
    identity, asked = snapshot_keeping.identity, list[object]()

    def replace_and_go_on(*args: Any) -> Any:  # the index still has what another one replaces
        if not asked:
            asked.append(other.update(secret.id, metadata={}))
        return identity(*args)

    monkeypatch.setattr(snapshot_keeping, "identity", replace_and_go_on)
    fill(memory)
    assert asked
    assert files(store) == []


def test_what_was_replaced_is_not_in_the_next_snapshot(store: Path, open_store: OpenMemory) -> None:
    memory = open_store(retention=Retention(max_memories=31))
    words = [f"w0123456789abcde{n}" for n in range(2)]
    folder = sqlite_snapshots.folder_of(store)
    secret = memory.remember(words[0], user_id="ana", metadata={"word": words[1]})
    fill(memory)
    assert len(files_with(folder, *words)) == 2
    memory.update(secret.id, metadata={})
    for n, left in enumerate((words[:1], [])):
        memory.remember_many([MemoryDraft(f"tea{n} {i}", user_id="ana") for i in range(20)])
        memory.recall("tea1", user_id="ana")
        assert memory.flush(30)
        assert len(files(store)) == 1
        assert len(files_with(folder, *words)) == len(left)
        memory.expire()
    with open_store() as another:
        assert len(found(another)) == 20


def damage(kind: str, path: Path, other: Path) -> None:
    data = bytearray(path.read_bytes())
    if kind == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "a flipped bit":
        data[len(data) // 3] ^= 16
        path.write_bytes(data)
    elif kind == "of another user":
        shutil.copy(other, path)
    elif kind == "gone":
        path.unlink()
    elif kind == "a folder":
        path.unlink()
        path.mkdir()


@pytest.mark.parametrize(
    "kind", ["truncated", "empty", "a flipped bit", "of another user", "gone", "a folder"]
)
def test_a_damaged_snapshot_is_not_used(
    store: Path, open_store: OpenMemory, built: list[int], kind: str
) -> None:
    with open_store() as memory:
        fill(memory, "ana", "ben")
        expected = found(memory), found(memory, user="ben")
    one, two = files(store)
    damage(kind, one, two)
    built.clear()
    with open_store(read_only=True) as memory:
        assert (found(memory), found(memory, user="ben")) == expected
        assert built == [30]
    with open_store() as memory:
        found(memory), found(memory, user="ben")
    built.clear()
    with open_store() as memory:  # it was replaced
        assert (found(memory), found(memory, user="ben")) == expected
    assert built == []


def test_snapshots_of_another_history_of_the_store_are_not_used(
    store: Path, open_store: OpenMemory, built: list[int]
) -> None:
    with open_store() as memory:
        fill(memory)
    backup = shutil.copy(store, store.with_name("backup.db"))
    with open_store() as memory:
        memory.remember_many([MemoryDraft(f"lost {n}", user_id="ana") for n in range(30)])
        found(memory)
    shutil.copy(backup, store)  # the folder is newer
    with open_store() as memory:
        memory.remember_many([MemoryDraft(f"tea1 {n}", user_id="ana") for n in range(60)])
        built.clear()
        assert "lost" not in str(found(memory, "tea1 lost"))
        assert built == [90]
    store.unlink()
    with open_store() as memory:  # a new store in the place of the old one
        assert found(memory) == []
        assert files(store) == []


def test_without_the_right_to_write_there_is_no_snapshot(
    store: Path, open_store: OpenMemory
) -> None:
    sqlite_snapshots.folder_of(store).write_text("in the way")
    with open_store() as memory:
        fill(memory)
        assert len(found(memory)) == 20
        stats = memory.stats()
    assert (stats.failed, stats.last_error) == (0, None)
    with KronvexMemory("sqlite://") as memory:
        fill(memory)


KILLED = """
import os, signal, sys
from inside import snapshot_keeping, sqlite_snapshots
from langchain_kronvex import KronvexMemory

snapshot_keeping._LEAST_MEMORIES = 1

def die(*args):
    os.kill(os.getpid(), signal.SIGKILL)

def half(path, made):
    with path.open("r+b") as stream:
        stream.write(next(made.blocks())[:4096])
        stream.flush()
        die()

if sys.argv[2] == "writing":
    sqlite_snapshots._write = half
else:
    sqlite_snapshots._publish = die
memory = KronvexMemory(sys.argv[1])
memory.recall("tea1", user_id="ana")
memory.flush(30)
"""


@pytest.mark.parametrize("when", ["writing", "publishing"])
def test_killed_while_writing_a_snapshot(store: Path, open_store: OpenMemory, when: str) -> None:
    with open_store() as memory:
        memory.remember_many([MemoryDraft(text, user_id="ana") for text in TEXTS])
    child = subprocess.run(
        [sys.executable, "-c", KILLED, f"sqlite:///{store}", when],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
        timeout=60,
    )
    assert child.returncode == -signal.SIGKILL
    [left] = files(store)
    with open_store(read_only=True) as memory:
        expected = found(memory)
    with open_store() as memory:
        assert files(store) == []
        assert found(memory) == expected
    assert len(files(store)) == 1
    assert files(store) != [left]


def test_only_large_and_changed_indexes_get_one(
    store: Path, open_store: OpenMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_keeping, "_LEAST_MEMORIES", 31)
    memory = open_store()
    fill(memory)
    assert files(store) == []
    for text in ("one more", "two more"):
        memory.remember(text, user_id="ana")
        memory.recall(text, user_id="ana")
        memory.flush()
    first = files(store)
    assert len(first) == 1
    for n in range(9):
        assert n > 6 or files(store) == first
        memory.remember(f"{n} more tea", user_id="ana")
        memory.recall("tea1", user_id="ana")
        memory.flush()
    assert len(files(store)) == 1
    assert files(store) != first
