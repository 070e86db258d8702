"""The results of a memory do not depend on how long it has been open."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.conftest import BACKENDS
from contract.drivers import Clock
from langchain_kronvex import KronvexMemory

SHARED = [backend for backend in BACKENDS if backend.shared]
WORDS = "ana tom tea cello garage lisbon when where? i yesterday 2023 march".split()
TEXT = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)
TYPE = st.sampled_from(["episodic", "semantic", "context"])
Step = Callable[[KronvexMemory, Clock, list[str]], None]


def scores(memory: KronvexMemory) -> list[tuple[str, float, float]]:
    found = memory.recall("when did ana tom cello 2023", user_id="u", top_k=99)
    return sorted((m.id, round(m.similarity, 5), round(m.probability, 5)) for m in found)


@st.composite
def steps(draw: st.DrawFn) -> list[tuple]:
    """Draw what happens to a memory, as (verb, arguments)."""
    step = st.one_of(
        st.tuples(st.just("remember"), TEXT, TYPE, st.sampled_from(["s1", "s2"])),
        st.tuples(st.just("exchange"), TEXT),
        st.tuples(st.just("wait"), st.sampled_from([1, 50, 2000])),
        st.tuples(st.just("look")),
        st.tuples(st.just("pin"), st.integers(0, 9)),
        st.tuples(st.just("retype"), st.integers(0, 9), TYPE),
        st.tuples(st.just("forget"), st.integers(0, 9)),
    )
    return draw(st.lists(step, min_size=3, max_size=14))


def perform(memory: KronvexMemory, clock: Clock, step: tuple) -> None:
    verb, *rest = step
    listed = memory.memories(user_id="u")
    if verb == "remember":
        text, memory_type, session_id = rest
        memory.remember(text, memory_type=memory_type, user_id="u", session_id=session_id)
    elif verb == "exchange":
        memory.save_exchange(rest[0], "ok", user_id="u")
    elif verb == "wait":
        clock.advance(minutes=rest[0])
    elif verb == "look":
        scores(memory)
    elif listed:
        chosen = listed[rest[0] % len(listed)]
        if verb == "pin":
            memory.update(chosen.id, pinned=True)
        elif verb == "retype" and not any(
            m.content == chosen.content and m.memory_type == rest[1] for m in listed
        ):
            memory.update(chosen.id, memory_type=rest[1])
        elif verb == "forget":
            memory.forget(id=chosen.id)


@pytest.mark.parametrize("backend", SHARED, ids=lambda backend: backend.name)
@settings(max_examples=15, deadline=None)
@given(happened=steps())
def test_a_restart_changes_no_score(backend, happened: list[tuple]) -> None:
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        url = backend.url(Path(folder))
        with KronvexMemory(url, clock=clock) as memory:
            for step in happened:
                perform(memory, clock, step)
            before = scores(memory)
        with KronvexMemory(url, clock=clock) as memory:
            assert scores(memory) == before


def test_changing_the_type_of_a_turn_shows_alike_before_and_after_a_restart(open_shared) -> None:
    memory = open_shared()
    for n, text in enumerate(["where is the cello?", "in lisbon", "tom took it there"]):
        stored = memory.remember(text, user_id="u", session_id="s")
        if n == 1:
            chosen = stored
    memory.recall("cello lisbon", user_id="u")
    memory.update(chosen.id, memory_type="semantic")
    live = {m.id: m.similarity for m in memory.recall("cello lisbon", user_id="u")}
    memory.close()
    anew = {m.id: m.similarity for m in open_shared().recall("cello lisbon", user_id="u")}
    assert live == pytest.approx(anew)


def test_telling_an_old_turn_again_shows_alike_before_and_after_a_restart(
    open_shared, clock: Clock
) -> None:
    memory = open_shared()
    memory.remember("where is the cello?", user_id="u", session_id="s")
    memory.remember("in lisbon", user_id="u", session_id="s")
    memory.recall("cello", user_id="u")
    clock.now += timedelta(days=1)
    memory.remember("in lisbon", user_id="u", session_id="s")
    live = {m.id: m.similarity for m in memory.recall("cello", user_id="u")}
    memory.close()
    anew = {m.id: m.similarity for m in open_shared().recall("cello", user_id="u")}
    assert live == pytest.approx(anew)
