"""Indexes in RAM, as the stores use them: rows to add, matches from hits, and a cache by owner."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from heapq import nlargest
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from langchain_kronvex.core.messages import answer_in
from langchain_kronvex.core.records import Floats, Match, Record
from langchain_kronvex.recall.explanation import Weighed, rivals, weigh
from langchain_kronvex.recall.index import ScopeIndex
from langchain_kronvex.recall.ranking import Form
from langchain_kronvex.recall.request import IndexRow, RecallRequest
from langchain_kronvex.recall.search import Hits, search
from langchain_kronvex.storage.model_check import Model, sound_vector
from langchain_kronvex.storage.record import json_text

_ENTRY_BYTES = 6_144  # the size of an empty entry
_MAX_REPLY_CHARS = 20_000  # of a reply, by which an exchange is found
H = TypeVar("H", bound=Hits)
Look = Callable[[ScopeIndex, RecallRequest], H]


# -- rows --------------------------------------------------------------------------------------


def index_row(cells: Sequence[Any], vector: Floats | None = None) -> IndexRow:
    """Build the row of a memory from the cells that the SQL stores select for it, in this order.

    Position in the order of writing, text that recall searches, type; the whole exchange of which
    that text is the user's part, None for other memories; session, "" for none; when the text was
    first said, when it was last said, and expiry, None for never, in seconds since 1970; pinned;
    metadata as JSON; from when and until when it was true, None for until now; whether it was
    derived from other memories.
    """
    seq, text, memory_type, exchange, session_id, said, created, expires, pinned = cells[:9]
    metadata, true_from, true_until, is_derived = cells[9:]
    if is_derived:
        form = Form.DERIVED
    elif exchange is not None:
        form = Form.EXCHANGE
    else:
        form = Form.TURN if memory_type == "episodic" else Form.STATEMENT
    reply = "" if exchange is None else answer_in(exchange, text)[:_MAX_REPLY_CHARS]
    end = math.inf if pinned or expires is None else expires
    until = math.inf if true_until is None else true_until
    return IndexRow(
        seq, text, memory_type, form, session_id, said, created, end, vector, reply, metadata,
        true_from, until,
    )  # fmt: skip


def index_row_of(seq: int, record: Record) -> IndexRow:
    """Build the row of a record, without a vector."""
    exchange = None if record.search_text is None else record.content
    texts = (record.found_by, record.type, exchange, record.scope.session_id or "")
    said, created = record.said_at or record.created_at, record.created_at
    expires, until = record.expires_at, record.valid_until
    validity = record.true_from.timestamp(), until and until.timestamp()
    times = said.timestamp(), created.timestamp(), expires and expires.timestamp()
    more = (record.pinned, json_text(record), *validity, bool(record.sources))
    return index_row((seq, *texts, *times, *more))


def without_damaged(
    rows: Sequence[IndexRow], model: Model | None
) -> tuple[Sequence[IndexRow], list[int]]:
    """Return rows without the vectors that cannot be used, and the numbers of the rows with such.

    Args:
        rows: As they were read.
        model: The model of the vectors, with their width.
    """
    vectors = [row.vector for row in rows if row.vector is not None]
    width = model[1] if model else None
    if not width or ({len(v) for v in vectors} <= {width} and np.isfinite(vectors).all()):
        return rows, []
    checked = [replace(row, vector=sound_vector(row.vector, model)) for row in rows]
    pairs = zip(rows, checked, strict=True)
    damaged = [old.seq for old, new in pairs if old.vector is not None and new.vector is None]
    return checked, damaged


# -- matches -----------------------------------------------------------------------------------


def recall_in_store(request: RecallRequest, consult: Consult) -> list[Match]:
    """Return the best matches of all owners of a request, most similar first."""
    return recall_owners(request, lambda each: matches_of(*consult(each, search)))


def recall_owners(
    request: RecallRequest, recall_owner: Callable[[RecallRequest], list[Match]]
) -> list[Match]:
    """Search each owner of a request; return the best matches, most similar first."""
    if not request.include_shared:
        return recall_owner(request)
    matches = [match for each in request.by_owner() for match in recall_owner(each)]
    return nlargest(request.top_k, matches, key=lambda match: match.similarity)


class Consult(Protocol):
    """Looks at the index of a request's owner, and fetches the records of what is found."""

    def __call__(self, request: RecallRequest, look: Look[H]) -> tuple[H, Mapping[int, Record]]:
        """Return what `look` finds in the index, and the records that are still there."""


def weigh_in_store(
    request: RecallRequest, owner: str, seq: int, consult: Consult
) -> Weighed | None:
    """Return how a memory of one owner is weighed; with its place among those of all owners."""
    own, *others = sorted(request.by_owner(), key=lambda each: each.scope.owner != owner)
    weighed, records = consult(own, partial(weigh, seq=seq))
    if not (isinstance(weighed, Weighed) and records):
        return None
    for each in others:
        there, _ = consult(each, partial(rivals, relevance=weighed.relevance))
        place, of = (weighed.place or 0) + there.better, weighed.of + there.of
        weighed = replace(weighed, place=place, of=of)
    return weighed


