"""Acknowledged writes are on disk, and are sent once and in order by any process."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from defaults import limit_pauses, set_default
from inside import Outbox
from langchain_kronvex import KronvexMemory, MemoryDraft, StoreBusy, StoreUnavailable

from .bad_server import FaultyServer, hang, status
from .conftest import Open
from .plain_server import KEY, PlainServer, wait_until

CHILD = """
import os, sys, time
from langchain_kronvex import KronvexMemory
url, key, name, count, end = sys.argv[1:]
memory = KronvexMemory(url, api_key=key, timeout_seconds=5.0)
for n in range(int(count)):
    memory.remember(f"note {n} of {name}", user_id=name)
print("acknowledged", flush=True)
if end == "wait":
    time.sleep(60)
assert memory.flush(30)
memory.close()
"""


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    limit_pauses(monkeypatch, 0.05)


def child(url: str, name: str, count: int, end: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", CHILD, url, KEY, name, str(count), end]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=dict(os.environ))


def outbox_files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "data" / "langchain-kronvex").glob("outbox-*"))


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("late", [False, True], ids=["not stored", "stored, answer under way"])
def test_a_killed_process_leaves_nothing_behind_and_nothing_twice(
    faulty: FaultyServer, open_on: Open, late: bool
) -> None:
    faulty.only = "/remember"
    (faulty.late_faults if late else faulty.faults).append(hang(3.0))
    process = child(faulty.url, "ana", 5, "wait")
    assert process.stdout
    with process.stdout:
        assert process.stdout.readline() == "acknowledged\n"
        wait_until(lambda: faulty.count("POST", "/remember") == 1)
        if late:
            wait_until(lambda: len(faulty.all_items()) == 1)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    assert len(faulty.all_items()) == (1 if late else 0)

    memory = open_on(faulty)
    assert memory.stats().memories == 5
    assert memory.flush(20)
    assert [item.content for item in faulty.all_items()] == [f"note {n} of ana" for n in range(5)]
    assert memory.stats().pending == 0


@pytest.mark.slow
def test_two_processes_share_an_outbox(plain: PlainServer, open_on: Open) -> None:
    processes = [child(plain.url, name, 20, "end") for name in ("ana", "bob")]
    memory = open_on(plain, timeout_seconds=5.0)
    for n in range(20):
        memory.remember(f"note {n} of eve", user_id="eve")
    assert memory.flush(30)
    for process in processes:
        assert process.stdout
        with process.stdout:
            assert process.wait(30) == 0
    for name in ("ana", "bob", "eve"):
        sent = [item.content for item in plain.all_items() if item.session_id == name]
        assert sent == [f"note {n} of {name}" for n in range(20)]


def test_while_another_process_sends_this_one_sends_nothing(
    plain: PlainServer, open_on: Open
) -> None:
    memory, other = open_on(plain), open_on(plain)
    with other.engine.backend.agent.outbox.sending(patiently=True):
        memory.remember("The zebra is asleep", user_id="ana")
        assert not memory.flush(0.5)
        assert plain.all_items() == []
    assert memory.flush(10)
    assert len(plain.all_items()) == 1


def test_what_waits_is_found_and_sent_when_the_server_is_there(
    faulty: FaultyServer, open_on: Open
) -> None:
    memory = open_on(faulty)
    memory.remember("The lion sleeps", user_id="ana")
    assert memory.flush(10)
    faulty.only = "/remember"
    faulty.faults.extend([status(503)] * 5)
    stored = memory.remember("The zebra is asleep", user_id="ana", memory_type="fact")
    memory.remember("The zebra is awake", user_id="bob")
    found = memory.recall("zebra", user_id="ana")
    assert found[0].id == stored.id
    assert {m.content for m in found} == {"The lion sleeps", "The zebra is asleep"}
    assert [m.id for m in memory.recall("zebra", user_id="ana", memory_type="fact")] == [stored.id]
    assert memory.get(stored.id) == stored
    assert memory.update(stored.id, metadata={"a": 1}).metadata == {"a": 1}
    assert [m.metadata for m in memory.memories(user_id="ana", memory_type="fact")] == [{"a": 1}]
    faulty.faults.clear()
    assert memory.flush(20)
    assert memory.get(stored.id).metadata == {"a": 1}
    assert len(faulty.all_items()) == 3


def test_what_is_forgotten_while_it_waits_never_arrives(
    faulty: FaultyServer, open_on: Open, tmp_path: Path
) -> None:
    memory = open_on(faulty)
    faulty.only = "/remember"
    faulty.faults.extend([status(503)] * 1000)
    memory.remember("The zebra is asleep", user_id="ana")
    kept = memory.remember("The lion is awake", user_id="bob")
    assert memory.forget(user_id="ana") == 1
    faulty.faults.clear()
    assert memory.flush(20)
    assert [item.content for item in faulty.all_items()] == [kept.content]
    memory.close()
    for path in outbox_files(tmp_path):
        assert b"zebra" not in path.read_bytes()


def test_what_was_sent_leaves_no_text_behind_once_something_is_forgotten(
    plain: PlainServer, open_on: Open, tmp_path: Path
) -> None:
    memory = open_on(plain)
    memory.remember("The zebra is asleep", user_id="ana")
    assert memory.flush(10)
    assert memory.forget(user_id="ana") == 1
    memory.close()
    for path in outbox_files(tmp_path):
        assert b"zebra" not in path.read_bytes()
    assert plain.all_items() == []


def test_the_files_are_their_owners_alone(
    plain: PlainServer, open_on: Open, tmp_path: Path
) -> None:
    before = os.umask(0)
    try:
        memory = open_on(plain)
        memory.remember("tea", user_id="ana")
        assert memory.flush(10)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in outbox_files(tmp_path)}
    assert modes
    assert set(modes.values()) == {0o600}


def test_a_place_of_ones_own(plain: PlainServer, open_on: Open, tmp_path: Path) -> None:
    folder = tmp_path / "boxes"
    folder.mkdir()
    open_on(plain, outbox=folder)
    open_on(plain, outbox=folder, agent_id="other")
    assert len(list(folder.glob("outbox-*.db"))) == 2
    open_on(plain, outbox=str(tmp_path / "mine.db"))
    assert (tmp_path / "mine.db").exists()
    with pytest.raises(StoreUnavailable, match="another server or agent"):
        open_on(plain, outbox=tmp_path / "mine.db", agent_id="other")


def test_a_full_outbox_slows_the_caller_and_then_refuses(
    faulty: FaultyServer, open_on: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_default(monkeypatch, Outbox, "max_entries", 3)
    memory = open_on(faulty, timeout_seconds=0.5)
    faulty.only = "/remember"
    faulty.faults.extend([status(503)] * 10_000)
    memory.remember_many([MemoryDraft(f"note {n}", user_id="ana") for n in range(3)])
    started = time.monotonic()
    with pytest.raises(StoreBusy, match="outbox is full"):
        memory.remember("one too many", user_id="ana")
    assert time.monotonic() - started > 0.4
    assert memory.stats().pending == 3
    faulty.faults.clear()
    memory.remember("now it fits", user_id="ana")
    assert memory.flush(20)
    assert [i.content for i in faulty.all_items()] == ["note 0", "note 1", "note 2", "now it fits"]


def test_closing_does_not_wait_for_a_server_that_is_away(
    open_on: Open, caplog: pytest.LogCaptureFixture
) -> None:
    with PlainServer() as server:
        pass
    memory = open_on(server)
    memory.remember("The zebra is asleep", user_id="ana")
    wait_until(lambda: memory.stats().last_error is not None)
    started = time.monotonic()
    memory.close()
    assert time.monotonic() - started < 3
    assert "1 entries wait in the outbox" in caplog.text
    assert "zebra" not in caplog.text
    again = open_on(server)
    assert again.stats().pending == 1


def test_an_answer_can_be_saved_while_the_server_is_away(open_on: Open) -> None:
    from langchain_core.messages import AIMessage, HumanMessage

    with PlainServer() as server:
        pass
    memory: Any = open_on(server)
    exchange = memory.save_messages([HumanMessage("Hi.")], "s", user_id="ana")
    answered = memory.save_messages([AIMessage("Hello.")], "s", user_id="ana", reply_to=exchange)
    assert answered == exchange
    assert memory.get(exchange).content == "User: Hi.\nAssistant: Hello."


def test_a_memory_is_let_go_of_when_nobody_refers_to_it(plain: PlainServer) -> None:
    import gc
    import weakref

    memory = KronvexMemory(plain.url, api_key=KEY)
    memory.remember("tea", user_id="ana")
    gone = weakref.ref(memory)
    del memory
    gc.collect()
    assert gone() is None
    assert len(plain.all_items()) == 1


def test_a_corrected_text_leaves_the_outbox(
    faulty: FaultyServer, open_on: Open, tmp_path: Path
) -> None:
    memory = open_on(faulty)
    faulty.only = "/remember"
    faulty.faults.append(status(422))
    wrong = memory.remember("The gate code is quetzal.", user_id="ana")
    wait_until(lambda: memory.stats().failed == 1)
    memory.update(wrong.id, content="The gate code is tucan.")
    assert memory.flush(10)
    assert [each.content for each in memory.memories(user_id="ana")] == ["The gate code is tucan."]
    assert not any(b"quetzal" in file.read_bytes() for file in outbox_files(tmp_path))
