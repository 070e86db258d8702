"""Takes back what a consolidation did."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from langchain_kronvex.consolidation.report import ConsolidationReport, Operation
from langchain_kronvex.core.errors import MemoryNotFound, StoreBusy
from langchain_kronvex.core.types import Scope
from langchain_kronvex.memory.conversions import restored_record
from langchain_kronvex.memory.engine import Engine
from langchain_kronvex.storage.backend import Consolidated, Record, Selection

_MAX_TRIES = 4  # while others change or forget the same memories


def undo(engine: Engine, report: ConsolidationReport, claim_seconds: float) -> int:
    """Take back the operations of a report, each user's in one step; return how many."""
    of_owner: dict[str, list[Operation]] = defaultdict(list)
    for operation in report.operations:
        of_owner[operation.user_id or ""].append(operation)
    return sum(_undo_owner(engine, *each, claim_seconds) for each in of_owner.items())


def _undo_owner(
    engine: Engine, owner: str, operations: Sequence[Operation], claim_seconds: float
) -> int:
    worker = uuid.uuid4().hex
    for _ in range(_MAX_TRIES):
        if not engine.backend.claim(owner, worker, engine.clock(), claim_seconds):
            if not engine.find(Selection(kind="memory", scope=Scope(owner))):
                return 0  # everything was forgotten
            break
        try:
            count, wanted = _wanted(engine, owner, worker, operations)
            stored = engine.backend.consolidate(wanted, engine.clock())
        except MemoryNotFound:
            continue
        finally:
            engine.backend.claim(owner, worker, engine.clock(), 0)
        if stored is not None:
            engine.erasures += 1
            engine.eraser.wake()
            return count
    raise StoreBusy("Another worker consolidates this user; try again later.")


def _wanted(
    engine: Engine, owner: str, worker: str, operations: Sequence[Operation]
) -> tuple[int, Consolidated]:
    scope = Scope(owner)
    ids = tuple({operation.id for operation in operations if operation.id})
    of_ids = Selection(kind="memory", scope=scope, ids=ids)
    there = {record.id: record for record in engine.find(of_ids) if record.sources}
    removed = {o.id: there[o.id] for o in operations if o.kind != "confirm" and o.id in there}
    superseded_by = Selection(kind="memory", scope=scope, superseded_by=tuple(removed))
    olders = engine.find(superseded_by) if removed else []
    changed = [_brought_back(engine, each, removed) for each in olders if each.id not in removed]
    taken_back = 0
    for operation in operations:
        record = there.get(operation.id or "")
        if operation.kind != "confirm" or record is None or record.id in removed:
            continue
        left = tuple(id_ for id_ in record.sources if id_ not in operation.sources)
        if left and left != record.sources:
            changed.append(replace(record, sources=left, base=record))
            taken_back += 1
    wanted = Consolidated(owner=owner, worker=worker, changed=changed, removed=list(removed))
    return taken_back + len(removed), wanted


def _brought_back(engine: Engine, older: Record, removed: dict[str, Record]) -> Record:
    """Return a superseded memory as it is without those that are removed."""
    successor = older.superseded_by
    while successor in removed:
        successor = removed[successor].superseded_by
    scope = Scope(older.scope.owner)
    found = successor and engine.find(Selection(kind="memory", scope=scope, ids=(successor,)))
    if found:  # what superseded it is superseded itself
        newer = found[0]
        return replace(older, superseded_by=newer.id, valid_until=newer.true_from, base=older)
    return replace(restored_record(older), base=older)
