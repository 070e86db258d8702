"""Takes back what a consolidation did."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass, replace

from langchain_kronvex.consolidation.batches import expiry_of, has_memories
from langchain_kronvex.consolidation.report import ConsolidationReport, Operation
from langchain_kronvex.core.errors import MemoryNotFound, StoreBusy
from langchain_kronvex.core.records import Consolidated, Record, Scope, Selection
from langchain_kronvex.memory.conversions import restored_record
from langchain_kronvex.memory.engine import Engine

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
            if not has_memories(engine, owner):
                return 0  # everything was forgotten
            break
        try:
            step = _Undoing(engine, owner, operations)
            stored = engine.backend.consolidate(step.wanted(worker), engine.clock())
        except MemoryNotFound:
            continue
        finally:
            engine.backend.claim(owner, worker, engine.clock(), 0)
        if stored is not None:
            engine.erasures += 1
            engine.eraser.wake()
            return step.count
    raise StoreBusy("Another worker consolidates this user; try again later.")


@dataclass(slots=True)
class _Undoing:
    """The operations of one owner, and what taking them back changes.

    Attributes:
        count: How many of them there are to take back.
    """

    engine: Engine
    owner: str
    operations: Sequence[Operation]
    count: int = 0

    def wanted(self, worker: str) -> Consolidated:
        """Return the step that takes them back."""
        ids = tuple({each.id: None for each in self.operations if each.id})
        there = {record.id: record for record in self._find(ids=ids)}
        derived = {id_: record for id_, record in there.items() if record.sources}
        removed: dict[str | None, Record] = {
            each.id: derived[each.id]
            for each in self.operations
            if each.kind != "confirm" and each.id in derived
        }
        self.count = sum(each.id in removed for each in self.operations)
        changed = []
        for record in derived.values():
            if record.id in removed:
                continue
            if (left := self._with_fewer_sources(record)) is None:
                removed[record.id] = record
            elif left is not record:
                changed.append(left)
        changed += self._brought_back(there.keys() - removed.keys(), removed)
        gone = [record.id for record in removed.values()]
        return Consolidated(owner=self.owner, worker=worker, changed=changed, removed=gone)

    def _with_fewer_sources(self, record: Record) -> Record | None:
        """Return a confirmed memory as it was before; None if nothing is left that it rests on."""
        confirming = [each for each in self.operations if each.id == record.id]
        gone = {id_ for each in confirming for id_ in each.sources}
        self.count += sum(not gone.isdisjoint(record.sources) for each in confirming)
        left = tuple(id_ for id_ in record.sources if id_ not in gone)
        if left == record.sources:
            return record
        rest = self._find(ids=left)
        if not rest:
            return None
        said_last = min(record.created_at, max(each.created_at for each in rest))
        return replace(
            record, sources=left, created_at=said_last, expires_at=expiry_of(rest), base=record
        )

    def _brought_back(
        self, staying: Collection[str], removed: Mapping[str | None, Record]
    ) -> list[Record]:
        """Return the memories that were superseded, as they are without what is removed."""
        olders = {each.id: each for each in self._find(superseded_by=tuple(filter(None, removed)))}
        # Something that was there before may have been made to supersede others.
        back = {id_ for each in self.operations if each.id in staying for id_ in each.replaces}
        olders |= {
            each.id: each for each in self._find(ids=tuple(back)) if each.superseded_by in staying
        }
        changed = dict[str, Record]()
        for older in reversed([each for each in olders.values() if each.id not in removed]):
            last = older
            while last.superseded_by in removed:
                last = removed[last.superseded_by]
            current = restored_record(older)
            if last.superseded_by and older.id not in back:  # what superseded it is so itself
                successor, until = last.superseded_by, last.valid_until
            elif newer := changed.get(current.key) or self._with_text_of(current, removed):
                successor, until = newer.id, newer.true_from  # its text was stored again
            else:
                changed[current.key] = replace(current, base=older)
                continue
            changed[older.id] = replace(
                older, superseded_by=successor, valid_until=until, base=older
            )
        return [*changed.values()]

    def _with_text_of(self, record: Record, removed: Container[str | None]) -> Record | None:
        found = (each for each in self._find(keys=(record.key,)) if each.id not in removed)
        return next((each for each in found if each.scope == record.scope), None)

    def _find(
        self,
        ids: tuple[str, ...] | None = None,
        keys: tuple[str, ...] | None = None,
        superseded_by: tuple[str, ...] | None = None,
    ) -> list[Record]:
        if () in (ids, keys, superseded_by):
            return []
        return self.engine.find(
            Selection(
                kind="memory", scope=Scope(self.owner), ids=ids, keys=keys,
                superseded_by=superseded_by,
            )
        )  # fmt: skip
