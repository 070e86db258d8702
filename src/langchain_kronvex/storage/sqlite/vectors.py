"""The vectors of the SQLite store: their model, the memories without one, and reindexing.

Vectors are only compared if they come from the same model. Each transaction that writes a vector
first checks which model the stored ones come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from langchain_kronvex.core.records import Floats, Unembedded
from langchain_kronvex.storage.model_check import Model, fits, mismatched, refuse
from langchain_kronvex.storage.record import to_micros
from langchain_kronvex.storage.sqlite import rows
from langchain_kronvex.storage.sqlite.file import AgentConnection

_MEMORIES = f"kind = 'memory' AND scope IN ({rows.OF_AGENT})"
_UPCOMING = "SELECT 1 FROM upcoming_vectors AS u WHERE u.seq = r.seq"


def model_of(db: AgentConnection, *, upcoming: bool = False) -> Model | None:
    """Return the model of the agent's vectors, or the upcoming one."""
    found: Model | None = db.execute(rows.MODEL, (db.agent_id, upcoming)).fetchone()
    return found


def settle(db: AgentConnection, model: str, width: int | None) -> int | None:
    """Check that the vectors come from this model, and note the model; return their width."""
    known = model_of(db)
    vector = f"SELECT 1 FROM records WHERE {_MEMORIES} AND vector IS NOT NULL LIMIT 1"
    if known and not fits(known, model, width) and db.execute(vector, (db.agent_id,)).fetchone():
        raise mismatched(db.location, known, model, width)
    width = width or (known[1] if known and known[0] == model else None)
    db.execute(rows.PUT_MODEL, (db.agent_id, 0, model, width))
    return width


def unembedded(
    db: AgentConnection, limit: int, now: datetime, *, after: int = 0, upcoming: bool = False
) -> list[Unembedded]:
    """Return memories without a vector that were written after a position, oldest first."""
    missing = f"NOT EXISTS ({_UPCOMING})" if upcoming else "r.vector IS NULL"
    # The + keeps SQLite to the order of writing, so that it stops at the limit.
    found = db.execute(
        "SELECT r.seq, r.id, coalesce(r.search_text, r.content) FROM records AS r "
        f"WHERE +r.scope IN ({rows.OF_AGENT}) AND r.seq > ? AND r.kind = 'memory' "
        f"AND {missing} AND {rows.VISIBLE} ORDER BY r.seq LIMIT ?",
        (db.agent_id, after, to_micros(now), limit),
    ).fetchall()
    return [Unembedded(*row) for row in found]


def embed(
    db: AgentConnection,
    vectors: Sequence[tuple[Unembedded, Floats]],
    model: str,
    *,
    upcoming: bool = False,
) -> None:
    """Store a model's unit vectors of memories that still have the same text."""
    width = next((len(vector) for _, vector in vectors), 0)
    known = model_of(db, upcoming=upcoming)
    if known is None or not fits(known, model, width):
        refuse(db.location, known or model_of(db), model, width)
    blobs = [(v.astype(rows.FLOAT16).tobytes(), each.id, each.text) for each, v in vectors]
    same = "id = ? AND coalesce(search_text, content) = ?"
    if upcoming:
        db.executemany(
            "INSERT OR REPLACE INTO upcoming_vectors SELECT seq, ? FROM records "
            f"WHERE {same} AND {_MEMORIES}",
            [(*each, db.agent_id) for each in blobs],
        )
        return
    db.executemany(
        "UPDATE scopes SET revision = revision + 1 WHERE scope = "
        f"(SELECT scope FROM records WHERE {same})",
        [each for _, *each in blobs],
    )
    db.executemany(
        "UPDATE records SET vector = ?, revision = "
        f"(SELECT s.revision FROM scopes AS s WHERE s.scope = records.scope) WHERE {same}",
        blobs,
    )
    db.execute(rows.PUT_MODEL, (db.agent_id, 0, model, width))


def forget(db: AgentConnection, seqs: Sequence[int]) -> None:
    """Remove the vectors of memories, which then are without one."""
    db.executemany("UPDATE records SET vector = NULL WHERE seq = ?", [(seq,) for seq in seqs])


# -- reindexing --------------------------------------------------------------------------------


def prepare_reindex(db: AgentConnection, model: str, width: int) -> int:
    """Make a model the upcoming one; return how many of its vectors are stored already."""
    if model_of(db, upcoming=True) != (model, width):
        _drop_upcoming(db)
        db.execute(rows.PUT_MODEL, (db.agent_id, 1, model, width))
    return _count_upcoming(db)


def finish_reindex(db: AgentConnection, model: str) -> int:
    """Replace the vectors by the upcoming ones; return how many there are."""
    known = model_of(db, upcoming=True)
    if known is None or known[0] != model:
        refuse(db.location, known or model_of(db), model, None)
    count = _count_upcoming(db)
    db.execute(
        "UPDATE records SET vector = (SELECT u.vector FROM upcoming_vectors AS u "
        f"WHERE u.seq = records.seq) WHERE {_MEMORIES}",
        (db.agent_id,),
    )
    # With a new generation, every process reads the vectors anew.
    db.execute("UPDATE scopes SET generation = generation + 1 WHERE agent_id = ?", (db.agent_id,))
    _drop_upcoming(db)
    db.execute("DELETE FROM models WHERE agent_id = ?", (db.agent_id,))
    db.execute(rows.PUT_MODEL, (db.agent_id, 0, *known))
    return count


def _count_upcoming(db: AgentConnection) -> int:
    counted = f"SELECT count(*) FROM records AS r WHERE {_MEMORIES} AND EXISTS ({_UPCOMING})"
    return int(db.execute(counted, (db.agent_id,)).fetchone()[0])


def _drop_upcoming(db: AgentConnection) -> None:
    of_agent = f"SELECT seq FROM records WHERE {_MEMORIES}"
    db.execute(f"DELETE FROM upcoming_vectors WHERE seq IN ({of_agent})", (db.agent_id,))
