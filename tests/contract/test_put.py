"""Putting: a record replaces the one with its key, if that one is as expected."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest

from contract.drivers import NOW, Clock, Driver
from inside import Kind, Page, Record, Replacement, Scope, Selection
from langchain_kronvex import MemoryNotFound

OpenDriver = Callable[..., Driver]
DESK = Scope("desk", "drawer")


def item(
    key: str, content: str, *, kind: Kind = "item", scope: Scope = DESK, at: datetime = NOW,
    **more: Any,
) -> Record:  # fmt: skip
    return Record(
        kind=kind, id=uuid.uuid4().hex, scope=scope, key=key, type="semantic", content=content,
        created_at=at, **more,
    )  # fmt: skip


class Seam:
    """The backend's verbs."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._backend = driver.memory.engine.backend

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._backend, verb)

    def put(self, records: list[Record], now: datetime, **options: Any) -> bool:
        return bool(self._backend.put(Replacement(records, **options), now))

    def all(self, now: datetime = NOW, kind: Kind = "item", scope: Scope = DESK) -> list[Record]:
        return self.find(Selection(kind=kind, scope=scope), Page(), now)

    def contents(self, now: datetime = NOW, scope: Scope = DESK) -> dict[str, str]:
        return {record.key: record.content for record in self.all(now, scope=scope)}


@pytest.fixture
def seam(memory: Driver) -> Seam:
    return Seam(memory)


def test_a_record_takes_the_place_of_the_one_with_its_key(seam: Seam) -> None:
    assert seam.put([item("a", "one"), item("b", "two")], NOW) is True
    assert seam.put([item("a", "three", metadata={"n": 1})], NOW) is True

    assert seam.contents() == {"a": "three", "b": "two"}
    assert {r.key: dict(r.metadata) for r in seam.all()} == {"a": {"n": 1}, "b": {}}


def test_the_moment_of_the_first_saying_is_kept(seam: Seam) -> None:
    later = NOW + timedelta(days=3)
    seam.put([item("a", "one")], NOW)
    seam.put([item("a", "two", at=later)], later)
    seam.put([item("a", "three", at=later)], later)

    [stored] = seam.all(later)
    assert (stored.said_at, stored.created_at) == (NOW, later)


def test_other_keys_owners_sessions_and_kinds_are_left_alone(seam: Seam) -> None:
    others = [
        item("a", "other owner", scope=Scope("desk2", "drawer")),
        item("a", "other session", scope=Scope("desk", "drawer2")),
        item("A", "other key"),
        item("a", "other kind", kind="memory"),
    ]
    seam.put(others, NOW)
    seam.put([item("a", "mine")], NOW)
    seam.put([item("a", "mine again")], NOW)

    assert seam.contents() == {"A": "other key", "a": "mine again"}
    assert seam.contents(scope=Scope("desk2", "drawer")) == {"a": "other owner"}
    assert seam.contents(scope=Scope("desk", "drawer2")) == {"a": "other session"}
    assert [r.content for r in seam.all(kind="memory")] == ["other kind"]


def test_an_expected_record_must_exist(seam: Seam) -> None:
    assert seam.put([item("a", "1")], NOW, expected=["0"]) is False
    assert seam.contents() == {}
    assert seam.put([item("a", "1")], NOW, expected=[None]) is True
    assert seam.put([item("a", "2")], NOW, expected=[None]) is False
    assert seam.put([item("a", "2")], NOW, expected=["0"]) is False
    assert seam.put([item("a", "2")], NOW, expected=["1"]) is True
    assert seam.contents() == {"a": "2"}


def test_one_unexpected_record_stores_nothing(seam: Seam) -> None:
    seam.put([item("a", "1")], NOW)

    batch = [item("a", "2"), item("b", "2"), item("c", "2")]
    assert seam.put(batch, NOW, expected=["1", "?", None]) is False
    assert seam.contents() == {"a": "1"}
    assert seam.put(batch, NOW, expected=["1", None, None]) is True
    assert seam.contents() == {"a": "2", "b": "2", "c": "2"}


def test_an_expired_record_counts_as_absent(seam: Seam) -> None:
    later = NOW + timedelta(days=2)
    seam.put([item("a", "old", expires_at=NOW + timedelta(days=1))], NOW)

    assert seam.put([item("a", "new", at=later)], later, expected=["old"]) is False
    assert seam.put([item("a", "new", at=later)], later, expected=[None]) is True
    [stored] = seam.all(later)
    assert stored.content == "new"
    assert stored.said_at == later  # it begins anew


def test_the_expiry_is_that_of_the_newest(seam: Seam) -> None:
    later = NOW + timedelta(days=2)
    seam.put([item("a", "one", expires_at=NOW + timedelta(days=1)), item("b", "one")], NOW)
    seam.put([item("a", "two"), item("b", "two", expires_at=NOW + timedelta(days=1))], NOW)

    assert seam.contents() == {"a": "two", "b": "two"}
    assert seam.contents(later) == {"a": "two"}


def test_a_replaced_record_is_the_last_written(seam: Seam) -> None:
    seam.put([item("a", "1"), item("b", "1"), item("c", "1")], NOW)
    seam.put([item("a", "2")], NOW)

    assert [record.key for record in seam.all()] == ["b", "c", "a"]


def test_a_record_that_gave_way_cannot_be_changed(seam: Seam) -> None:
    seam.put([item("a", "1")], NOW)
    [old] = seam.all()
    seam.put([item("a", "2")], NOW)
    with pytest.raises(MemoryNotFound):
        seam.change(old, NOW)
    assert seam.contents() == {"a": "2"}
    seam.delete(Selection(kind="item", scope=DESK, keys=("a",)), NOW)
    with pytest.raises(MemoryNotFound):  # it does not come back in the other's place either
        seam.change(old, NOW)
    assert seam.contents() == {}


