"""The vectors of the PostgreSQL store: their model, claims of memories to embed, reindexing.

Only vectors of the same model are ever compared. Every transaction that writes one keeps the
agent's model unchanged; the one that changes the model waits for them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from langchain_kronvex.core.records import Floats, Record, Unembedded
from langchain_kronvex.storage.model_check import Model, fits, mismatched, refuse
from langchain_kronvex.storage.postgres import rows
from langchain_kronvex.storage.postgres.database import Statement, Transaction, locking
from langchain_kronvex.storage.postgres.erasing import keep_owners, lock_owners, renew_generation
from langchain_kronvex.storage.postgres.reading import in_order
from langchain_kronvex.storage.postgres.rows import Vector
from langchain_kronvex.storage.record import without_vectors

_OF_AGENT = f"r.kind = 'memory' AND {rows.OF_AGENT}"
_EMBEDDED = f"{_OF_AGENT} AND r.vector IS NOT NULL"
_SAME_TEXT = "md5(coalesce(r.search_text, r.content)) = %s"  # as the vector was computed from
_PUT_VECTOR = (
    "UPDATE langchain_kronvex.records AS r SET vector = %s::real[]::pgvector.halfvec, "
    "revision = (SELECT s.revision FROM langchain_kronvex.scopes AS s WHERE s.scope = r.scope) "
    f"WHERE r.scope = %s AND r.seq = %s AND {_SAME_TEXT}"
)
_PUT_UPCOMING = (
    "INSERT INTO langchain_kronvex.upcoming_vectors (vector, scope, seq) "
    "SELECT %s::real[]::pgvector.halfvec, r.scope, r.seq "
    f"FROM langchain_kronvex.records AS r WHERE r.scope = %s AND r.seq = %s AND {_SAME_TEXT} "
    "ON CONFLICT (scope, seq) DO UPDATE SET vector = excluded.vector"
)
_COUNT_UP = "UPDATE langchain_kronvex.scopes SET revision = revision + 1 WHERE scope = ANY(%s)"
_UNCLAIM = (
    "DELETE FROM langchain_kronvex.claims AS c USING unnest(%s::uuid[], %s::bigint[]) "
    "AS d (scope, seq) WHERE c.scope = d.scope AND c.seq = d.seq"
)
_UPCOMING = (
    "SELECT 1 FROM langchain_kronvex.upcoming_vectors AS u "
    "WHERE u.scope = r.scope AND u.seq = r.seq"
)


def holding_model(tx: Transaction, *, to_change: bool = False) -> Statement:
    """Return the statement that keeps an agent's model unchanged until the transaction ends.

    With `to_change`, it waits for all transactions that do so, and keeps others out.
    """
    return locking(f"kronvex model {tx.agent_id}", shared=not to_change)


def finding_model(tx: Transaction, *, upcoming: bool = False) -> Statement:
    """Return the statement that finds the model of the agent's vectors, or the upcoming one."""
    return Statement(
        "SELECT model, width FROM langchain_kronvex.models WHERE agent_id = %s AND upcoming = %s",
        [tx.agent_id, upcoming],
    )


def model_of(tx: Transaction, *, upcoming: bool = False) -> Model | None:
    """Return the model of the agent's vectors, and their width when it is known."""
    (found,) = tx.execute_all([finding_model(tx, upcoming=upcoming)])
    return found[0] if found else None


def usable(
    tx: Transaction, records: Sequence[Record], model: str | None, known: Model | None
) -> Sequence[Record]:
    """Return the records, without vectors that are not of the known model and width."""
    width = next((len(r.vector) for r in records if r.vector is not None), None)
    if width is None:
        return records
    if known is None or model is None or not fits(known, model, width):
        return without_vectors(records)
    if known[1] is None:
        _put_model(tx, model, width)
    return records


