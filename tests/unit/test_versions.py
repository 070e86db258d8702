"""What reading makes of the versions and copies that a server may hold, and of the envelope."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

from inside import (
    Record,
    Scope,
    VersionedRecord,
    read_memory,
    record_from_wire,
    store_request,
    visible_latest,
)

NOW = datetime(2026, 4, 28, tzinfo=timezone.utc)
DAY = timedelta(days=1)


def item(id_: str, content: str, *, at: datetime = NOW) -> Record:
    return Record(
        kind="item", id=id_, scope=Scope("desk", "drawer"), key="k", type="semantic",
        content=content, created_at=at, said_at=at,
    )  # fmt: skip


def test_of_two_contents_in_one_place_the_later_one_stays() -> None:
    """Two machines put at once, or one could not ask: no mixture of both, and no lost beginning."""
    first, second = item("1", "one"), replace(item("2", "two", at=NOW + DAY), metadata={"n": 2})
    other = replace(item("3", "x"), key="other")
    found = [
        VersionedRecord(second, 20, 20),
        VersionedRecord(first, 10, 10),
        VersionedRecord(other, 15, 15),
    ]

    there = visible_latest(found, NOW)
    assert [stored.record.content for stored in there] == ["x", "two"]
    assert there[1].record == replace(second, said_at=NOW)


def test_of_two_copies_of_one_content_the_earlier_one_is_renewed() -> None:
    first, second = item("1", "one"), item("2", "one", at=NOW + DAY)
    [stored] = visible_latest(
        [VersionedRecord(first, 10, 10), VersionedRecord(second, 20, 20)], NOW
    )
    assert stored.record == replace(first, created_at=NOW + DAY)


def test_an_envelope_of_an_earlier_version_has_no_first_saying() -> None:
    body = dict(
        store_request(VersionedRecord(replace(item("1", "one"), said_at=None), 10, 10)).body or {}
    )
    assert "said_at" not in body["metadata"]["langchain_kronvex"]
    raw = read_memory({"id": "s", **body})
    assert raw is not None
    found = record_from_wire(raw)
    assert found is not None
    assert found.record.said_at == NOW
