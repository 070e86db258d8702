"""Fixtures of the tests of the LangChain surfaces."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler

from contract.served import APIS
from databases import DATABASES
from langchain_kronvex import KronvexMemory, StoreError

# These also run on a served API in `make test`,
SERVED = {
    "test_together", "test_retrievers", "test_memory_context", "test_memory_context_chains",
    "test_chains_durability",
}  # fmt: skip
# these in `make soak`.
SERVED_LONG = {
    "test_chains", "test_chains_composition", "test_chains_outputs", "test_chains_recall",
    "test_history_memories", "test_history_runnable", "test_history_sessions",
    "test_history_round_trip", "test_tools",
}  # fmt: skip
# These also run on a served API and on PostgreSQL in `make soak`,
AGENTS_LONG = {
    "test_middleware", "test_middleware_edits", "test_middleware_prompts",
    "test_middleware_redaction", "test_middleware_turns",
}  # fmt: skip
# and these of them in `make test`, because they need more of the store than saving and recalling.
AGENTS = {
    "test_a_turn_resumed_by_another_process_is_saved_once",
    "test_agents_that_are_nodes_of_one_graph_share_the_turn",
    "test_an_edited_message_is_saved_with_its_answer",
    "test_redacted_messages_are_saved_once_despite_a_failure",
    "test_memories_forgotten_by_a_tool_are_no_longer_shown",
    "test_a_blocked_message_is_not_saved_now_or_later",
}
NOT_SERVED = {
    "test_any_content_is_restored_exactly": "hundreds of contents, each with a deadline",
    "test_a_failing_store_raises_and_is_traced": "makes the embedded store fail",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Also run tests on other stores, unless they make the store itself fail."""
    if "store_url" not in metafunc.fixturenames or "faults" in metafunc.fixturenames:
        return
    module, name = metafunc.definition.path.stem, metafunc.definition.name
    places: list[Any] = ["sqlite"]
    if module in SERVED | SERVED_LONG and name not in NOT_SERVED:
        marks = [pytest.mark.soak] if module in SERVED_LONG else []
        places.append(pytest.param("kronvex-api", marks=marks))
    if module in AGENTS_LONG:
        marks = [] if name in AGENTS else [pytest.mark.soak]
        places += [pytest.param(place, marks=marks) for place in ("kronvex-api", "postgresql")]
    metafunc.parametrize("store_url", places, indirect=True)


@pytest.fixture
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store: a file, an agent of a served API, or a database."""
    place = getattr(request, "param", "sqlite")
    if place == "kronvex-api":
        return APIS.url(tmp_path)
    if place == "postgresql":
        return DATABASES.url(tmp_path)
    return f"sqlite:///{tmp_path / 'memory.db'}"


@pytest.fixture
def tea_lover(memory: KronvexMemory) -> KronvexMemory:
    """A memory with one memory of Ana, of 28 April 2026."""
    memory.remember(
        "Ana prefers tea.",
        memory_type="semantic",
        user_id="ana",
        created_at=datetime(2026, 4, 28, 12, tzinfo=timezone.utc),
    )
    return memory


class Faults:
    """Makes the store fail on demand, and counts its calls."""

    def __init__(self, memory: KronvexMemory, monkeypatch: pytest.MonkeyPatch) -> None:
        self._backend = memory.engine.backend
        self._monkeypatch = monkeypatch
        self.calls = 0

    def fail(self, verb: str, *, times: int | None = None, error: Exception | None = None) -> None:
        """Make a verb of the backend raise, the first `times` times or always."""
        works = getattr(self._backend, verb)
        left = [times]

        def failing(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if left[0] == 0:
                return works(*args, **kwargs)
            if left[0] is not None:
                left[0] -= 1
            raise error or StoreError("the disk is gone")

        self._monkeypatch.setattr(self._backend, verb, failing)

    def heal(self) -> None:
        """Make everything work again."""
        self._monkeypatch.undo()


@pytest.fixture
def faults(memory: KronvexMemory) -> Iterator[Faults]:
    """Faults of the store of the `memory` fixture."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield Faults(memory, monkeypatch)


class EventLog(BaseCallbackHandler):
    """Records the custom events of a run."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    def on_custom_event(self, name: str, data: Any, **kwargs: Any) -> None:
        self.events.append((name, data))


@pytest.fixture
def event_log() -> EventLog:
    """A callback that records custom events."""
    return EventLog()


@pytest.fixture
def warnings_logged(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """A function that returns the package's log messages so far, from warnings upwards."""
    caplog.set_level(logging.DEBUG, "langchain_kronvex")

    def logged() -> list[str]:
        return [
            record.getMessage()
            for record in caplog.records
            if record.name.startswith("langchain_kronvex") and record.levelno >= logging.WARNING
        ]

    return logged
