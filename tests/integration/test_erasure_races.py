"""Work in progress while a user is forgotten does not restore anything of the user."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inside import AgentConnection
from langchain_kronvex import KronvexMemory, with_memory

from .parts import files_with, parrot

OpenMemory = Callable[..., KronvexMemory]
CONFIG: Any = {"configurable": {"user_id": "gonzales", "session_id": "chat"}}


def _while(
    memory: KronvexMemory, verb: str, happens: Callable[[], object], monkeypatch: Any
) -> None:
    """Let something happen right before the memory calls its backend's `verb` the next time."""
    backend = memory.engine.backend
    original = getattr(backend, verb)

    def delayed(*arguments: Any) -> Any:
        monkeypatch.setattr(backend, verb, original)
        happens()
        return original(*arguments)

    monkeypatch.setattr(backend, verb, delayed)


def test_a_late_answer_does_not_restore_a_forgotten_question(
    open_memory: OpenMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, other = open_memory(), open_memory()
    history = memory.chat_history("chat", "gonzales")
    history.add_user_message("zebrastripes are black")
    _while(memory, "add", lambda: other.forget(user_id="gonzales"), monkeypatch)
    history.add_ai_message("okapi")
    assert files_with(tmp_path, "zebrastripes") == []


def test_a_late_change_does_not_restore_a_forgotten_memory(
    open_memory: OpenMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, other = open_memory(), open_memory()
    stored = memory.remember("zebrastripes are black", user_id="gonzales")
    _while(memory, "change", lambda: other.forget(user_id="gonzales"), monkeypatch)
    with contextlib.suppress(LookupError):  # to say so is fine
        memory.update(stored.id, metadata={"note": "okapi"})
    assert files_with(tmp_path, "zebrastripes", "gonzales", "okapi") == []


@pytest.fixture
def quick(memory: KronvexMemory) -> KronvexMemory:
    """A memory whose turns do not wait long for being saved."""
    memory.engine.patience_seconds = 0.05
    return memory


def test_a_turn_that_waits_to_be_saved_is_dropped(quick: KronvexMemory, tmp_path: Path) -> None:
    gate, chain = threading.Event(), with_memory(parrot(), quick)
    quick.engine.writer.submit("something slow", gate.wait)
    chain.invoke({"input": "zebrastripes"}, CONFIG)
    chain.invoke({"input": "stays"}, {"configurable": {"user_id": "ana", "session_id": "chat"}})
    quick.forget(user_id="gonzales")
    gate.set()
    assert quick.flush(30)
    assert files_with(tmp_path, "zebrastripes", "gonzales") == []
    assert [m.text for m in quick.chat_history("chat", "ana").messages] == ["stays", "re stays"]
    chain.invoke({"input": "a new beginning"}, CONFIG)
    messages = quick.chat_history("chat", "gonzales").messages
    assert [m.text for m in messages] == ["a new beginning", "re a new beginning"]


def test_forgetting_one_session_drops_only_its_waiting_turns(
    quick: KronvexMemory, tmp_path: Path
) -> None:
    gate, chain = threading.Event(), with_memory(parrot(), quick)
    quick.engine.writer.submit("something slow", gate.wait)
    chain.invoke({"input": "zebrastripes"}, CONFIG)
    other: Any = {"configurable": {"user_id": "gonzales", "session_id": "other"}}
    chain.invoke({"input": "stays"}, other)
    quick.forget(user_id="gonzales", session_id="chat")
    gate.set()
    assert quick.flush(30)
    assert files_with(tmp_path, "zebrastripes") == []
    messages = quick.chat_history("other", "gonzales").messages
    assert [m.text for m in messages] == ["stays", "re stays"]


def test_a_turn_that_is_just_being_saved_is_erased_too(
    quick: KronvexMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, being_saved = threading.Event(), threading.Event()

    def wait() -> None:
        being_saved.set()
        assert gate.wait(30)

    _while(quick, "add", wait, monkeypatch)
    with_memory(parrot(), quick).invoke({"input": "zebrastripes"}, CONFIG)
    assert being_saved.wait(30)
    forgetting = threading.Thread(target=lambda: quick.forget(user_id="gonzales"))
    forgetting.start()
    forgetting.join(0.2)  # time enough to do it wrong
    gate.set()
    forgetting.join(30)
    assert not forgetting.is_alive()
    assert quick.flush(30)
    assert files_with(tmp_path, "zebrastripes", "gonzales") == []


class Watched(AgentConnection):
    """Calls hooks before and after each statement; the test sets them on the class."""

    before: Callable[[str], None] = staticmethod(lambda sql: None)
    after: Callable[[str], None] = staticmethod(lambda sql: None)

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        self.before(sql)
        cursor = super().execute(sql, *arguments)
        self.after(sql)
        return cursor

    def executemany(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        self.before(sql)
        return super().executemany(sql, *arguments)


def _interleave(
    first: KronvexMemory, second: KronvexMemory, at: int, monkeypatch: pytest.MonkeyPatch
) -> bool:
    """Let `first` forget, pause before its statement number `at` after the commit; meanwhile
    `second` deletes and commits; then `first` finishes, then `second`. False: no such statement.
    """
    paused, resumed, committed, go_on = (threading.Event() for _ in range(4))
    statements = itertools.count(1)
    has_committed = threading.Event()

    def before(sql: str) -> None:
        finishing = threading.current_thread().name == "first" and has_committed.is_set()
        if finishing and next(statements) == at:
            paused.set()
            assert resumed.wait(30)

    def after(sql: str) -> None:
        name = threading.current_thread().name
        if sql == "COMMIT" and name == "first":
            has_committed.set()
        elif sql == "COMMIT" and name == "second":
            committed.set()
            assert go_on.wait(30)

    monkeypatch.setattr(Watched, "before", staticmethod(before))
    monkeypatch.setattr(Watched, "after", staticmethod(after))
    forgetting = threading.Thread(target=lambda: first.forget(user_id="benedict"), name="first")
    finished = threading.Thread(target=lambda: (forgetting.join(), paused.set()))
    forgetting.start()
    finished.start()
    assert paused.wait(30)
    was_paused = forgetting.is_alive()
    also = threading.Thread(target=lambda: second.forget(user_id="cornelius"), name="second")
    also.start()
    assert committed.wait(30)
    resumed.set()
    forgetting.join(30)
    go_on.set()
    also.join(30)
    finished.join(30)
    assert not any(thread.is_alive() for thread in (forgetting, also))
    return was_paused


@pytest.mark.slow
def test_an_erasure_removes_only_the_marks_it_has_read(
    tmp_path: Path, open_memory: Callable[..., KronvexMemory], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda *a, **options: connect(*a, **{**options, "factory": Watched})
    )
    for at in range(1, 30):
        folder = tmp_path / str(at)
        url = f"sqlite:///{folder / 'memory.db'}"
        with open_memory(url) as first, open_memory(url) as second:
            for user in ("benedict", "cornelius", "ana"):
                first.remember(f"memory of {user}", user_id=user)
            was_paused = _interleave(first, second, at, monkeypatch)
            assert files_with(folder, "benedict", "cornelius") == []
            assert [m.content for m in first.memories(user_id="ana")] == ["memory of ana"]
        if not was_paused:
            break
    assert at > 3  # there was something to get in between