def settle(tx: Transaction, model: str, width: int | None) -> int | None:
    """See `MemoryBackend.settle_embeddings`."""
    known = model_of(tx)
    if known == (model, width):
        return width  # the usual case needs no lock
    tx.execute_all([holding_model(tx, to_change=True)])
    known = model_of(tx)
    a_vector = f"SELECT 1 FROM langchain_kronvex.records AS r WHERE {_EMBEDDED} LIMIT 1"
    if known and not fits(known, model, width) and tx.execute(a_vector, [tx.agent_id]):
        raise mismatched(tx.location, known, model, width)
    width = width or (known[1] if known and known[0] == model else None)
    _put_model(tx, model, width)
    return width


def claim(
    tx: Transaction, worker: UUID, limit: int, now: datetime, after: int, seconds: float
) -> list[Unembedded]:
    """Return memories without a vector that no other worker has claimed, oldest first.

    They are claimed for this worker, whose claim ends after `seconds`.
    """
    found = tx.execute(
        "WITH free AS (SELECT r.scope, r.seq, r.id, coalesce(r.search_text, r.content) AS text "
        f"FROM langchain_kronvex.records AS r WHERE {_OF_AGENT} AND r.vector IS NULL "
        f"AND r.seq > %s AND {rows.VISIBLE} AND NOT EXISTS (SELECT 1 "
        "FROM langchain_kronvex.claims AS c WHERE c.scope = r.scope AND c.seq = r.seq "
        "AND c.until > clock_timestamp() AND c.worker <> %s) "
        "ORDER BY r.seq LIMIT %s FOR UPDATE OF r SKIP LOCKED), "
        "claimed AS (INSERT INTO langchain_kronvex.claims AS c (scope, seq, worker, until) "
        "SELECT scope, seq, %s, clock_timestamp() + make_interval(secs => %s) FROM free "
        "ON CONFLICT (scope, seq) DO UPDATE SET worker = excluded.worker, until = excluded.until "
        "WHERE c.until <= clock_timestamp() OR c.worker = excluded.worker RETURNING c.seq) "
        "SELECT free.seq, free.id, free.text FROM free JOIN claimed USING (seq) ORDER BY free.seq",
        [tx.agent_id, after, now, worker, limit, worker, seconds],
    )
    return [Unembedded(*row) for row in found]


def release(tx: Transaction, worker: UUID) -> None:
    """Give up the claims of a worker."""
    tx.execute("DELETE FROM langchain_kronvex.claims WHERE worker = %s", [worker])


def claimed_by_others(tx: Transaction, worker: UUID) -> float | None:
    """Return in how many seconds the first claim of another worker ends; None without claims."""
    (seconds,) = tx.column(
        "SELECT extract(epoch FROM min(c.until) - clock_timestamp())::float8 "
        "FROM langchain_kronvex.claims AS c JOIN langchain_kronvex.records AS r "
        f"ON r.scope = c.scope AND r.seq = c.seq WHERE {_OF_AGENT} AND r.vector IS NULL "
        "AND c.worker <> %s",
        [tx.agent_id, worker],
    )
    return None if seconds is None else max(seconds, 0.0)


def without_upcoming(tx: Transaction, limit: int, now: datetime, after: int) -> list[Unembedded]:
    """Return memories without a vector of the upcoming model; they are claimed by no worker."""
    missing = (
        "SELECT r.seq, r.id, coalesce(r.search_text, r.content) FROM langchain_kronvex.records "
        f"AS r WHERE r.seq > %s AND r.seq <= %s AND {_OF_AGENT} "
        f"AND NOT EXISTS ({_UPCOMING}) AND {rows.VISIBLE} ORDER BY r.seq LIMIT %s"
    )
    return [Unembedded(*row) for row in in_order(tx, after, missing, [tx.agent_id, now, limit])]