def matches_of(hits: Hits, record_of: Mapping[int, Record]) -> list[Match]:
    """Return the hits whose records are still there, in their order."""
    scored = zip(hits.seqs, hits.similarity, hits.probability, strict=True)
    return [Match(record_of[seq], sim, prob) for seq, sim, prob in scored if seq in record_of]


# -- the cache ---------------------------------------------------------------------------------


class State(NamedTuple):
    """The state of an owner's records in a store; zeros when there are none.

    Attributes:
        scope: The number of the scope, in stores that number them.
        generation: It changes when records vanish and the index must be read anew.
        revision: The last write.
    """

    scope: int = 0
    generation: int = 0
    revision: int = 0


_UNKNOWN = State(-1, -1, -1)  # of no store, so that the index is read anew
_EMPTY = ScopeIndex()  # stays empty


@dataclass(slots=True)
class CachedIndex:
    """An index and the state of the store that it represents; `lock` guards both.

    Attributes:
        state: The state that the index contains.
        checked: The version of the store at which the index was up to date, and the model of
            its vectors.
        index: The index.
        damaged: Numbers of memories whose vectors were found damaged, to be removed from the store.
        unsaved: How many rows were added or changed since the last snapshot.
        replaces: Whether a snapshot was found that could not be used, so that another is needed.
        save_from: No snapshot is written before this moment of `time.monotonic`.
        size: About how many bytes the entry takes, as last measured.
        is_used: Whether there was a recall since it was last brought up to date without one.
        owners: Of an index of several owners: who they are.
        scopes: Of an index of several owners: the generation and revision of each of their scopes.
        lock: Held while the index is searched or changed.
        loading: Held while the index is read from the store, if that takes several steps.
    """

    state: State = field(default_factory=State)
    checked: tuple[tuple[int, int] | None, str | None] = (None, None)
    index: ScopeIndex = field(default_factory=ScopeIndex)
    damaged: list[int] = field(default_factory=list)
    unsaved: int = 0
    replaces: bool = False
    save_from: float = 0.0
    size: int = _ENTRY_BYTES
    is_used: bool = True
    owners: tuple[str, ...] = ()
    scopes: dict[int, tuple[int, int]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    loading: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, state: State, index: ScopeIndex) -> None:
        """Begin anew, with an index that may come from a snapshot."""
        self.state, self.index, self.unsaved = state, index, 0

    def apply(self, rows: Sequence[IndexRow], model: Model | None) -> None:
        """Add rows to the index; its state stays. If that is cut short, it is read anew."""
        rows, damaged = without_damaged(rows, model)
        state, index = self.state, self.index
        self.state, self.index = _UNKNOWN, _EMPTY  # a signal may end this at any line
        index.apply(rows)
        self.damaged += damaged
        self.unsaved += len(rows)
        self.state, self.index = state, index


class IndexCache:
    """Keeps indexes by owner; drops those not used for longest if it exceeds `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, CachedIndex] = OrderedDict()
        self._total = 0
        self._lock = threading.Lock()

    def entry(self, owner: str) -> CachedIndex:
        """Return the owner's entry, an empty one if there is none."""
        with self._lock:
            entry = self._entries.get(owner)
            if entry is None:
                entry = self._entries[owner] = CachedIndex()
                self._total += entry.size
                self._evict()
            self._entries.move_to_end(owner)
            entry.is_used = True
            return entry

    def in_use(self, owner: str) -> CachedIndex | None:
        """Return the owner's entry if there is one that is in use."""
        entry = self._entries.get(owner)
        return entry if entry and entry.is_used else None

    @staticmethod
    def name_of_many(name: str) -> str:
        """Return what stands for an owner in the name of an index of several owners."""
        return f"\0{name}"

    def drop(self, *owners: str) -> None:
        """Drop the indexes of owners, and all that are of several owners if there are any."""
        with self._lock:
            of_many = [name for name in self._entries if owners and name.startswith("\0")]
            for owner in (*owners, *of_many):
                dropped = self._entries.pop(owner, None)
                self._total -= dropped.size if dropped else 0

    def shrink(self, owner: str) -> None:
        """Measure a changed index; drop others until all fit, but not the one used last."""
        with self._lock:
            entry = self._entries.get(owner)
            if entry is not None:
                self._total -= entry.size
                entry.size = entry.index.nbytes + _ENTRY_BYTES
                self._total += entry.size
            self._evict()

    def _evict(self) -> None:
        while self._total > self._max_bytes and len(self._entries) > 1:
            _, dropped = self._entries.popitem(last=False)
            self._total -= dropped.size
