"""Consolidation in the background: soon after a user has spoken, and in nobody's way."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from consolidation.scripted import Rules, Shown, fact, said
from inside import model_calls
from integration.crew import Crew
from langchain_kronvex import KronvexMemory
from langchain_kronvex.consolidation import ConsolidationReport, KronvexConsolidator

OpenMemory = Callable[..., KronvexMemory]
LISBON = said("city", "Lisbon")
PATIENCE = 20.0


class Gate:
    """Holds a model's calls up until it is opened.

    Attributes:
        reached: Set while a call waits.
    """

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, shown: Shown) -> None:
        self.reached.set()
        assert self.opened.wait(PATIENCE)


@pytest.fixture
def model() -> Rules:
    return Rules()


@pytest.fixture
def gate(model: Rules) -> Iterator[Gate]:
    gate = Gate()
    model.during = gate
    yield gate
    gate.opened.set()


@pytest.fixture
def consolidator(memory: KronvexMemory, model: Rules) -> Iterator[KronvexConsolidator]:
    consolidator = KronvexConsolidator(memory, model, batch_exchanges=2, attempts=1)
    yield consolidator
    consolidator.stop(0)


def facts(memory: KronvexMemory, user_id: str = "ana") -> list[str]:
    found = memory.memories(user_id=user_id, memory_type="semantic", limit=100)
    return sorted(each.content for each in found)


def tell(memory: KronvexMemory, count: int = 1, user_id: str = "ana") -> None:
    for number in range(count):
        memory.remember(said(f"n{number}", "x"), user_id=user_id)


def until(reached: Callable[[], object]) -> None:
    """Wait until something is so; the test fails if it never is."""
    end = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.005)


def hasten(consolidator: KronvexConsolidator, sweep_seconds: float = 0.02) -> None:
    """Start, looking around often, and trying again soon what has failed."""
    background: Any = consolidator._background
    background.sweep_seconds = sweep_seconds
    consolidator.start(0.0)
    background._writer._pause = lambda state: 0.005


def test_a_user_is_consolidated_some_time_after_the_last_words(
    memory: KronvexMemory, consolidator: KronvexConsolidator, model: Rules
) -> None:
    consolidator.start(60.0)
    for word in ("one", "two"):
        memory.remember(word, user_id="ana")
        consolidator.wake("ana")
    assert model.shown == []
    assert memory.stats().pending == 1
    consolidator.start(0.2)
    consolidator.wake("ben")  # who has said nothing
    consolidator.wake("ana")
    assert consolidator.flush(PATIENCE)
    assert [shown.exchanges for shown in model.shown] == [["one", "two"]]
    assert memory.stats().pending == 0
    memory.remember("three", user_id="ana")
    began = time.monotonic()
    consolidator.wake("ana")
    until(lambda: len(model.shown) == 2)
    assert time.monotonic() - began >= 0.2


def test_what_others_have_left_is_found(
    memory: KronvexMemory, consolidator: KronvexConsolidator, model: Rules
) -> None:
    tell(memory)
    hasten(consolidator)
    until(lambda: facts(memory))
    tell(memory, user_id="ben")  # nobody tells
    until(lambda: facts(memory, "ben"))
    assert len(model.shown) == 2


def test_turns_are_not_delayed(
    memory: KronvexMemory, consolidator: KronvexConsolidator, gate: Gate
) -> None:
    tell(memory)
    consolidator.start(0.0)
    consolidator.wake("ana")
    assert gate.reached.wait(PATIENCE)
    memory.save_exchange("I like tea.", "Good.", user_id="ana")
    memory.chat_history("chat", "ana").add_user_message("And coffee.")
    consolidator.wake("ana")
    assert memory.recall("tea", user_id="ana")
    assert str(memory.inject_context("coffee", user_id="ana"))
    assert memory.flush(PATIENCE)  # of the memory's own work
    assert not consolidator.flush(0.05)
    gate.opened.set()
    assert consolidator.flush(PATIENCE)
    assert facts(memory) == [fact("n0", "x")]


def test_a_provider_fails_and_recovers(
    memory: KronvexMemory, consolidator: KronvexConsolidator, model: Rules
) -> None:
    def fail(shown: Shown) -> None:
        if len(model.shown) <= 12:
            raise RuntimeError("secret words")

    model.during = fail
    tell(memory)
    hasten(consolidator)
    until(lambda: facts(memory))
    stats = memory.stats()
    assert stats.failed == 1  # after 8 tries; then it is found waiting
    assert stats.last_error == "RuntimeError"
    assert len(model.shown) == 13


def test_only_so_many_calls_within_an_hour(
    memory: KronvexMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_calls, "HOUR_SECONDS", 0.3)
    model = Rules()
    consolidator = KronvexConsolidator(memory, model, batch_exchanges=2, max_calls_per_hour=2)
    tell(memory, 10)
    began = time.monotonic()
    report = consolidator.run()
    assert (report.calls, report.exchanges, report.stopped) == (2, 4, "max_calls_per_hour")
    consolidator.start(0.0)
    consolidator.wake("ana")
    until(lambda: len(facts(memory)) == 10)
    assert len(model.shown) == 5
    assert time.monotonic() - began >= 0.6
    consolidator.stop()


def test_stopping_ends_after_the_batch_under_way(
    memory: KronvexMemory, consolidator: KronvexConsolidator, gate: Gate, model: Rules
) -> None:
    tell(memory, 10)
    consolidator.start(0.0)
    consolidator.wake("ana")
    assert gate.reached.wait(PATIENCE)
    consolidator.stop(0.01)
    gate.opened.set()
    until(lambda: len(facts(memory)) == 2)
    until(lambda: consolidator.waiting() == ["ana"])  # the claim has ended
    assert len(model.shown) == 1
    consolidator.stop()
    assert consolidator.flush(0)
    consolidator.wake("ana")  # starts again
    assert consolidator.flush(PATIENCE)
    assert len(facts(memory)) == 10


def test_a_memory_is_closed_while_the_model_thinks(
    open_memory: OpenMemory, gate: Gate, model: Rules, caplog: pytest.LogCaptureFixture
) -> None:
    memory = open_memory()
    consolidator = KronvexConsolidator(memory, model)
    tell(memory)
    hasten(consolidator)
    consolidator.wake("ana")
    assert gate.reached.wait(PATIENCE)
    with caplog.at_level(logging.WARNING):
        memory.close()
        gate.opened.set()
        until(lambda: consolidator._background._writer is None)
        consolidator.wake("ana")
        consolidator.start()
        assert consolidator.flush(PATIENCE)
        consolidator.stop()
    assert caplog.records == []
    again = open_memory()
    assert facts(again) == []


def test_two_consolidators_of_one_memory(memory: KronvexMemory) -> None:
    models = [Rules(), Rules()]
    consolidators = [KronvexConsolidator(memory, model) for model in models]
    tell(memory, 6)
    for each in consolidators:
        hasten(each)
        each.wake("ana")
    until(lambda: len(facts(memory)) == 6)
    for each in consolidators:
        assert each.flush(PATIENCE)
        each.stop()
    assert sum(len(model.exchanges) for model in models) == 6


def test_a_memory_that_nobody_uses_is_closed(open_memory: OpenMemory, store_url: str) -> None:
    def use() -> tuple[weakref.ref[Any], threading.Thread]:
        memory = KronvexMemory(store_url)
        consolidator = KronvexConsolidator(memory, Rules())
        hasten(consolidator)
        tell(memory)
        consolidator.wake("ana")
        assert consolidator.flush(PATIENCE)
        return weakref.ref(memory.engine), consolidator._background._writer._thread

    engine, thread = use()
    until(lambda: gc.collect() is not None and engine() is None)
    until(lambda: not thread.is_alive())
    assert facts(open_memory()) == [fact("n0", "x")]


@pytest.mark.parametrize("ending", ["", "memory.close()", "consolidator.stop(0)", "raise KeyError"])
def test_a_program_ends_with_work_left(store_url: str, ending: str) -> None:
    script = f"""
