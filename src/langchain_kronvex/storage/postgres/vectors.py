"""The vectors of the PostgreSQL store: whose they are, who fetches them, how all are replaced.

A vector is only ever compared with vectors of the same model. Every transaction that writes one
holds the agent's model as it is; the one that puts another model in its place waits for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from langchain_kronvex.recall.ranking import Floats
from langchain_kronvex.storage.backend import Unembedded
from langchain_kronvex.storage.model_check import Model, fits, mismatched, refuse
from langchain_kronvex.storage.postgres import rows
from langchain_kronvex.storage.postgres.erasing import NEW_GENERATION, keeping, locking
from langchain_kronvex.storage.postgres.statements import Rows, Statement, Vector, Work, in_order
from langchain_kronvex.storage.postgres.writing import holding_model

CLAIM_SECONDS = 120  # for a batch to come back from its provider

_OF_AGENT = f"r.kind = 'memory' AND {rows.OF_AGENT}"
_PUT_VECTOR = (
    "UPDATE langchain_kronvex.records AS r SET vector = %s::real[]::pgvector.halfvec, "
    "revision = (SELECT s.revision FROM langchain_kronvex.scopes AS s WHERE s.scope = r.scope) "
    "WHERE r.scope = %s AND r.seq = %s"
)
_PUT_UPCOMING = (
    "INSERT INTO langchain_kronvex.upcoming_vectors (vector, scope, seq) "
    "SELECT %s::real[]::pgvector.halfvec, r.scope, r.seq "
    "FROM langchain_kronvex.records AS r WHERE r.scope = %s AND r.seq = %s "
    "ON CONFLICT (scope, seq) DO UPDATE SET vector = excluded.vector"
)
_UPCOMING = (
    "SELECT 1 FROM langchain_kronvex.upcoming_vectors AS u "
    "WHERE u.scope = r.scope AND u.seq = r.seq"
)


def model_of(agent_id: str, *, upcoming: bool = False) -> Work[Model | None]:
    """Return the model of an agent's vectors, and their width when it is known."""
    found: Rows = yield Statement(
        "SELECT model, width FROM langchain_kronvex.models WHERE agent_id = %s AND upcoming = %s",
        [agent_id, upcoming],
    )
    return (found[0][0], found[0][1]) if found else None


def _put_model(agent_id: str, model: str, width: int | None, *, upcoming: bool) -> Statement:
    return Statement(
        "INSERT INTO langchain_kronvex.models (agent_id, upcoming, model, width) "
        "VALUES (%s, %s, %s, %s) ON CONFLICT (agent_id, upcoming) "
        "DO UPDATE SET model = excluded.model, width = excluded.width",
        [agent_id, upcoming, model, width],
    )


def settling(agent_id: str, location: str, model: str, width: int | None) -> Work[int | None]:
    """Make sure that the vectors are a model's; see `MemoryBackend.settle_embeddings`."""
    known = yield from model_of(agent_id)
    if known == (model, width):
        return width  # the usual case needs no lock
    yield holding_model(agent_id, to_change=True)
    known = yield from model_of(agent_id)
    if known and not fits(known, model, width):
        any_: Rows = yield Statement(
            f"SELECT 1 FROM langchain_kronvex.records AS r WHERE {_OF_AGENT} "
            "AND r.vector IS NOT NULL LIMIT 1",
            [agent_id],
        )
        if any_:
            raise mismatched(location, known, model, width)
    if known and known[0] == model:
        width = width or known[1]
    yield _put_model(agent_id, model, width, upcoming=False)
    return width


# -- one vector after the other ------------------------------------------------------------------


def claiming(agent_id: str, worker: UUID, limit: int, now: datetime, after: int) -> Work[Rows]:
    """Take memories without a vector that no other worker has taken, oldest first.

    Returns:
        Rows of number, id and search text. Whoever dies loses them after `CLAIM_SECONDS`.
    """
    found: Rows = yield Statement(
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
        [agent_id, after, now, worker, limit, worker, CLAIM_SECONDS],
    )
    return found


def releasing(worker: UUID) -> Work[None]:
    """Give back what a worker has taken."""
    yield Statement("DELETE FROM langchain_kronvex.claims WHERE worker = %s", [worker])


def taken_by_others(agent_id: str, worker: UUID) -> Work[float | None]:
    """Return in how many seconds the first memory that another worker took is free again."""
    found: Rows = yield Statement(
        "SELECT extract(epoch FROM min(c.until) - clock_timestamp())::float8 "
        "FROM langchain_kronvex.claims AS c JOIN langchain_kronvex.records AS r "
        f"ON r.scope = c.scope AND r.seq = c.seq WHERE {_OF_AGENT} AND r.vector IS NULL "
        "AND c.worker <> %s",
        [agent_id, worker],
    )
    seconds: float | None = found[0][0]
    return None if seconds is None else max(seconds, 0.0)


def unprepared(agent_id: str, limit: int, now: datetime, after: int) -> Work[Rows]:
    """Return memories without a vector of the upcoming model; none is claimed for one worker."""
    return (
        yield from in_order(
            after,
            lambda start, end: Statement(
                "SELECT r.seq, r.id, coalesce(r.search_text, r.content) "
                "FROM langchain_kronvex.records AS r "
                f"WHERE {_OF_AGENT} AND r.seq > %s AND r.seq <= %s "
                f"AND NOT EXISTS ({_UPCOMING}) AND {rows.VISIBLE} ORDER BY r.seq LIMIT %s",
                [agent_id, start, end, now, limit],
            ),
        )
    )


