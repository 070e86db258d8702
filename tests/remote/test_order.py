"""Messages keep their order, whichever of them wait and whichever process sends them."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest

from defaults import limit_pauses
from inside import Page, Record, Scope, Selection

from .bad_server import FaultyServer, status
from .conftest import Open
from .plain_server import PlainServer

CHAT = Scope("ana", "monday")
SELECTED = Selection(kind="message", scope=CHAT)
NOW = datetime(2026, 4, 28, 12, tzinfo=timezone.utc)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    limit_pauses(monkeypatch, 0.05)


def messages(count: int) -> list[Record]:
    ids = [uuid.uuid4().hex for _ in range(count)]
    return [
        Record(
            kind="message", id=id_, scope=CHAT, key=id_, type="human", content=f"m{number}",
            created_at=NOW,
        )
        for number, id_ in enumerate(ids)
    ]  # fmt: skip


def said(backend: Any) -> list[str]:
    return [record.content for record in backend.find(SELECTED, Page(), NOW)]


def complete(backend: Any, first: int, last: int) -> None:
    """Store new versions of some messages, in their places."""
    found = backend.find(SELECTED, Page(), NOW)[first:last]
    backend.add([replace(r, content=f"{r.content}!", completes=True) for r in found], NOW)


def test_messages_that_wait_keep_their_places(plain: PlainServer, open_on: Open) -> None:
    memory = open_on(plain)
    backend: Any = memory.engine.backend
    with backend.agent.outbox.sending(patiently=True):
        backend.add(messages(4), NOW)
        complete(backend, 0, 2)
        assert said(backend) == ["m0!", "m1!", "m2", "m3"]
    assert memory.flush(10)

    assert said(backend) == said(open_on(plain).engine.backend) == ["m0!", "m1!", "m2", "m3"]
    assert len(plain.all_items()) == 4  # older versions are not left behind


def test_messages_that_another_process_sends_keep_their_places(
    plain: PlainServer, open_on: Open
) -> None:
    one, other = open_on(plain), open_on(plain)
    backend: Any = one.engine.backend
    with backend.agent.outbox.sending(patiently=True):
        backend.add(messages(4), NOW)
        found = backend.find(SELECTED, Page(), NOW)[:2]
        one.engine.backend.sender.stop()  # from here on only the other one sends
    other.remember("tea", user_id="bob")
    assert other.flush(10)
    assert backend.agent.outbox.unsent() == 0
    backend.add([replace(r, content=f"{r.content}!", completes=True) for r in found], NOW)
    other.remember("coffee", user_id="bob")
    assert other.flush(10)

    assert said(backend) == said(other.engine.backend) == ["m0!", "m1!", "m2", "m3"]
    assert len(plain.all_items()) == 6


def test_a_message_that_may_be_on_a_server_that_is_away_is_not_lost(
    faulty: FaultyServer, open_on: Open
) -> None:
    memory = open_on(faulty)
    backend: Any = memory.engine.backend
    backend.add(messages(2), NOW)
    assert memory.flush(10)
    found = backend.find(SELECTED, Page(), NOW)
    backend.agent.known.forget(record.id for record in found)
    faulty.faults.extend([status(503)] * 1000)
    backend.add([replace(found[0], content="m0!", completes=True)], NOW)
    faulty.faults.clear()
    assert memory.flush(20)

    assert sorted(said(backend)) == ["m0!", "m1"]
