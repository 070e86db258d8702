"""From memories to what a model is shown, and from its answer to records. No calls of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from langchain_kronvex.consolidation.answers import Added, Batch, Confirmed, Exchange, Known
from langchain_kronvex.consolidation.prompt import MAX_SHOWN_CHARS
from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.context_lines import approximate_tokens
from langchain_kronvex.core.errors import EmbeddingsError
from langchain_kronvex.core.messages import answer_content, answer_in
from langchain_kronvex.core.records import Page, Record, Scope, Selection
from langchain_kronvex.core.types import Again
from langchain_kronvex.memory.conversions import CONSOLIDATION, is_of_model, memory_record
from langchain_kronvex.memory.engine import Engine

MAX_KNOWN = 30  # facts that a model is shown
_NEAREST = 5  # to each exchange
_STATEMENTS = tuple(name for name in checks.MEMORY_TYPES if name != "episodic")
_ANSWER = answer_content("")


def has_memories(engine: Engine, owner: str) -> bool:
    """Return whether an owner has any memory."""
    return bool(engine.find(Selection(kind="memory", scope=Scope(owner)), Page(limit=1)))


@dataclass(frozen=True, slots=True)
class Work:
    """Some memories of an owner, by their positions in the order of writing, and what is known."""

    owner: str
    records: Mapping[int, Record]
    known: Mapping[str, Record]
    revision: int
    batch: Batch

    def records_of(self, ids: Iterable[str]) -> list[Record]:
        """Return some of the memories by their ids."""
        wanted = {*ids}
        return [record for record in self.records.values() if record.id in wanted]


def next_work(
    engine: Engine, owner: str, limit: int, max_tokens: int, after: int, again: Again | None
) -> Work:
    """Read the next memories of an owner, at most `limit`, and fewer if they are long."""
    found, revision = engine.backend.unconsolidated(
        owner, limit, engine.clock(), after=after, again=again
    )
    records: dict[int, Record] = {}
    for position, record in found:
        max_tokens -= approximate_tokens(record.content[: 2 * MAX_SHOWN_CHARS])
        if records and max_tokens < 0:
            revision = 0
            break
        records[position] = record
    exchanges = [_exchange(number, each) for number, each in enumerate(records.values(), 1)]
    known = _known(engine, owner, exchanges) if exchanges else []
    numbers = iter(range(1, len(known) + 1))
    shown = [
        Known(
            next(numbers) if is_of_model(each) else None, each.id, each.content, each.created_at,
            tuple(exchange.number for exchange in exchanges if exchange.id in each.sources),
        )
        for each in known
    ]  # fmt: skip
    by_id = {record.id: record for record in known}
    return Work(owner, records, by_id, revision, Batch(exchanges, shown))


def _exchange(number: int, record: Record) -> Exchange:
    content, said, answer = record.content, record.search_text, ""
    if said is not None:
        answer = answer_in(content, said)
    elif content.startswith(_ANSWER):  # to a turn without words
        said, answer = "", content.removeprefix(_ANSWER)
    session = record.scope.session_id
    return Exchange(
        number, record.id, content if said is None else said, answer, record.created_at, session
    )


def _known(engine: Engine, owner: str, exchanges: Sequence[Exchange]) -> list[Record]:
    """Return what is known: first what rests on one of the exchanges, then what is near to one."""
    scope = Scope(owner)
    of_them = Selection(
        kind="memory", scope=scope, sources=tuple(each.id for each in exchanges), is_current=True
    )
    found = {record.id: record for record in engine.find(of_them)}
    for exchange in exchanges:
        if len(found) >= MAX_KNOWN:
            break
        request = engine.recaller.request(
            exchange.said.strip() or exchange.answer, scope, _NEAREST, _STATEMENTS
        )
        try:
            matches = engine.recaller.matches(request)
        except EmbeddingsError:  # then by words alone
            matches = engine.backend.recall(request)
        found |= {match.record.id: match.record for match in matches}
    return list(found.values())[:MAX_KNOWN]


def derived_record(added: Added, work: Work, model_name: str, prompt_version: str) -> Record:
    """Return the record of a derived memory.

    It expires with the last of its sources, belongs to all sessions of the user, and is true no
    earlier than what it replaces.
    """
    about = {"reason": added.reason, "model": model_name, "schema": added.schema}
    details = {"fields": added.fields} if added.fields else {}
    record = memory_record(
        Scope(work.owner),
        added.content,
        added.created_at,
        memory_type=added.memory_type,
        expires_at=expiry_of(work.records_of(added.sources)),
        metadata=checks.check_metadata(
            {CONSOLIDATION: {**about, **details, "prompt": prompt_version}}
        ),
    )
    replaced = work.known.get(added.replaces or "")
    since = max(added.valid_from, replaced.true_from) if replaced else added.valid_from
    return replace(
        record,
        valid_from=since,
        sources=added.sources,
        supersedes=(added.replaces,) if added.replaces else (),
    )


def confirmed_record(confirmed: Confirmed, work: Work) -> Record:
    """Return a derived memory with more sources; it is as new as the newest of them."""
    known, new = work.known[confirmed.id], work.records_of(confirmed.sources)
    return replace(
        known,
        sources=tuple(dict.fromkeys(known.sources + confirmed.sources)),
        created_at=max(known.created_at, *(record.created_at for record in new)),
        expires_at=None if known.expires_at is None else expiry_of([known, *new]),
        base=known,
    )


def expiry_of(sources: Sequence[Record]) -> datetime | None:
    """Return when the last of some sources expires; None if one never does."""
    ends = [None if record.pinned else record.expires_at for record in sources]
    return None if None in ends else max(filter(None, ends), default=None)