def to_unembedded(found: Rows) -> list[Unembedded]:
    """Return what `claiming` and `unprepared` found."""
    return [Unembedded(*row) for row in found]


def embedding(
    agent_id: str, location: str, vectors: Mapping[str, Floats], model: str, *, upcoming: bool
) -> Work[None]:
    """Store vectors by record id; see `MemoryBackend.embed`."""
    width = next((len(vector) for vector in vectors.values()), 0)
    yield holding_model(agent_id)
    known = yield from model_of(agent_id, upcoming=upcoming)
    if known is None or not fits(known, model, width):
        refuse(location, known or (yield from model_of(agent_id)), model, width)
    found: Rows = yield Statement(
        "SELECT r.scope, r.seq, r.id FROM langchain_kronvex.records AS r "
        f"WHERE r.id = ANY(%s) AND r.kind = 'memory' AND {rows.EACH_OF_AGENT}",
        [list(vectors), agent_id],
    )
    if not found:
        return
    cells = [(Vector(vectors[id_]), scope, seq) for scope, seq, id_ in found]
    if upcoming:
        yield from keeping(sorted({scope for _, scope, _ in cells}))
        yield Statement(_PUT_UPCOMING, cells, many=True)
        return
    yield from _storing(cells)
    if known[1] != width:
        yield Statement(
            "UPDATE langchain_kronvex.models SET width = %s WHERE agent_id = %s AND NOT upcoming",
            [width, agent_id],
        )


def _storing(cells: Sequence[tuple[Vector, UUID, int]]) -> Work[None]:
    """Store vectors, given with scope and number of their memories, and give the claims back."""
    scopes = sorted({scope for _, scope, _ in cells})
    yield from locking(scopes)
    yield [
        Statement(
            "UPDATE langchain_kronvex.scopes SET revision = revision + 1 WHERE scope = ANY(%s)",
            [scopes],
        ),
        Statement(_PUT_VECTOR, cells, many=True),
        Statement(
            "DELETE FROM langchain_kronvex.claims AS c USING unnest(%s::uuid[], %s::bigint[]) "
            "AS d (scope, seq) WHERE c.scope = d.scope AND c.seq = d.seq",
            [[scope for _, scope, _ in cells], [seq for _, _, seq in cells]],
        ),
    ]


# -- all of them -----------------------------------------------------------------------------------


def preparing(agent_id: str, model: str, width: int) -> Work[int]:
    """Make a model the upcoming one; see `MemoryBackend.prepare_reindex`."""
    yield holding_model(agent_id, to_change=True)
    known = yield from model_of(agent_id, upcoming=True)
    if known != (model, width):
        yield _drop_upcoming(agent_id)
        yield _put_model(agent_id, model, width, upcoming=True)
    return (yield from _count_upcoming(agent_id))


def finishing(agent_id: str, location: str, model: str, *, retried: bool) -> Work[int]:
    """Put the upcoming vectors in the place of the others; see `MemoryBackend.finish_reindex`.

    `retried`: an earlier attempt was broken off, when all may have been done already.
    """
    yield holding_model(agent_id, to_change=True)
    known = yield from model_of(agent_id, upcoming=True)
    if known is None and retried:
        current = yield from model_of(agent_id)
        if current is not None and current[0] == model:
            return (yield from _count_embedded(agent_id))
    if known is None or known[0] != model:
        refuse(location, known or (yield from model_of(agent_id)), model, None)
    scopes: Rows = yield Statement(
        "SELECT scope FROM langchain_kronvex.scopes WHERE agent_id = %s ORDER BY scope FOR UPDATE",
        [agent_id],
    )
    count = yield from _count_upcoming(agent_id)
    yield Statement(
        "UPDATE langchain_kronvex.records AS r SET vector = "
        "(SELECT u.vector FROM langchain_kronvex.upcoming_vectors AS u "
        f"WHERE u.scope = r.scope AND u.seq = r.seq) WHERE {_OF_AGENT}",
        [agent_id],
    )
    # A new generation: every process reads the vectors anew.
    yield Statement(NEW_GENERATION, [[scope for (scope,) in scopes]])
    yield _drop_upcoming(agent_id)
    yield Statement("DELETE FROM langchain_kronvex.models WHERE agent_id = %s", [agent_id])
    yield _put_model(agent_id, *known, upcoming=False)
    return count


def _count_upcoming(agent_id: str) -> Work[int]:
    found: Rows = yield Statement(
        f"SELECT count(*) FROM langchain_kronvex.records AS r WHERE {_OF_AGENT} "
        f"AND EXISTS ({_UPCOMING})",
        [agent_id],
    )
    return int(found[0][0])


def _count_embedded(agent_id: str) -> Work[int]:
    found: Rows = yield Statement(
        "SELECT count(*) FROM langchain_kronvex.records AS r "
        f"WHERE {_OF_AGENT} AND r.vector IS NOT NULL",
        [agent_id],
    )
    return int(found[0][0])


def _drop_upcoming(agent_id: str) -> Statement:
    return Statement(
        "DELETE FROM langchain_kronvex.upcoming_vectors AS u WHERE u.scope IN "
        "(SELECT scope FROM langchain_kronvex.scopes WHERE agent_id = %s)",
        [agent_id],
    )