import sys, threading
sys.path.insert(0, "tests")
from consolidation.scripted import Rules, said
from langchain_kronvex import KronvexMemory
from langchain_kronvex.consolidation import ConsolidationReport, KronvexConsolidator
asked, never = threading.Event(), threading.Event()
def during(shown):
    asked.set()
    never.wait()
memory = KronvexMemory({store_url!r})
memory.remember(said("city", "Lisbon"), user_id="ana")
consolidator = KronvexConsolidator(memory, Rules(during=during))
consolidator.start(0.0)
consolidator.wake("ana")
consolidator.wake("ben")
asked.wait(20)
sys.excepthook = lambda *raised: print("raised", raised[0].__name__)
{ending}
"""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert ended.stderr == ""
    assert ended.stdout == ("raised KeyError\n" if "raise" in ending else "")


def test_a_fork_does_not_consolidate_what_its_parent_does(
    crew: Crew, store_url: str, open_memory: OpenMemory
) -> None:
    tell(open_memory())
    child = crew.start("fork_while_the_model_thinks", url=store_url, user="ana")
    assert child.hear() == ["another worker consolidates this user", 0]
    child.say("answer")
    child.finish()
    assert facts(open_memory()) == [fact("n0", "x")]


def test_reports_of_the_background_can_be_undone(memory: KronvexMemory, model: Rules) -> None:
    reports: list[ConsolidationReport] = []
    consolidator = KronvexConsolidator(memory, model, on_report=reports.append)
    tell(memory)
    consolidator.wake("ana")
    assert consolidator.flush(PATIENCE)
    consolidator.stop()
    assert facts(memory) == [fact("n0", "x")]
    (report,) = reports
    assert consolidator.undo(report) == 1
    assert facts(memory) == []


def test_what_was_stored_before_a_run_failed_is_reported(
    memory: KronvexMemory, model: Rules, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(shown: Shown) -> None:
        if len(model.shown) == 2:
            raise RuntimeError("secret words")

    def keep(report: ConsolidationReport) -> None:
        reports.append(report)
        raise ValueError("secret words")

    reports: list[ConsolidationReport] = []
    model.during = fail
    consolidator = KronvexConsolidator(memory, model, batch_exchanges=1, attempts=1, on_report=keep)
    tell(memory, 2)
    with pytest.raises(RuntimeError):
        consolidator.run("ana")
    assert [report.added for report in reports] == [1]
    assert reports[0].stopped
    assert caplog.messages == ["on_report raised ValueError"]
    assert consolidator.run("ana").added == 1  # goes on where it failed
    assert consolidator.undo(reports[0] + reports[1]) == 2


def test_a_fact_that_was_corrected_is_not_replaced(memory: KronvexMemory, model: Rules) -> None:
    consolidator = KronvexConsolidator(memory, model)
    memory.remember(said("tea", "green"), user_id="ana")
    consolidator.run("ana")
    (stored,) = memory.memories(user_id="ana", memory_type="semantic")
    corrected = memory.update(stored.id, content=fact("tea", "white"))
    memory.remember(said("tea", "black"), user_id="ana")
    consolidator.run("ana")
    assert model.shown[-1].known == [(None, fact("tea", "white"))]
    assert memory.get(stored.id) == corrected
    assert corrected.sources == stored.sources  # it still goes with the last of them


def test_a_report_tells_what_was_wrong_and_what_was_replaced(
    memory: KronvexMemory, model: Rules
) -> None:
    consolidator = KronvexConsolidator(memory, model)
    for city in ("Lisbon", "Porto"):
        memory.remember(said("city", city), user_id="ana")
        report = consolidator.run("ana")
    assert f"instead of: {fact('city', 'Lisbon')}" in str(report)
    model.during = lambda shown: {"Fact": [{"text": "x", "sources": [9]}]}
    memory.remember("tea", user_id="ana")
    assert "refused: Fact 1: exchange 9 does not exist" in str(consolidator.run("ana"))


def test_a_derived_memory_says_by_which_prompt(memory: KronvexMemory, model: Rules) -> None:
    for user, options in (
        ("ana", {}),
        ("ben", {"prompt": "Note what counts: {known} {exchanges}"}),
    ):
        tell(memory, user_id=user)
        KronvexConsolidator(memory, model, **options).run(user)
        (stored,) = memory.memories(user_id=user, memory_type="semantic")
        assert stored.metadata["consolidation"]["prompt"] == ("custom" if options else "1")
