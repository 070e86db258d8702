"""Counting memories by the day on which they were created."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

from langchain_core.messages import HumanMessage

from contract.drivers import NOW, Clock, Driver
from inside import Scope


def test_memories_are_counted_by_day(memory: Driver, clock: Clock) -> None:
    midnight = datetime(2026, 3, 1, tzinfo=timezone.utc)
    instant = timedelta(microseconds=1)
    moments = (
        midnight, midnight - instant, midnight + timedelta(days=1) - instant,
        datetime(1, 1, 1, tzinfo=timezone.utc), datetime(1969, 12, 31, 23, tzinfo=timezone.utc),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc),
        midnight.astimezone(timezone(timedelta(hours=-5))),
    )  # fmt: skip
    for place, moment in enumerate(moments):
        memory.remember(f"text {place}", user_id="ana", created_at=moment)
    old = memory.remember("short", user_id="ana", session_id="monday", ttl_days=1)
    memory.remember("replaced", user_id="bob")
    memory.remember("new", user_id="bob", supersedes=memory.memories(user_id="bob")[0].id)
    memory.remember("of nobody")
    memory.save_messages([HumanMessage("hello")], "chat", user_id="ana", remember=False)

    def counts(scope: Scope | None) -> dict[date, int]:
        return dict(memory.memory.engine.backend.counts_by_day(scope, clock()))

    march = date(2026, 3, 1)
    of_ana = {
        march: 3, march - timedelta(days=1): 1, date(1, 1, 1): 1, date(1969, 12, 31): 1,
        date(9999, 12, 31): 1,
    }  # fmt: skip
    assert counts(Scope("ana")) == of_ana | {NOW.date(): 1}
    assert counts(Scope("ana", "monday")) == {old.created_at.date(): 1}
    assert counts(Scope("bob")) == {NOW.date(): 2}  # superseded ones count
    assert counts(Scope()) == {NOW.date(): 1}
    assert counts(None) == of_ana | {NOW.date(): 4}
    clock.advance(days=2)
    assert counts(Scope("ana")) == of_ana
    assert counts(Scope("nobody")) == {}
