"""`read_only=True` reads all that is there, and writes nothing, whatever is asked."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from contract.drivers import Clock, Driver
from inside import Selection
from langchain_kronvex import (
    KronvexKeyValueStore,
    KronvexMemory,
    NotSupported,
    Retention,
    StoreError,
)

OpenDriver = Callable[..., Driver]
WRITES: dict[str, Callable[[Any, str], Any]] = {
    "remember": lambda memory, _: memory.remember("new", user_id="ana"),
    "save_exchange": lambda memory, _: memory.save_exchange("new", "words", user_id="ana"),
    "save_messages": lambda memory, _: memory.save_messages([HumanMessage("new")], "s"),
    "clear_messages": lambda memory, _: memory.clear_messages("monday", user_id="ana"),
    "update": lambda memory, id_: memory.update(id_, content="new"),
    "restore": lambda memory, id_: memory.restore(id_),
    "forget": lambda memory, id_: memory.forget(id=id_),
    "forget a user": lambda memory, _: memory.forget(user_id="ana"),
    "clear": lambda memory, _: memory.clear(),
    "reindex": lambda memory, _: memory.reindex(),
}


@pytest.fixture
def stored(open_shared: OpenDriver) -> str:
    """The id of the first of two memories, which the second has superseded."""
    with open_shared().memory as memory:
        old = memory.remember("Ana lives in Lisbon", user_id="ana")
        memory.remember("Ana lives in Porto", user_id="ana", supersedes=old.id)
        memory.save_messages([HumanMessage("hi")], "monday", user_id="ana", remember=False)
        assert memory.flush(30)
        return old.id


@pytest.mark.parametrize("verb", WRITES)
def test_what_writes_is_refused(verb: str, stored: str, open_shared: OpenDriver) -> None:
    reader = open_shared(read_only=True)
    with pytest.raises(NotSupported):
        WRITES[verb](reader, stored)

    left = open_shared()
    assert [m.content for m in left.memories(user_id="ana")] == ["Ana lives in Porto"]
    assert len(left.load_messages("monday", user_id="ana")) == 1
    assert reader.stats().failed == 0


def test_all_that_reads_works(stored: str, open_shared: OpenDriver) -> None:
    reader = open_shared(read_only=True)
    [found] = reader.recall("Where does Ana live?", user_id="ana")
    assert found.content == "Ana lives in Porto"
    assert reader.explain("Where does Ana live?", found.id, user_id="ana").found
    assert len(reader.history(stored)) == 2
    assert "Porto" in reader.profile("ana").context
    assert [u.user_id for u in reader.users()] == ["ana"]
    assert reader.stats().memories == 2
    assert reader.export(io.BytesIO()).memories == 2
    assert reader.flush(10)


def test_it_sees_what_others_write(stored: str, open_shared: OpenDriver) -> None:
    reader, writer = open_shared(read_only=True), open_shared()
    assert len(reader.recall("Ana", user_id="ana")) == 1
    writer.remember("Ana plays chess", user_id="ana")
    assert writer.flush(30)
    assert len(reader.recall("Ana", user_id="ana")) == 2


def test_a_store_that_is_not_there_is_not_made(backend: Any, tmp_path: Path) -> None:
    if backend.name != "sqlite-file":
        return
    with pytest.raises(StoreError):
        KronvexMemory(backend.url(tmp_path), read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_no_access_is_counted_and_nothing_removed(
    backend: Any, stored: str, open_shared: OpenDriver, clock: Clock
) -> None:
    if backend.name == "kronvex-api":
        return  # the server counts, and removes
    writer = open_shared()
    writer.remember("a note", user_id="ana", ttl_days=1)
    clock.advance(days=2)
    with open_shared(read_only=True, retention=Retention(max_memories=1)).memory as reader:
        reader.recall("Ana", user_id="ana")
        # The older of the two is the one that does not pass; the newer supersedes it.
        assert reader.expire(dry_run=True) == []
        with pytest.raises(NotSupported):
            reader.engine.backend.take("ana", [], Retention(max_memories=1), clock())
    clock.advance(days=-2)
    assert len(writer.memory.engine.find(Selection(kind="memory", scope=None))) == 3
    assert all(m.access_count == 0 for m in writer.memories(user_id="ana"))


def test_copies_and_adapters_read_only_too(stored: str, open_shared: OpenDriver) -> None:
    reader = open_shared(read_only=True, clock=None).memory
    for other in (pickle.loads(pickle.dumps(reader)), copy.deepcopy(reader), reader.for_agent("b")):
        with other, pytest.raises(NotSupported):
            other.remember("new", user_id="ana")
    with pytest.raises(NotSupported):
        KronvexKeyValueStore(reader, "settings").mset([("a", 1)])


def test_it_is_a_flag(open_shared: OpenDriver) -> None:
    with pytest.raises(Exception, match="read_only must be True or False"):
        open_shared(read_only="no")


def test_an_outbox_is_read_and_not_sent(clock: Clock, tmp_path: Path) -> None:
    box = tmp_path / "outbox"
    box.mkdir()
    away: dict[str, Any] = {"outbox": box, "timeout_seconds": 0.2, "clock": clock}
    with KronvexMemory("http://127.0.0.1:1", **away) as memory:
        memory.remember("Ana lives in Porto", user_id="ana")
    before = {each.name: each.read_bytes() for each in box.iterdir()}

    with KronvexMemory("http://127.0.0.1:1", read_only=True, **away) as reader:
        assert (reader.stats().memories, reader.stats().pending) == (1, 1)
        clock.now += timedelta(seconds=1)
        with pytest.raises(NotSupported):
            reader.forget(user_id="ana")
    assert {each.name: each.read_bytes() for each in box.iterdir()} == before
