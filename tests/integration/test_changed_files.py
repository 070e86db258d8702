"""A file that is no file, is open to others, or is taken away while the store is open."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from langchain_kronvex import ConfigurationError, KronvexError, KronvexMemory, StoreUnavailable

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")


@posix
@pytest.mark.parametrize("way", ["itself", "by a link", "outbox"])
def test_a_pipe_is_refused_at_once(tmp_path: Path, way: str) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    if way == "by a link":
        path = tmp_path / "link"
        path.symlink_to("pipe")
    began = time.monotonic()
    url, options = f"sqlite:///{path}", {}
    if way == "outbox":
        url, options = "https://api.kronvex.io", {"api_key": "kv-x", "outbox": path}
    with pytest.raises(StoreUnavailable, match="is not a file"):
        KronvexMemory(url, **options)
    assert time.monotonic() - began < 5


@posix
@pytest.mark.parametrize("path", ["/dev/null", "/dev/zero"])
def test_a_device_is_refused(path: str) -> None:
    with pytest.raises(StoreUnavailable, match="is not a file"):
        KronvexMemory(f"sqlite:///{path}")


@pytest.mark.parametrize("name", ["a\0b", "\ud800"], ids=ascii)
def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError):
        KronvexMemory(f"sqlite:///{tmp_path}/{name}")
    with pytest.raises(ConfigurationError):
        KronvexMemory("https://api.kronvex.io", api_key="kv-x", outbox=f"{tmp_path}/{name}")


def test_a_link_to_a_file_that_is_not_there_yet(tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "folder" / "memory.db")
    with KronvexMemory(f"sqlite:///{link}") as memory:
        memory.remember("Ana drinks tea.", user_id="ana")
    assert stat.S_IMODE((tmp_path / "folder" / "memory.db").stat().st_mode) == 0o600


@posix
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o666])
def test_a_store_that_others_could_read_becomes_private(
    tmp_path: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "memory.db"
    url = f"sqlite:///{path}"
    with KronvexMemory(url) as memory:
        memory.remember("Ana drinks tea.", user_id="ana")
        for side in ("", "-wal", "-shm"):
            Path(f"{path}{side}").chmod(mode)
        with KronvexMemory(url):
            assert "now private (0600)" in caplog.text
            for side in ("", "-wal", "-shm"):
                assert stat.S_IMODE(Path(f"{path}{side}").stat().st_mode) == 0o600
    caplog.clear()
    KronvexMemory(url).close()
    assert caplog.text == ""


def deleted(path: Path) -> None:
    path.unlink()


def moved(path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))


def replaced_by_a_copy(path: Path) -> None:
    shutil.copy(path, path.with_name("copy.db"))
    path.with_name("copy.db").replace(path)


def folder_deleted(path: Path) -> None:
    shutil.rmtree(path.parent)


@posix
@pytest.mark.parametrize(
    "change", [deleted, moved, replaced_by_a_copy, folder_deleted], ids=lambda c: c.__name__
)
def test_a_file_that_is_taken_away_is_noticed(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    path = tmp_path / "folder" / "memory.db"
    memory = KronvexMemory(f"sqlite:///{path}")
    memory.remember("Ana drinks tea.", user_id="ana")
    memory.recall("tea", user_id="ana")
    assert memory.flush(10)
    change(path)
    calls: list[Callable[[], object]] = [
        lambda: memory.remember("Ana lives in Porto.", user_id="ana"),
        lambda: memory.recall("tea", user_id="ana"),
        lambda: memory.memories(user_id="ana"),
        lambda: memory.forget(user_id="ana"),
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable, match=r"deleted, moved or replaced.*open a new"):
            call()
    memory.close()
    if change is deleted:
        assert not path.exists()  # nothing made an empty one


@posix
def test_a_file_that_is_put_back_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with KronvexMemory(f"sqlite:///{path}") as memory:
        memory.remember("Ana drinks tea.", user_id="ana")
        path.rename(tmp_path / "away.db")
        with pytest.raises(KronvexError):
            memory.remember("Ana lives in Porto.", user_id="ana")
        (tmp_path / "away.db").rename(path)
        memory.remember("Ana lives in Porto.", user_id="ana")
        assert len(memory.memories(user_id="ana")) == 2
