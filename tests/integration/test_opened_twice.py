"""One process opens a store several times, and others come and go: nothing written is lost.

Servers do so with each agent, and `KronvexStore` with the memory that it stands beside.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from inside import application_id
from langchain_kronvex import InvalidInput, KronvexMemory, NotAStore

from .crew import run_python

COMES_AND_GOES = """
import json, sys
from langchain_kronvex import KronvexMemory
with KronvexMemory(sys.argv[1]) as memory:
    memory.remember("from elsewhere", user_id="bob")
    print(json.dumps(len(memory.memories(user_id="ana", limit=100))))
"""
OPENS_TWICE = """
import sys
from langchain_kronvex import KronvexMemory
from langchain_kronvex.langgraph import KronvexStore

memory = KronvexMemory(sys.argv[1])
memory.remember("before", user_id="ana")
again = {"memory": lambda: KronvexMemory(sys.argv[1], agent_id="another"),
         "beside": lambda: memory.for_agent("another"),
         "store": lambda: KronvexStore(memory)}[sys.argv[2]]()
print("opened", flush=True)
sys.stdin.readline()
for n in range(5):
    memory.remember(f"after {n}", user_id="ana")
print("written", flush=True)
sys.stdin.readline()
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["memory", "beside", "store"])
def test_writes_after_others_have_closed_survive_a_kill(how: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    writer = subprocess.Popen(
        [sys.executable, "-c", OPENS_TWICE, url, how],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert writer.stdin is not None
    assert writer.stdout is not None
    with writer:
        assert writer.stdout.readline() == "opened\n"
        assert run_python(COMES_AND_GOES, url) == 1
        assert (tmp_path / "memory.db-wal").exists()  # the log is still in use
        writer.stdin.write("go on\n")
        writer.stdin.flush()
        assert writer.stdout.readline() == "written\n"
        os.kill(writer.pid, signal.SIGKILL)
    with KronvexMemory(url) as memory:
        kept = {each.content for each in memory.memories(user_id="ana", limit=100)}
        assert kept == {"before", *(f"after {n}" for n in range(5))}
        assert [each.content for each in memory.memories(user_id="bob")] == ["from elsewhere"]


def test_a_store_is_not_an_export_file(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with KronvexMemory(f"sqlite:///{path}") as memory:
        memory.remember("Ana drinks tea.", user_id="ana")
        (tmp_path / "link.db").symlink_to(path)
        for name in ("memory.db", "link.db"):
            with pytest.raises(InvalidInput, match="is a store"):
                memory.export(tmp_path / name)
            with pytest.raises(InvalidInput, match="is a store"):
                memory.import_(tmp_path / name)
    with KronvexMemory(f"sqlite:///{tmp_path / 'other.db'}") as other:
        with pytest.raises(InvalidInput, match="is a store"):
            other.export(path)
        with pytest.raises(InvalidInput, match="is a store"):
            other.import_(path)
    with KronvexMemory(f"sqlite:///{path}") as memory:
        assert [each.content for each in memory.memories(user_id="ana")] == ["Ana drinks tea."]


def test_a_file_is_checked_again_when_it_is_not_open(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    KronvexMemory(f"sqlite:///{path}").close()
    path.write_bytes(b"something else of the user's")
    with pytest.raises(NotAStore, match="not an SQLite database"):
        KronvexMemory(f"sqlite:///{path}")
    assert path.read_bytes() == b"something else of the user's"


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="no /proc here")
def test_looking_into_an_open_file_keeps_its_locks(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA application_id = 7")
        connection.execute("BEGIN IMMEDIATE")
        locks = Path("/proc/locks").read_text().count(f":{path.stat().st_ino} ")
        assert locks > 0
        assert application_id(path) == 7
        assert Path("/proc/locks").read_text().count(f":{path.stat().st_ino} ") == locks
    finally:
        connection.close()


def test_a_file_whose_log_is_being_copied_into_it_is_no_damaged_one(tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.db", tmp_path / "memory.db"
    with closing(sqlite3.connect(whole)) as connection:
        connection.execute("PRAGMA application_id = 7")
        connection.execute("CREATE TABLE t (long TEXT)")
        connection.execute("INSERT INTO t VALUES (?)", ["x" * 100_000])
        connection.commit()
    path.write_bytes(whole.read_bytes()[:4096])  # the first page, which counts all of them
    assert application_id(path) == 7


def test_many_threads_open_a_new_file(tmp_path: Path) -> None:
    url, barrier = f"sqlite:///{tmp_path / 'memory.db'}", threading.Barrier(8)

    def remember(number: int) -> None:
        barrier.wait()
        with KronvexMemory(url) as memory:
            memory.remember(f"number {number}", user_id="ana")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(remember, range(8)))
    with KronvexMemory(url) as memory:
        assert len(memory.memories(user_id="ana")) == 8
