"""Consolidation survives `kill -9`, and processes share it: nothing twice, nothing skipped."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from consolidation.scripted import Rules, said
from consolidation.workers import unique
from databases import DATABASES
from integration.crew import Crew
from langchain_kronvex import KronvexMemory, MemoryDraft
from langchain_kronvex.consolidation import KronvexConsolidator

OpenMemory = Callable[..., KronvexMemory]
USERS = ("ana", "ben", "cleo")
soak = pytest.mark.soak


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'memory.db'}"
    else:
        yield DATABASES.url(tmp_path)


def tell(memory: KronvexMemory, first: int, count: int) -> list[str]:
    """Let each user say something of several things, and return the ids of it."""
    drafts = [
        MemoryDraft(said(f"{user}{n}", "good"), user_id=user)
        for n in range(first, first + count)
        for user in USERS
    ]
    return [each.id for each in memory.remember_many(drafts)]


def sources(memory: KronvexMemory) -> Counter[str]:
    """Return how many facts rest on each memory."""
    facts = [
        each
        for user in USERS
        for each in memory.memories(user_id=user, memory_type="semantic", limit=10_000)
    ]
    return Counter(id_ for each in facts for id_ in each.sources)


@pytest.mark.parametrize("rounds", [6, pytest.param(300, marks=soak)])
def test_a_worker_may_be_killed_at_any_moment(
    crew: Crew, url: str, open_memory: OpenMemory, rounds: int
) -> None:
    luck, ids, whole = random.Random(11), list[str](), 0
    memory = open_memory(url)
    for number in range(rounds):
        ids += tell(memory, 4 * number, 4)
        child = crew.start("consolidate_on_command", url=url)
        assert child.hear() == "ready"
        child.say("now")
        time.sleep(luck.uniform(0, 0.08))  # the moment of death is what is random here
        whole += child.kill() == ["done"]
    found = sources(memory)
    assert set(found.values()) <= {1}
    assert whole < rounds
    time.sleep(0.02)  # the last claim ends
    model = Rules(during=unique)
    report = KronvexConsolidator(memory, model, batch_exchanges=2).run()
    assert report.stopped is None
    assert sources(memory) == Counter(ids)
    assert report.exchanges == len(model.exchanges) == len(ids) - found.total()
    assert KronvexConsolidator(memory, model).waiting() == []


@pytest.mark.parametrize(("workers", "count"), [(3, 7), pytest.param(6, 120, marks=soak)])
def test_workers_share_what_is_to_be_done(
    crew: Crew, url: str, open_memory: OpenMemory, workers: int, count: int
) -> None:
    memory = open_memory(url)
    ids = tell(memory, 0, count)
    children = [crew.start("share_the_work", url=url) for _ in range(workers)]
    assert [child.hear() for child in children] == ["ready"] * workers
    for child in children:
        child.say("now")
    shown = Counter(words for child in children for words in child.finish()[0])
    assert shown == Counter(said(f"{user}{n}", "good") for user in USERS for n in range(count))
    assert sources(memory) == Counter(ids)


@pytest.mark.parametrize("kind", ["work_in_the_background", "serve_in_the_background"])
def test_workers_in_the_background_share_what_is_to_be_done(
    crew: Crew, url: str, open_memory: OpenMemory, kind: str
) -> None:
    memory = open_memory(url)
    ids = tell(memory, 0, 5)
    children = [crew.start(kind, url=url, users=USERS) for _ in range(2)]
    assert [child.hear() for child in children] == ["ready"] * 2
    for child in children:
        child.say("now")
    shown = Counter(words for child in children for words in child.finish()[0])
    assert shown == Counter(said(f"{user}{n}", "good") for user in USERS for n in range(5))
    assert sources(memory) == Counter(ids)