def embed(
    tx: Transaction, vectors: Sequence[tuple[Unembedded, Floats]], model: str, *, upcoming: bool
) -> None:
    """See `MemoryBackend.embed`."""
    width = next((len(vector) for _, vector in vectors), 0)
    made = {each.id: (vector, _digest(each.text)) for each, vector in vectors}
    tx.execute_all([holding_model(tx)])
    known = model_of(tx, upcoming=upcoming)
    if known is None or not fits(known, model, width):
        refuse(tx.location, known or model_of(tx), model, width)
    found = tx.execute(
        "SELECT r.scope, r.seq, r.id FROM langchain_kronvex.records AS r "
        f"WHERE r.id = ANY(%s) AND {rows.IS_MEMORY} AND {rows.EACH_OF_AGENT}",
        [list(made), tx.agent_id],
    )
    if not found:
        return
    cells = [(Vector(made[id_][0]), scope, seq, made[id_][1]) for scope, seq, id_ in found]
    scopes = sorted({scope for scope, _, _ in found})
    if upcoming:
        keep_owners(tx, scopes)
        tx.execute(_PUT_UPCOMING, cells, many=True)
        return
    lock_owners(tx, scopes)
    counted = Statement(_COUNT_UP, [scopes])
    claims = Statement(_UNCLAIM, [[scope for scope, _, _ in found], [seq for _, seq, _ in found]])
    tx.execute_all([counted, Statement(_PUT_VECTOR, cells, many=True), claims])
    if known[1] != width:
        _put_model(tx, model, width)


def _digest(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def forget(tx: Transaction, scope: UUID, seqs: Sequence[int]) -> None:
    """Remove the vectors of memories of one owner, which then are without one."""
    lock_owners(tx, [scope])
    tx.execute(
        "UPDATE langchain_kronvex.records SET vector = NULL WHERE scope = %s AND seq = ANY(%s)",
        [scope, list(seqs)],
    )


def prepare_reindex(tx: Transaction, model: str, width: int) -> int:
    """See `MemoryBackend.prepare_reindex`."""
    tx.execute_all([holding_model(tx, to_change=True)])
    if model_of(tx, upcoming=True) != (model, width):
        _drop_upcoming(tx)
        _put_model(tx, model, width, upcoming=True)
    return _count(tx, f"EXISTS ({_UPCOMING})")


def finish_reindex(tx: Transaction, model: str) -> int:
    """See `MemoryBackend.finish_reindex`."""
    tx.execute_all([holding_model(tx, to_change=True)])
    known = model_of(tx, upcoming=True)
    current = known or model_of(tx)
    if known is None and tx.is_retry and current and current[0] == model:
        return _count(tx, "r.vector IS NOT NULL")  # an earlier attempt did everything
    if known is None or known[0] != model:
        refuse(tx.location, current, model, None)
    scopes = tx.column(
        "SELECT scope FROM langchain_kronvex.scopes WHERE agent_id = %s ORDER BY scope FOR UPDATE",
        [tx.agent_id],
    )
    count = _count(tx, f"EXISTS ({_UPCOMING})")
    tx.execute(
        "UPDATE langchain_kronvex.records AS r SET vector = "
        "(SELECT u.vector FROM langchain_kronvex.upcoming_vectors AS u "
        f"WHERE u.scope = r.scope AND u.seq = r.seq) WHERE {_OF_AGENT}",
        [tx.agent_id],
    )
    renew_generation(tx, scopes)
    _drop_upcoming(tx)
    tx.execute("DELETE FROM langchain_kronvex.models WHERE agent_id = %s", [tx.agent_id])
    _put_model(tx, *known)
    return count


def _put_model(tx: Transaction, model: str, width: int | None, *, upcoming: bool = False) -> None:
    tx.execute(
        "INSERT INTO langchain_kronvex.models (agent_id, upcoming, model, width) "
        "VALUES (%s, %s, %s, %s) ON CONFLICT (agent_id, upcoming) "
        "DO UPDATE SET model = excluded.model, width = excluded.width",
        [tx.agent_id, upcoming, model, width],
    )


def _count(tx: Transaction, condition: str) -> int:
    sql = f"SELECT count(*) FROM langchain_kronvex.records AS r WHERE {_OF_AGENT} AND {condition}"
    (count,) = tx.column(sql, [tx.agent_id])
    return int(count)


def _drop_upcoming(tx: Transaction) -> None:
    tx.execute(
        "DELETE FROM langchain_kronvex.upcoming_vectors AS u WHERE u.scope IN "
        "(SELECT scope FROM langchain_kronvex.scopes WHERE agent_id = %s)",
        [tx.agent_id],
    )
