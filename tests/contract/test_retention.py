"""Retention: what goes, what is exempt, on request and in the background."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage
from pydantic import BaseModel

from contract.conftest import BACKENDS
from contract.drivers import NOW, Backend, Clock, Driver
from langchain_kronvex import (
    InvalidInput,
    KronvexKeyValueStore,
    KronvexMemory,
    KronvexProfile,
    MemoryDraft,
    NotSupported,
    Retention,
)


class Home(BaseModel):
    city: str | None = None


OpenDriver = Callable[..., Driver]
OWN_STORES = [backend for backend in BACKENDS if backend.name != "kronvex-api"]
own_stores = pytest.mark.parametrize(
    "backend", OWN_STORES, indirect=True, ids=lambda backend: backend.name
)
shared_stores = pytest.mark.parametrize(
    "backend", [b for b in OWN_STORES if b.shared], indirect=True, ids=lambda b: b.name
)


def contents(found: Any) -> list[str]:
    return [each.content for each in found]


def settled(open_driver: OpenDriver, **limits: Any) -> Driver:
    """Open a memory whose run at opening is over; the next one in the background is far away."""
    memory = open_driver(retention=Retention(**limits))
    memory.flush(20)
    return memory


def say(memory: Driver, *texts: str, user_id: str = "ana", **options: Any) -> list[str]:
    """Store texts, each a day after the one before, the last one now; return their ids."""
    return [
        memory.remember(text, user_id=user_id, created_at=NOW - timedelta(days=days), **options).id
        for days, text in zip(range(len(texts) - 1, -1, -1), texts, strict=True)
    ]


@own_stores
def test_the_memories_used_last_are_kept(open_driver: OpenDriver, clock: Clock) -> None:
    memory = settled(open_driver, max_memories=2)
    say(memory, "tea", "milk", "rice", "salt")
    say(memory, "figs", "oats", user_id="ben")
    clock.advance(hours=1)
    memory.recall("tea", user_id="ana", top_k=1)  # and so it was used last
    would = memory.expire(dry_run=True)
    assert contents(would) == ["milk", "rice"]
    assert len(memory.memories(user_id="ana")) == 4
    assert memory.expire() == would
    assert contents(memory.memories(user_id="ana")) == ["salt", "tea"]
    assert contents(memory.memories(user_id="ben")) == ["oats", "figs"]
    assert sorted(contents(memory.recall("milk", user_id="ana", top_k=9))) == ["salt", "tea"]
    assert memory.expire() == memory.expire(dry_run=True) == []


@own_stores
def test_idle_memories_go_by_the_day(open_driver: OpenDriver, clock: Clock) -> None:
    memory = settled(open_driver, idle_days=30)
    for text in ("tea", "milk", "rice"):
        memory.remember(text, user_id="ana")
    clock.advance(days=20)
    memory.recall("tea", user_id="ana", top_k=1)
    memory.remember("milk", user_id="ana")  # said again
    memory.flush(20)
    clock.advance(days=10)
    assert memory.expire() == []
    clock.advance(seconds=1)
    assert contents(memory.expire()) == ["rice"]
    clock.advance(days=20)
    assert sorted(contents(memory.expire())) == ["milk", "tea"]
    assert memory.stats().memories == memory.stats().users == 0


@own_stores
def test_messages_items_and_other_agents_stay(open_driver: OpenDriver, clock: Clock) -> None:
    memory = settled(open_driver, idle_days=1)
    other = open_driver(agent_id="other")
    other.remember("tea", user_id="ana")
    said = [HumanMessage("I drink tea."), AIMessage("Noted.")]
    memory.save_messages(said, "s", user_id="ana")
    memory.remember("shared")
    KronvexKeyValueStore(memory.memory, "settings").mset([("theme", "dark")])
    clock.advance(days=2)
    assert sorted(contents(memory.expire())) == ["User: I drink tea.\nAssistant: Noted.", "shared"]
    assert memory.load_messages("s", user_id="ana") == said
    assert KronvexKeyValueStore(memory.memory, "settings").mget(["theme"]) == ["dark"]
    assert contents(other.memories(user_id="ana")) == ["tea"]


@own_stores
def test_what_is_exempt(open_driver: OpenDriver, clock: Clock) -> None:
    memory = settled(open_driver, max_memories=1, idle_days=1, keep_types="procedural")
    say(memory, "pinned", pinned=True)
    KronvexProfile(memory.memory, Home).patch("ana", city="Porto")
    say(memory, "how to", memory_type="procedural")
    (old,) = say(memory, "Lisbon")
    new = memory.remember("Porto", user_id="ana", supersedes=old).id
    clock.advance(days=400)
    assert contents(memory.expire()) == ["Lisbon"]  # it was superseded, and is exempt from nothing
    assert contents(memory.expire()) == ["Porto"]  # it supersedes nothing any more
    assert memory.get(new) is None
    assert contents(memory.memories(user_id="ana", memory_type=["procedural", "episodic"])) == [
        "how to",
        "pinned",
    ]
    assert KronvexProfile(memory.memory, Home).get("ana") == Home(city="Porto")


@own_stores
def test_what_is_used_or_pinned_meanwhile_stays(open_driver: OpenDriver, clock: Clock) -> None:
    memory = settled(open_driver, max_memories=1)
    ids = say(memory, "tea", "milk", "rice", "salt")
    backend, retention = memory.memory.engine.backend, Retention(max_memories=1)
    unused = backend.unused("ana", retention, clock())
    assert [each.id for each in unused] == ids[:3]
    memory.update(ids[0], pinned=True)
    memory.recall("milk", user_id="ana", top_k=1)
    memory.flush(20)
    taken = backend.take("ana", unused, retention, clock())
    assert contents(taken) == ["rice"]
    assert backend.take("ana", unused, retention, clock()) == []
    assert backend.take("ben", unused, retention, clock()) == []


@shared_stores
def test_it_runs_at_opening_and_survives_a_restart(open_driver: OpenDriver, clock: Clock) -> None:
    first = open_driver()
    ids = say(first, "tea", "milk", "rice")
    clock.advance(hours=1)
    first.recall("tea", user_id="ana", top_k=1)
    first.memory.close()
    second = open_driver(retention=Retention(max_memories=1))
    assert second.flush(20)
    assert contents(second.memories(user_id="ana")) == ["tea"]
    assert second.get(ids[1]) is None
    assert (second.stats().failed, second.stats().pending) == (0, 0)


@own_stores
def test_it_runs_after_a_write(open_driver: OpenDriver) -> None:
    memory = settled(open_driver, max_memories=3)
    for n in range(9):
        memory.remember(f"note {n}", user_id="ana")
    memory.flush(20)
    assert len(memory.memories(user_id="ana")) == 9  # not at every write
    memory.memory.engine.retainer.pause_seconds = 0
    memory.remember("note 9", user_id="ana")
    memory.flush(20)
    assert contents(memory.memories(user_id="ana")) == ["note 9", "note 8", "note 7"]


@shared_stores
def test_two_at_once_share_the_work(open_driver: OpenDriver) -> None:
    memories = [settled(open_driver, max_memories=5) for _ in range(2)]
    memories[0].remember_many(
        MemoryDraft(f"note {n}", user_id=f"user {n % 3}") for n in range(1500)
    )
    went: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda m=m: went.append([e.id for e in m.memory.expire()]))
        for m in memories
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(went) == 2
    assert len({*went[0], *went[1]}) == len(went[0]) + len(went[1]) == 1500 - 15
    assert memories[0].stats().memories == 15


def test_a_server_has_no_retention(open_driver: OpenDriver, backend: Backend) -> None:
    if backend.name == "kronvex-api":
        with pytest.raises(NotSupported, match="retention"):
            open_driver(retention=Retention(max_memories=1))
    memory = open_driver()
    with pytest.raises(NotSupported if backend.name == "kronvex-api" else InvalidInput):
        memory.expire()


# -- any history of a memory ---------------------------------------------------------------------

TYPES = ("episodic", "semantic", "procedural")
doings = st.lists(
    st.tuples(
        st.sampled_from(["say", "pin", "supersede", "recall"]),
        st.sampled_from(TYPES),
        st.integers(0, 40),
        st.sampled_from(["ana", "ben"]),
    ),
    max_size=25,
)


@pytest.mark.parametrize("most", [1, 3])
@given(doings=doings)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_exempt_stay_and_of_the_others_no_more_than_allowed(most: int, doings: Any) -> None:
    clock = Clock()
    limits = Retention(max_memories=most, idle_days=30, keep_types=["procedural"])
    with KronvexMemory("sqlite://", clock=clock, embeddings=False, retention=limits) as memory:
        memory.flush()
        for number, (doing, type_, days, user) in enumerate(doings):
            there = memory.memories(user_id=user)
            if doing == "recall" and there:
                memory.recall(there[days % len(there)].content, user_id=user, top_k=1)
            elif doing != "recall":
                older = there[0].id if doing == "supersede" and there else None
                memory.remember(
                    f"word{number}", user_id=user, memory_type=type_, pinned=doing == "pin",
                    created_at=clock() - timedelta(days=days), supersedes=older,
                )  # fmt: skip
            clock.advance(minutes=1)
        memory.flush()
        everything = [
            each
            for user in ("ana", "ben")
            for each in memory.memories(user_id=user, include_superseded=True)
        ]
        superseding = {each.superseded_by for each in everything}
        exempt = {
            each.id
            for each in everything
            if each.pinned or each.memory_type == "procedural" or each.id in superseding
        }
        would = memory.expire(dry_run=True)
        assert memory.expire() == would
        gone = {each.id for each in would}
        assert not gone & exempt
        left = [each for each in everything if memory.get(each.id)]
        assert {each.id for each in left} == {each.id for each in everything} - gone
        for user in ("ana", "ben"):
            others = [e for e in left if e.user_id == user and e.id not in exempt]
            assert len(others) <= most
            idle = clock() - timedelta(days=30)
            assert all(e.created_at >= idle or e.access_count for e in others)


def test_a_retention_needs_limits_that_fit() -> None:
    for wrong in (
        {}, {"keep_types": "fact"}, {"max_memories": 0}, {"max_memories": 1.5}, {"idle_days": 0},
        {"idle_days": float("nan")}, {"idle_days": True}, {"idle_days": 1e9},
        {"max_memories": 1, "keep_types": "gossip"}, {"max_memories": 1, "keep_types": None},
    ):  # fmt: skip
        with pytest.raises(InvalidInput):
            Retention(**wrong)
    assert Retention(max_memories=1, keep_types="fact").keep_types == ("fact",)
    assert Retention(idle_days=0.5).keep_types == ()


def test_a_run_is_logged_without_text_or_ids(caplog: pytest.LogCaptureFixture) -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'memory.db'}"
        with KronvexMemory(url) as memory:
            for text in ("sesame", "walnut"):
                memory.remember(text, user_id="ana")
        with (
            caplog.at_level(logging.INFO, "langchain_kronvex"),
            KronvexMemory(url, retention=Retention(max_memories=1)) as memory,
        ):
            memory.flush()
    (line,) = [r.getMessage() for r in caplog.records if "retention" in r.getMessage()]
    assert line == "memories erased by the retention: 1"
