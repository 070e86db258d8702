"""One consolidation of one user: read, ask, check, store, until nothing is left."""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from langchain_core.messages import BaseMessage
from langchain_core.prompts import ChatPromptTemplate
from pydantic import BaseModel

from langchain_kronvex.consolidation import batches
from langchain_kronvex.consolidation.answers import Operations, answer_schema, read_answer
from langchain_kronvex.consolidation.model_calls import ModelCaller, OutOfCalls, correcting
from langchain_kronvex.consolidation.prompt import PROMPT, PROMPT_VERSION, render
from langchain_kronvex.consolidation.report import ConsolidationReport, Operation, OperationKind
from langchain_kronvex.core.errors import ConsolidationRefused, SaveRefused
from langchain_kronvex.core.records import Consolidated, Record, Scope, Selection
from langchain_kronvex.core.types import Again
from langchain_kronvex.core.validation import check_type
from langchain_kronvex.memory.engine import Engine, with_local_vectors
from langchain_kronvex.memory.spans import SPANS, UNTRACED

logger = logging.getLogger("langchain_kronvex")

OUT_OF_CALLS = "max_calls_per_hour"
CLAIMED = "another worker consolidates this user"
CONFLICTS = "others kept changing the memories"
ENDING = "it was told to stop"
FAILED: str | None = "the provider or the store failed"
_MAX_CONFLICTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How users are consolidated; see `KronvexConsolidator`."""

    caller: ModelCaller
    schemas: Sequence[type[BaseModel]]
    prompt: ChatPromptTemplate
    batch_exchanges: int
    max_batch_tokens: int
    max_operations: int
    claim_seconds: float
    on_report: Callable[[ConsolidationReport], None] | None = None


class Derived(NamedTuple):
    """What a model derives from some memories; or why its answers cannot be used."""

    operations: Operations = Operations()
    records: Sequence[Record] = ()
    refused: ConsolidationRefused | None = None


@dataclass(slots=True)
class OwnerRun:
    """Consolidates one user, a batch at a time.

    Each batch is stored as one step, together with how far the user is consolidated. So a run may
    end anywhere.

    Args:
        engine: The memory.
        options: How users are consolidated.
        owner: The user.
        dry_run: Store nothing.
        again: What else to look at; see `KronvexConsolidator.run`.
        is_ending: Returns whether to end after the batch under way.

    Attributes:
        seconds_to_wait: If it was stopped for want of calls, how long until there is one.
    """

    engine: Engine
    options: RunOptions
    owner: str
    dry_run: bool = False
    again: Again | None = None
    is_ending: Callable[[], bool] = lambda: False
    seconds_to_wait: float = field(default=0.0, init=False)
    _worker: str = field(default_factory=lambda: uuid.uuid4().hex, init=False)
    _after: int = field(default=0, init=False)
    _counts: Counter[str] = field(default_factory=Counter, init=False)
    _operations: list[Operation] = field(default_factory=list, init=False)
    _faults: list[str] = field(default_factory=list, init=False)
    _sources_before: dict[str, tuple[str, ...]] = field(default_factory=dict, init=False)

    def complete(self) -> ConsolidationReport:
        """Consolidate until nothing is left, or something ends it early."""
        location = self.engine.backend.location
        span = SPANS.begin and SPANS.begin("kronvex.consolidate", location, {})
        with span or UNTRACED as counts:
            report = self._complete()
            counts |= report.counts()
        return report

    def _complete(self) -> ConsolidationReport:
        began, stopped = time.monotonic(), FAILED
        try:
            stopped = self._run()
        finally:
            report = ConsolidationReport(
                **self._counts, users=1, dry_run=self.dry_run, stopped=stopped,
                operations=tuple(self._operations), faults=tuple(self._faults),
                seconds=time.monotonic() - began,
            )  # fmt: skip
            if report.batches and not self.dry_run:
                self._pass_on(report)
            self._claim(0)
        return report

    def _pass_on(self, report: ConsolidationReport) -> None:
        if self.options.on_report is not None:
            try:
                self.options.on_report(report)
            except Exception as raised:  # noqa: BLE001 - what was stored stays stored
                logger.error("on_report raised %s", type(raised).__name__)  # noqa: TRY400

    def _run(self) -> str | None:
        conflicts = 0
        while conflicts <= _MAX_CONFLICTS:
            if self.is_ending():
                return ENDING
            if not self._claim(self.options.claim_seconds):  # there may be nobody to claim
                return CLAIMED if batches.has_memories(self.engine, self.owner) else None
            limits = (self.options.batch_exchanges, self.options.max_batch_tokens)
            work = batches.next_work(self.engine, self.owner, *limits, self._after, self.again)
            try:
                is_done = self._do(work)
            except OutOfCalls as stopped:
                self.seconds_to_wait = stopped.seconds
                return OUT_OF_CALLS
            if not is_done:
                conflicts += 1
            elif not work.records:
                return None
            elif self.dry_run or self.again:  # they would be found again
                self._after = max(work.records)
        return CONFLICTS

    def _claim(self, seconds: float) -> bool:
        if self.dry_run:
            return True
        engine = self.engine
        return engine.backend.claim(self.owner, self._worker, engine.clock(), seconds)

    def _do(self, work: batches.Work) -> bool:
        """Ask the model about some memories, and store what it derives; False for a conflict."""
        derived = self._derived(work) if work.records else Derived()
        stored: Sequence[Record] | None = derived.records
        if not self.dry_run:
            stored = self._store(work, derived)
            if derived.refused and stored is not None:
                self.engine.writer.report(derived.refused)
        if stored is None:
            return False
        if work.records:
            self._counts["batches"] += 1
            self._counts["exchanges"] += len(work.records)
            self._counts["set_aside"] += len(work.records) if derived.refused else 0
        self._tell(work, derived.operations, stored)
        return True

    def _derived(self, work: batches.Work) -> Derived:
        """Return what the model derives; after two answers that cannot be used, nothing."""
        prompt = self.options.prompt
        shown = {n: v for n, v in render(work.batch).items() if n in prompt.input_variables}
        given = prompt.format_messages(**shown)
        try:
            return self._answered(given, work)
        except ConsolidationRefused as first:
            self._refuse(first)
            again = correcting(given, first)
        try:
            return self._answered(again, work)
        except ConsolidationRefused as second:
            self._refuse(second)
            return Derived(refused=second)

    def _refuse(self, refused: ConsolidationRefused) -> None:
        self._counts["refused"] += 1
        self._faults.append(str(refused))

    def _answered(self, messages: Sequence[BaseMessage], work: batches.Work) -> Derived:
        schemas = self.options.schemas
        raw = self.options.caller.ask(messages, answer_schema(schemas), self._counts)
        found = read_answer(raw, work.batch, schemas, self.options.max_operations)
        return Derived(found, self._records(found, work))

    def _records(self, operations: Operations, work: batches.Work) -> list[Record]:
        """Return the records of what is derived, as `before_save` lets them be stored."""
        name = self.options.caller.model_name
        version = PROMPT_VERSION if self.options.prompt is PROMPT else "custom"
        records = [batches.derived_record(each, work, name, version) for each in operations.added]
        try:
            return [self.engine.before_save.memory(record) for record in records]
        except SaveRefused:
            raise ConsolidationRefused(
                "An entry holds what must not be stored; leave out all secrets."
            ) from None

    def _store(self, work: batches.Work, derived: Derived) -> Sequence[Record] | None:
        """Store the result of a batch in one step; return what was added, None for a conflict."""
        engine, operations = self.engine, derived.operations
        touched = {each.replaces for each in operations.added}
        touched.update(each.id for each in operations.confirmed)
        known = [record for record in work.known.values() if record.id in touched]
        records, maker = with_local_vectors(engine.model.current, derived.records)
        self._sources_before = self._sources_of_same_texts(records)
        wanted = Consolidated(
            owner=self.owner,
            worker=self._worker,
            positions=list(work.records),
            set_aside=list(work.records) if derived.refused else (),
            revision=work.revision,
            # Also what nothing was derived from: another look may find something in a new text.
            unchanged=[*work.records.values(), *known],
            added=records,
            changed=[batches.confirmed_record(each, work) for each in operations.confirmed],
            model=maker,
        )
        stored = engine.backend.consolidate(wanted, engine.clock())
        if stored:
            engine.embed_soon(engine.model.current)
        return stored

    def _sources_of_same_texts(self, records: Sequence[Record]) -> dict[str, tuple[str, ...]]:
        """Return the sources, by id, of memories that may turn out to be the ones to be added."""
        keys = tuple(record.key for record in records)
        same = Selection(kind="memory", scope=Scope(self.owner), keys=keys)
        return {record.id: record.sources for record in self.engine.find(same)} if keys else {}

    def _tell(self, work: batches.Work, operations: Operations, stored: Sequence[Record]) -> None:
        for record, each in zip(stored, operations.added, strict=True):
            # The same text may have been stored meanwhile, or long ago.
            kind: OperationKind = "supersede" if each.replaces else "add"
            kind = "confirm" if record.deduplicated else kind
            before = self._sources_before.get(record.id, ())
            self._counts[_COUNT_OF[kind]] += 1
            self._operations.append(
                Operation(
                    kind=kind, id=None if self.dry_run else record.id, content=record.content,
                    memory_type=each.memory_type, user_id=self.owner,
                    sources=tuple(id_ for id_ in each.sources if id_ not in before),
                    replaces=() if each.replaces is None else (each.replaces,),
                    replaced=() if each.replaces is None else (work.known[each.replaces].content,),
                    valid_from=each.valid_from, reason=each.reason,
                )
            )  # fmt: skip
        for confirmed in operations.confirmed:
            known = work.known[confirmed.id]
            self._counts["confirmed"] += 1
            self._operations.append(
                Operation(
                    kind="confirm", id=known.id, content=known.content,
                    memory_type=check_type(known.type), user_id=self.owner,
                    sources=tuple(id_ for id_ in confirmed.sources if id_ not in known.sources),
                )
            )  # fmt: skip


_COUNT_OF: dict[OperationKind, str] = {
    "add": "added",
    "supersede": "superseded",
    "confirm": "confirmed",
}
