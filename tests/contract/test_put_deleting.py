"""Putting some records and deleting others in one step: readers see all of it or nothing."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from contract.drivers import NOW, Driver
from contract.test_put import DESK, OpenDriver, Seam, item
from inside import Kind, Page, Scope, Selection
from langchain_kronvex import StoreError

SHELF = Scope("shelf", "drawer")


def of(*keys: str, scope: Scope = DESK, kind: Kind = "item") -> Selection:
    return Selection(kind=kind, scope=scope, keys=keys)


def memory_of(owner: str, key: str, content: str) -> Any:
    return item(key, content, kind="memory", scope=Scope(owner, "keyed"))


@pytest.fixture
def seam(memory: Driver) -> Seam:
    return Seam(memory)


def test_some_come_and_others_go(seam: Seam) -> None:
    seam.put([item("a", "1"), item("b", "1"), item("c", "1"), item("a", "x", scope=SHELF)], NOW)
    seam.put([item("a", "x", kind="memory")], NOW)
    new = [item("c", "2"), item("d", "2")]
    assert seam.put(new, NOW, deleted=[of("a", "never"), of("b"), of("z", scope=SHELF)]) is True

    assert seam.contents() == {"c": "2", "d": "2"}
    assert seam.contents(scope=SHELF) == {"a": "x"}
    assert [record.content for record in seam.all(kind="memory")] == ["x"]


def test_all_may_go_and_come_back(seam: Seam) -> None:
    later = NOW + timedelta(hours=1)
    seam.put([item("a", "1"), item("b", "1")], NOW)
    seam.put([item("c", "1", scope=SHELF, expires_at=NOW + timedelta(minutes=1))], NOW)
    assert seam.put([], later, deleted=[of("a", "b"), of("c", scope=SHELF)]) is True
    assert seam.contents(later) == seam.contents(later, SHELF) == {}
    assert seam.put([], later, deleted=[of("a")]) is True
    seam.put([item("a", "2", at=later)], later)

    [stored] = seam.all(later)
    assert (stored.content, stored.said_at) == ("2", later)


def test_a_record_in_the_place_of_a_deleted_one_begins_anew(seam: Seam) -> None:
    later = NOW + timedelta(hours=1)
    seam.put([item("a", "1"), item("b", "1")], NOW)
    seam.put([item("a", "2", at=later), item("b", "2", at=later)], later, deleted=[of("a")])

    assert {r.key: (r.content, r.said_at) for r in seam.all(later)} == {
        "a": ("2", later),
        "b": ("2", NOW),
    }


def test_one_miss_deletes_nothing(seam: Seam) -> None:
    seam.put([item("a", "1"), item("b", "1")], NOW)

    assert seam.put([item("a", "2")], NOW, expected=["?"], deleted=[of("b")]) is False
    assert seam.contents() == {"a": "1", "b": "1"}
    assert seam.put([item("a", "2")], NOW, expected=["1"], deleted=[of("b")]) is True
    assert seam.contents() == {"a": "2"}


def test_recalls_and_owners_follow(memory: Driver, seam: Seam) -> None:
    seam.put([memory_of("ana", "k", "Ana drinks jasmine tea.")], NOW)
    seam.put([memory_of("ana", "l", "Ana owns a bicycle.")], NOW)
    seam.put([memory_of("ben", "k", "Ben drinks jasmine tea.")], NOW)
    assert memory.recall("jasmine", user_id="ana")[0].content == "Ana drinks jasmine tea."
    gone = [
        of("k", scope=Scope("ana", "keyed"), kind="memory"),
        of("k", scope=Scope("ben", "keyed"), kind="memory"),
    ]
    seam.put([memory_of("cho", "k", "Cho drinks jasmine tea.")], NOW, deleted=gone)

    found = memory.recall("jasmine", user_id="ana", top_k=9)
    assert [m.content for m in found] == ["Ana owns a bicycle."]
    assert memory.recall("jasmine", user_id="ben") == []
    assert memory.recall("jasmine", user_id="cho")[0].content == "Cho drinks jasmine tea."
    assert sorted(seam.owners("", NOW)) == ["ana", "cho"]
    assert memory.stats().memories == 2


def test_deleted_records_stay_deleted_after_erasing_and_a_restart(
    open_shared: OpenDriver,
) -> None:
    first = open_shared()
    Seam(first).put([item(str(n), "x") for n in range(600)], NOW)
    keys = [str(n) for n in range(599)]
    Seam(first).put([item("new", "y")], NOW, deleted=[of(*keys)])
    first.memory.engine.backend.finish_erasing(NOW)
    assert Seam(first).contents() == {"599": "x", "new": "y"}
    first.memory.close()

    assert Seam(open_shared()).contents() == {"599": "x", "new": "y"}


def test_a_reader_sees_a_moved_record_in_one_place(open_shared: OpenDriver) -> None:
    moving, reading = Seam(open_shared()), Seam(open_shared())
    moving.put([item("token", "t")], NOW)
    both = Selection(kind="item", scope=None, keys=("token",))
    done = threading.Event()

    def move_it() -> None:
        places = [DESK, SHELF]
        try:
            for _ in range(30):
                there, other = places
                new = item("token", "t", scope=other)
                moving.put([new], NOW, deleted=[of("token", scope=there)])
                places.reverse()
        finally:
            done.set()

    thread = threading.Thread(target=move_it)
    thread.start()
    seen = {len(reading.find(both, Page(), NOW))}
    while not done.is_set():
        seen.add(len(reading.find(both, Page(), NOW)))
    thread.join()
    assert seen == {1}


def test_movers_in_both_directions_do_not_lock_each_other_up(open_shared: OpenDriver) -> None:
    seams = [Seam(open_shared()) for _ in range(2)]
    failures: list[StoreError] = []

    def move(number: int) -> None:
        ways = [(DESK, SHELF), (SHELF, DESK)]
        for step in range(30):
            there, other = ways[(number + step) % 2]
            key = f"of {number}"
            try:
                seams[number].put(
                    [item(key, str(step), scope=other)], NOW, deleted=[of(key, scope=there)]
                )
            except StoreError as error:
                failures.append(error)

    threads = [threading.Thread(target=move, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert seams[0].contents() == {"of 0": "29"}
    assert seams[1].contents(scope=SHELF) == {"of 1": "29"}