def test_hostile_keys_and_contents_come_back_as_they_were(seam: Seam) -> None:
    hostile = ["'; DROP TABLE records; --", "%", "_", "\\", "a\nb", " a ", "🙂" * 200, "é", "é"]
    seam.put([item(key, f"of {key}") for key in hostile], NOW)
    seam.put([item("%", "replaced")], NOW)

    wanted = {key: f"of {key}" for key in hostile} | {"%": "replaced"}
    assert seam.contents() == wanted
    chosen = Selection(kind="item", scope=DESK, keys=("%",))
    assert [r.key for r in seam.find(chosen, Page(), NOW)] == ["%"]


def test_a_replaced_memory_is_found_by_its_new_words_alone(memory: Driver, seam: Seam) -> None:
    ana = Scope("ana", None)
    seam.put([item("k", "Ana drinks jasmine tea.", kind="memory", scope=ana)], NOW)
    seam.put([item("l", "Ana owns a bicycle.", kind="memory", scope=ana)], NOW)
    assert memory.recall("jasmine", user_id="ana")[0].content == "Ana drinks jasmine tea."
    seam.put([item("k", "Ana drinks black coffee.", kind="memory", scope=ana)], NOW)

    assert {m.content for m in memory.recall("jasmine", user_id="ana", top_k=9)} == {
        "Ana drinks black coffee.",
        "Ana owns a bicycle.",
    }
    assert memory.recall("coffee", user_id="ana")[0].content == "Ana drinks black coffee."
    assert memory.stats().memories == 2


def test_a_recall_finds_a_record_while_it_is_replaced(memory: Driver, seam: Seam) -> None:
    ana = Scope("ana", None)
    seam.put([item("k", "tea 0", kind="memory", scope=ana)], NOW)
    done = threading.Event()

    def replace_it() -> None:
        try:
            for number in range(60):
                new = item("k", f"tea {number}", kind="memory", scope=ana)
                seam.put([new], NOW)
        finally:
            done.set()

    replacing = threading.Thread(target=replace_it)
    replacing.start()
    found = [len(memory.recall("tea", user_id="ana"))]
    while not done.is_set():
        found.append(len(memory.recall("tea", user_id="ana")))
    replacing.join()
    assert set(found) == {1}


def test_vectors_are_stored_with_their_model_only(memory: Driver, seam: Seam) -> None:
    model = memory.memory.engine.model.current
    vector = np.zeros(model.width, np.float32)
    vector[0] = 1.0
    ana = Scope("ana", None)
    seam.put([item("k", "tea", kind="memory", scope=ana, vector=vector)], NOW, model=model.name)
    assert memory.stats().unembedded == 0
    seam.put([item("k", "coffee", kind="memory", scope=ana, vector=vector)], NOW, model="another")
    assert memory.stats().unembedded == 1


def test_items_are_seen_by_no_verb_of_users(memory: Driver, seam: Seam) -> None:
    seam.put([item("a", "tea")], NOW)

    assert memory.recall("tea", user_id="desk") == []
    assert memory.memories(user_id="desk") == []
    assert memory.sessions() == []
    assert memory.stats().memories == memory.stats().users == 0
    assert memory.get(seam.all()[0].id) is None


def test_forgetting_a_user_of_that_name_leaves_items_alone(memory: Driver, seam: Seam) -> None:
    seam.put([item("a", "tea")], NOW)
    memory.remember("coffee", user_id="desk")

    assert memory.forget(user_id="desk") == 1
    assert memory.forget(user_id="desk", session_id="drawer") == 0
    assert memory.forget(id=seam.all()[0].id) == 0
    assert seam.contents() == {"a": "tea"}


def test_clear_erases_items_too(memory: Driver, seam: Seam) -> None:
    seam.put([item("a", "tea"), item("b", "tea")], NOW)
    seam.put([item("a", "coffee")], NOW)

    assert memory.clear() == 2
    assert seam.contents() == {}


def test_a_purge_erases_only_replaced_records(seam: Seam) -> None:
    for number in range(20):
        seam.put([item("a", str(number))], NOW)
    seam._backend.purge(NOW)

    assert seam.contents() == {"a": "19"}


def test_it_survives_the_process(open_shared: OpenDriver) -> None:
    first = open_shared()
    Seam(first).put([item("a", "one")], NOW)
    Seam(first).put([item("a", "two")], NOW)
    first.memory.close()

    assert Seam(open_shared()).contents() == {"a": "two"}


def test_appending_from_several_threads_and_memories_loses_nothing(
    open_shared: OpenDriver, clock: Clock
) -> None:
    seams = [Seam(open_shared()) for _ in range(4)]
    failures: list[Exception] = []

    def append(number: int) -> None:
        backend = seams[number]._backend
        try:
            for step in range(10):
                while not append_once(backend, f"{number}.{step}"):
                    pass
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=append, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not failures
    words = seams[0].contents()["list"].split()
    assert sorted(words) == sorted(f"{n}.{step}" for n in range(4) for step in range(10))


def append_once(backend: Any, word: str) -> bool:
    chosen = Selection(kind="item", scope=DESK, keys=("list",))
    found = backend.find(chosen, Page(), NOW)
    there = found[0].content if found else None
    records = [item("list", f"{there or ''} {word}")]
    return bool(backend.put(Replacement(records, expected=[there]), NOW))
