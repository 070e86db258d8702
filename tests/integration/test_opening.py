"""A memory that cannot be opened raises at once: an error of ours, the place, and what to do."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from langchain_kronvex import (
    ConfigurationError,
    InvalidInput,
    KronvexError,
    KronvexMemory,
    NotAStore,
    SchemaTooNew,
    StoreError,
    StoreUnavailable,
)

from .crew import Crew
from .parts import long_text

OpenMemory = Callable[..., KronvexMemory]


def _all_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _database_of_another_program(path: Path, **pragmas: object) -> None:
    connection = sqlite3.connect(path)
    for name, value in pragmas.items():
        connection.execute(f"PRAGMA {name} = {value}")
    connection.execute("CREATE TABLE bookmarks (address TEXT)")
    connection.execute("INSERT INTO bookmarks VALUES ('https://example.org')")
    connection.commit()
    connection.close()


# -- the place ---------------------------------------------------------------------------------


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    path = tmp_path / "file" / "memory.db"
    with pytest.raises(StoreUnavailable, match=re.escape(str(path))) as caught:
        KronvexMemory(f"sqlite:///{path}")
    assert "Check that" in str(caught.value)


def test_a_path_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=re.escape(str(tmp_path))) as caught:
        KronvexMemory(f"sqlite:///{tmp_path}")
    assert "Check that" in str(caught.value)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc here")
def test_a_path_that_cannot_be_written() -> None:
    with pytest.raises(StoreUnavailable, match=r"/proc/kronvex/memory\.db") as caught:
        KronvexMemory("sqlite:////proc/kronvex/memory.db")
    assert "Check that" in str(caught.value)


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A folder that other users can reach, unlike pytest's."""
    place = Path(tempfile.mkdtemp(prefix="kronvex-"))
    place.chmod(0o755)
    yield place
    place.chmod(0o755)
    shutil.rmtree(place)


@pytest.mark.slow
def test_a_path_this_user_may_not_write(crew: Crew, open_place: Path) -> None:
    readable = open_place / "readable.db"
    KronvexMemory(f"sqlite:///{readable}").close()
    readable.chmod(0o444)
    open_place.chmod(0o555)
    paths = [open_place / "new.db", open_place / "folder" / "new.db", readable]
    child = crew.start("without_rights", urls=[f"sqlite:///{path}" for path in paths])
    for path, (error, message) in zip(paths, child.finish(), strict=True):
        assert error == "StoreUnavailable"
        assert str(path) in message
        assert "Check that" in message


@pytest.mark.slow
def test_a_full_disk_fails_writes_only(crew: Crew, store_url: str, open_memory: OpenMemory) -> None:
    error, recalled, answer, degraded, stored = crew.start("fill_the_disk", url=store_url).finish()
    assert error["type"] == "StoreUnavailable"
    assert store_url.removeprefix("sqlite:///") in error["message"]
    assert "disk has room" in error["message"]
    assert recalled == ["the first memory"]
    assert answer == "re hello"
    assert degraded >= 1
    memory = open_memory()
    contents = [each.content for each in memory.memories(user_id="ana", limit=2000)]
    assert len(contents) == len(set(contents))
    assert set(stored) <= set(contents)
    # The turn that found no room was saved as soon as there was some.
    assert [m.text for m in memory.chat_history("chat", "ana").messages] == ["hello", "re hello"]


# -- the file ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [b"hello", b"Dear diary,\n" * 500, bytes(range(256)) * 64, b"\0" * 8192, os.urandom(20_000)],
    ids=["short", "text", "bytes", "zeros", "random"],
)
def test_a_file_that_is_not_a_database_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "diary.txt"
    path.write_bytes(content)
    with pytest.raises(NotAStore, match=re.escape(str(path))) as caught:
        KronvexMemory(f"sqlite:///{path}")
    assert "Choose another path" in str(caught.value)
    assert _all_bytes(tmp_path) == {"diary.txt": content}


@pytest.mark.parametrize(
    "pragmas",
    [{}, {"user_version": 1}, {"user_version": 42}, {"application_id": 77}, {"page_size": 1024}],
    ids=str,
)
def test_a_database_of_another_program_is_left_alone(
    tmp_path: Path, pragmas: dict[str, int]
) -> None:
    path = tmp_path / "bookmarks.db"
    _database_of_another_program(path, **pragmas)
    before = _all_bytes(tmp_path)
    with pytest.raises(NotAStore, match=re.escape(str(path))) as caught:
        KronvexMemory(f"sqlite:///{path}")
    assert "another program" in str(caught.value)
    assert _all_bytes(tmp_path) == before


def test_a_database_that_another_program_has_open_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "bookmarks.db"
    _database_of_another_program(path, journal_mode="WAL", user_version=3)
    other = sqlite3.connect(path)
    try:
        other.execute("INSERT INTO bookmarks VALUES ('https://example.net')")
        other.commit()
        database, log = path.read_bytes(), Path(f"{path}-wal").read_bytes()
        with pytest.raises(NotAStore):
            KronvexMemory(f"sqlite:///{path}")
        assert path.read_bytes() == database
        assert Path(f"{path}-wal").read_bytes() == log
        assert other.execute("SELECT count(*) FROM bookmarks").fetchone() == (2,)
    finally:
        other.close()


