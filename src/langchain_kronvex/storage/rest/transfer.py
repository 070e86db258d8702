"""Restoring exported records on a server, with the verbs that its API has.

Access counts and vectors are not restored: the API has no fields for them. Pure functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from langchain_kronvex.storage.backend import Record, moved_id
from langchain_kronvex.storage.record import place_of


def to_restore(
    held: Sequence[Record], records: Sequence[Record], location: str
) -> tuple[list[Record], int]:
    """Return the records to store, and how many of them count as new.

    Args:
        held: All records of the agent.
        records: The exported records; see `MemoryBackend.restore`.
        location: The URL of the server.
    """
    by_id = {record.id: record for record in held}
    by_place = {place_of(record): record for record in held}
    chosen, fresh = [], 0
    for given in records:
        record = given
        while record.id in by_id and place_of(by_id[record.id])[:3] != place_of(record)[:3]:
            record = replace(record, id=moved_id(record, location))
        if record.id in by_id:
            continue
        older = by_place.get(place_of(record))
        if older is not None and older.content != record.content:
            if older.created_at >= record.created_at:
                continue
            record = replace(record, id=older.id, completes=True)
            fresh += 1
        elif older is None:
            fresh += 1
        by_id[record.id] = by_place[place_of(record)] = record
        chosen.append(record)
    return chosen, fresh