def test_the_crashed_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    running, crashed = tmp_path / "running", tmp_path / "crashed"
    running.mkdir()
    _database_of_another_program(running / "b.db", journal_mode="WAL")
    other = sqlite3.connect(running / "b.db")
    try:
        other.execute("INSERT INTO bookmarks VALUES ('https://example.net')")
        other.commit()
        shutil.copytree(running, crashed)
    finally:
        other.close()
    before = _all_bytes(crashed)
    with pytest.raises(NotAStore):
        KronvexMemory(f"sqlite:///{crashed / 'b.db'}")
    assert _all_bytes(crashed) == before


def _filled_store(path: Path) -> None:
    with KronvexMemory(f"sqlite:///{path}") as memory:
        for number in range(100):
            memory.remember(long_text(f"n{number}"), user_id="ana", ttl_days=9)
            memory.chat_history("s", "ana").add_user_message(long_text(f"m{number}"))


def _read_everything(path: Path) -> None:
    with KronvexMemory(f"sqlite:///{path}") as memory:
        memory.recall("n50", user_id="ana")
        assert len(memory.memories(user_id="ana", limit=1000)) == 200
        assert len(memory.chat_history("s", "ana").messages) == 100


@pytest.mark.parametrize("kept", [0.95, 0.5, 0.1])
def test_a_truncated_store_is_reported(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "memory.db"
    _filled_store(path)
    _read_everything(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(NotAStore, match=re.escape(str(path))) as caught:
        _read_everything(path)
    assert "backup" in str(caught.value)


def test_a_store_cut_inside_its_header_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    _filled_store(path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(NotAStore, match=re.escape(str(path))):
        KronvexMemory(f"sqlite:///{path}")


def test_a_store_with_damaged_pages_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    _filled_store(path)
    damaged = bytearray(path.read_bytes())
    page = int.from_bytes(damaged[16:18], "big")
    for start in range(page, len(damaged), page):
        damaged[start : start + 100] = b"\xff" * 100
    path.write_bytes(damaged)
    with pytest.raises(NotAStore, match=re.escape(str(path))) as caught:
        KronvexMemory(f"sqlite:///{path}")
    assert "damaged" in str(caught.value)
    assert path.read_bytes() == damaged


def test_a_store_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    _filled_store(path)
    connection = sqlite3.connect(path)
    newer = connection.execute("PRAGMA user_version").fetchone()[0] + 1
    connection.execute(f"PRAGMA user_version = {newer}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(SchemaTooNew, match=re.escape(str(path))) as caught:
        KronvexMemory(f"sqlite:///{path}")
    assert "pip install -U langchain-kronvex" in str(caught.value)
    assert str(newer) in str(caught.value)
    assert path.read_bytes() == before


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    path.touch()
    with KronvexMemory(f"sqlite:///{path}") as memory:
        memory.remember("a fresh start", user_id="ana")
    with KronvexMemory(f"sqlite:///{path}") as memory:
        assert memory.recall("fresh", user_id="ana")


def test_after_a_failed_opening_the_memory_can_be_opened(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    path.write_text("no database")
    with pytest.raises(StoreError):
        KronvexMemory(f"sqlite:///{path}")
    path.unlink()
    with KronvexMemory(f"sqlite:///{path}") as memory:
        assert memory.remember("it works", user_id="ana").content == "it works"


# -- the settings ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "mysql://localhost/x",
        "memory.db",
        "/tmp/memory.db",
        "C:\\memory.db",
        "sqlite:memory.db",
        "sqlite://memory.db",
        "",
        " ",
    ],
)
def test_a_url_that_cannot_be_used(url: str) -> None:
    with pytest.raises(ConfigurationError, match="sqlite:///") as caught:
        KronvexMemory(url)
    assert isinstance(caught.value, KronvexError)


def test_a_url_that_is_a_path_object(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="must be a string"):
        KronvexMemory(tmp_path / "memory.db")  # type: ignore[arg-type]


def test_an_api_key_alone_means_the_hosted_service(monkeypatch: pytest.MonkeyPatch) -> None:
    with KronvexMemory(api_key="kv-secret-key") as memory:
        assert memory.location == "https://api.kronvex.io"
    monkeypatch.setenv("KRONVEX_API_KEY", "kv-secret-key")
    with KronvexMemory() as memory:
        assert memory.location == "https://api.kronvex.io"
        assert "kv-secret-key" not in repr(memory)


@pytest.mark.parametrize("agent_id", ["", "  ", "\n", "a\0b", "x" * 256, 7])
def test_an_invalid_agent_id(store_url: str, agent_id: object) -> None:
    with pytest.raises(InvalidInput, match="agent_id"):
        KronvexMemory(store_url, agent_id=agent_id)  # type: ignore[arg-type]


# -- who may read ------------------------------------------------------------------------------


def test_only_the_owner_can_read_the_files(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path = tmp_path / "new" / "folder" / "memory.db"
        with KronvexMemory(f"sqlite:///{path}") as memory:
            memory.remember("private", user_id="ana")
            modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
            memory.remember("forget me", user_id="ben")
            memory.forget(user_id="ben")
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(["memory.db", "memory.db-wal", "memory.db-shm"], 0o600)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
