"""What a recall reads of a huge owner: a sample, the likely memories, and their neighbours."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np

from langchain_kronvex.recall.index import IndexRow
from langchain_kronvex.recall.ranking import AFTER, BEFORE, Form
from langchain_kronvex.recall.request import RecallRequest
from langchain_kronvex.storage.model_check import Model
from langchain_kronvex.storage.postgres import rows
from langchain_kronvex.storage.postgres.large_owners import index_sql as indexes
from langchain_kronvex.storage.postgres.large_owners.sampled_index import Counted, Piece, Sample
from langchain_kronvex.storage.postgres.large_owners.word_query import MOST_FOUND, WordQuery
from langchain_kronvex.storage.postgres.reading import State
from langchain_kronvex.storage.postgres.statements import Rows, Statement, Vector, Work

_BY_WORDS, _BY_MEANING, _LATEST = 250, 120, 50
_JOINED_BY_WORDS, _JOINED_BY_MEANING = 80, 40  # of these, the best, with their neighbours
_MOST = 2**31
_NARROW = 5_000  # memories of a type or session, among which the nearest are found without index
_SEARCH_WIDTH = 400  # of the HNSW index: how many it keeps in view
_GROWN = 1.2  # times as many memories as when the sample was drawn: it is drawn anew
_PIECES, _PIECE_ROWS = 400, 16  # of a sample
_TURN = "x.type = 'episodic' AND x.search_text IS NULL"


class Standing(NamedTuple):
    """How a huge owner stands: its state, about how many memories, the model, valid indexes."""

    state: State
    memories: int
    model: Model | None
    indexes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Likely:
    """The memories worth a look.

    Attributes:
        standing: When they were read.
        pieces: The memories with their neighbours, oldest first.
        counted: How many memories hold a term, where the database has counted.
    """

    standing: Standing
    pieces: list[Piece]
    counted: Mapping[str, Counted]


@dataclass(frozen=True, slots=True)
class Among:
    """Which memories of an owner may be returned, as conditions on rows `r`."""

    scope: UUID
    asked: RecallRequest
    session: str | None

    @property
    def filtered(self) -> bool:
        """Whether only some sessions or types are asked for."""
        return self.session is not None or self.asked.memory_type is not None

    def unfiltered(self) -> Among:
        """Return the same for all sessions and types."""
        return Among(self.scope, replace(self.asked, memory_type=None), None)

    @property
    def limit(self) -> int:
        """How many memories are asked for, as a number that the server takes."""
        return min(self.asked.top_k, _MOST)

    def where(self) -> tuple[str, list[Any]]:
        """Return the condition, and its parameters."""
        conditions = [indexes.of_owner(self.scope), rows.VISIBLE]
        parameters: list[Any] = [self.asked.now]
        if self.session is not None:
            conditions.append("r.session_id = %s")
            parameters.append(self.session)
        if self.asked.memory_type is not None:
            conditions.append("r.type = %s")
            parameters.append(self.asked.memory_type)
        return " AND ".join(conditions), parameters


def standing(agent_id: str, owner: str) -> Statement:
    """Return what asks how an owner stands."""
    scope = rows.scope_key(agent_id, owner)
    return Statement(
        "SELECT s.generation, s.revision, s.memories, m.model, m.width, ARRAY("
        "SELECT c.relname::text FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid "
        "WHERE i.indrelid = 'langchain_kronvex.records'::regclass AND i.indisvalid "
        "AND starts_with(c.relname, %s)) FROM langchain_kronvex.scopes AS s "
        "LEFT JOIN langchain_kronvex.models AS m ON m.agent_id = s.agent_id AND NOT m.upcoming "
        "WHERE s.scope = %s AND s.agent_id = %s AND s.owner = %s",
        [indexes.prefix_of(scope), scope, agent_id, owner],
    )


def to_standing(found: Rows) -> Standing:
    """Read what `standing` asked for."""
    if not found:
        return Standing(State(0, 0), 0, None, frozenset())
    generation, revision, memories, model, width, names = found[0]
    known = None if model is None else (model, width)
    return Standing(State(generation, revision), memories, known, frozenset(names))


# -- a sample ----------------------------------------------------------------------------------


def asking(agent_id: str, owner: str) -> Work[Standing]:
    """Return how an owner stands."""
    told: Rows = yield standing(agent_id, owner)
    return to_standing(told)


def sampling(agent_id: str, owner: str) -> Work[tuple[Standing, list[Piece]]]:
    """Count the memories of an owner, and draw pieces of its sessions; the same for all workers."""
    scope = rows.scope_key(agent_id, owner)
    whose = indexes.of_owner(scope)
    draw = random.Random(scope.int)  # noqa: S311 - it is to be the same every time
    told, ((counted,),), drawn = yield [
        standing(agent_id, owner),
        Statement(f"SELECT count(*) FROM langchain_kronvex.records AS r WHERE {whose}"),
        Statement(
            f"SELECT d.n, f.opens, {rows.INDEX_COLUMNS} "
            "FROM (SELECT min(r.seq) AS least, max(r.seq) AS most "
            f"FROM langchain_kronvex.records AS r WHERE {whose}) AS o "
            "CROSS JOIN unnest(%s::float8[]) WITH ORDINALITY AS d (share, n) "
            "CROSS JOIN LATERAL (SELECT r.session_id, r.seq, NOT EXISTS ("
            "SELECT 1 FROM langchain_kronvex.records AS x WHERE x.scope = r.scope "
            f"AND x.kind = r.kind AND x.session_id = r.session_id AND x.seq < r.seq AND {_TURN}) "
            f"AS opens FROM langchain_kronvex.records AS r WHERE {whose} "
            "AND r.seq >= o.least + (d.share * (o.most - o.least))::bigint "
            "ORDER BY r.seq LIMIT 1) AS f "
            f"CROSS JOIN LATERAL (SELECT r.* FROM langchain_kronvex.records AS r WHERE {whose} "
            "AND r.session_id = f.session_id AND r.seq >= f.seq ORDER BY r.seq LIMIT %s) AS r "
            "ORDER BY f.seq, r.seq",
            [[draw.random() for _ in range(_PIECES)], _PIECE_ROWS],
        ),
    ]
    known = to_standing(told)._replace(memories=counted)
    yield Statement(
        "UPDATE langchain_kronvex.scopes SET memories = %s WHERE scope = %s AND memories <> %s",
        [counted, scope, counted],
    )
    pieces = [
        Piece([_index_row(row[2:], known.model) for row in piece], opens=piece[0][1])
        for piece in (list(each) for _, each in groupby(drawn, key=lambda row: row[0]))
    ]
    return known, pieces


def _index_row(row: Sequence[Any], model: Model | None) -> IndexRow:
    found = rows.to_index_row(row)
    width = None if model is None else model[1]
    if found.vector is not None and len(found.vector) != width:
        return replace(found, vector=None)  # it is being reindexed at this moment
    return found


# -- the likely memories -----------------------------------------------------------------------


def looking(
    agent_id: str, owner: str, among: Among, sample: Sample, drawn: Standing
) -> Work[Likely | Standing]:
    """Return the memories worth a look; only how the owner stands when the sample is of the past.

    Args:
        agent_id: The agent.
        owner: Whose memories.
        among: Which of them.
        sample: Of all memories.
        drawn: How the owner stood when the sample was drawn.
    """
    told, narrow, _ = yield [standing(agent_id, owner), _counting(among), _SETTINGS]
    known = to_standing(told)
    grown = known.memories > _GROWN * drawn.memories
    if known.state.generation != drawn.state.generation or grown or not is_ready(known, among):
        return known
    words = WordQuery.of(among.asked.query, sample)
    # How rare a word is does not depend on which sessions or types are asked for.
    telling = words.alone() if among.filtered else words
    found = yield [
        _by_words(among, words),
        _latest(among),
        *_nearest(among, narrow=among.filtered and narrow[0][0] <= _NARROW),
        *([_by_words(among.unfiltered(), telling)] if among.filtered else []),
    ]
    by_set = words.by_set(found[0])
    in_all = telling.by_set(found.pop()) if among.filtered else by_set
    limit = among.limit
    best = words.best(by_set, max(_BY_WORDS, 2 * limit)).tolist()
    near = [seq for statement in found[2:] for (seq,) in statement]
    joined = {
        *best[: max(_JOINED_BY_WORDS, limit)],
        *near[: max(_JOINED_BY_MEANING, limit // 2)],
    }
    others = {*best, *near, *(seq for (seq,) in found[1])} - joined
    read: Rows = yield _reading(among.scope, joined, others)
    counted = telling.counted(in_all, np.array([row[2] for row in read], np.int64))
    return Likely(known, _pieces(read, known.model), counted)


def is_ready(known: Standing, among: Among) -> bool:
    """Tell whether the database has the indexes that a question needs."""
    width = None if among.asked.vector is None else len(among.asked.vector)
    return set(indexes.wanted(among.scope, width)) <= known.indexes


_SETTINGS = Statement(
    "SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true), "
    "set_config('hnsw.ef_search', %s, true), set_config('jit', 'off', true)",
    [str(_SEARCH_WIDTH)],
)


def _counting(among: Among) -> Statement:
    """Return what counts the memories among which is asked, up to where an index is better."""
    if not among.filtered:
        return Statement("SELECT NULL::bigint")
    where, parameters = among.where()
    return Statement(
        "SELECT count(*) FROM (SELECT 1 FROM langchain_kronvex.records AS r "
        f"WHERE {where} LIMIT %s) AS few",
        [*parameters, _NARROW + 1],
    )


def _by_words(among: Among, words: WordQuery) -> Statement:
    """Return what finds, for each set of words, the memories that hold all of it."""
    where, parameters = among.where()
    found = f"{indexes.words_of('r.content')} @@ {indexes.query_words('w.query')}"
    return Statement(
        "SELECT w.n, f.seqs FROM unnest(%s::text[]) WITH ORDINALITY AS w (query, n) "
        "CROSS JOIN LATERAL (SELECT string_agg(int8send(m.seq), ''::bytea) AS seqs FROM ("
        f"SELECT r.seq FROM langchain_kronvex.records AS r WHERE {where} AND {found} "
        "LIMIT %s) AS m) AS f WHERE f.seqs IS NOT NULL",
        [words.queries, *parameters, MOST_FOUND],
    )


def _latest(among: Among) -> Statement:
    """Return what finds the youngest, with which a question that finds little is answered."""
    where, parameters = among.where()
    return Statement(
        f"SELECT r.seq FROM langchain_kronvex.records AS r WHERE {where} "
        "ORDER BY r.seq DESC LIMIT %s",
        [*parameters, max(_LATEST, among.limit)],
    )


def _nearest(among: Among, *, narrow: bool) -> list[Statement]:
    """Return what finds the memories nearest in meaning, the nearest first."""
    vector = among.asked.vector
    if vector is None:
        return []
    where, parameters = among.where()
    width, count = len(vector), max(_BY_MEANING, among.limit)
    there = f"{where} AND r.vector IS NOT NULL AND {indexes.has_width(width)}"
    to_query = "OPERATOR(pgvector.<#>) %s::real[]::pgvector.halfvec"
    if narrow:
        return [
            Statement(
                "SELECT r.seq FROM (SELECT r.seq, r.vector FROM langchain_kronvex.records AS r "
                f"WHERE {there} OFFSET 0) AS r ORDER BY r.vector {to_query} LIMIT %s",
                [*parameters, Vector(vector), count],
            )
        ]
    by = f"{indexes.vector_of('r.vector', width)} {to_query}"
    return [
        Statement(
            f"SELECT r.seq FROM langchain_kronvex.records AS r WHERE {there} "
            f"ORDER BY {by}({width}) LIMIT %s",
            [*parameters, Vector(vector), count],
        )
    ]


# -- their neighbours --------------------------------------------------------------------------


def _reading(scope: UUID, joined: Iterable[int], others: Iterable[int]) -> Statement:
    """Return what reads memories, and the turns before and after some of them."""
    whose, same = indexes.of_owner(scope), indexes.of_owner(scope, "x.")

    def near(comparison: str, order: str, count: int) -> str:
        return (
            "ARRAY(SELECT x.seq FROM langchain_kronvex.records AS x "
            f"WHERE {same} AND x.session_id = r.session_id AND x.seq {comparison} r.seq "
            f"AND {_TURN} ORDER BY x.seq {order} LIMIT {count})"
        )

    is_turn = _TURN.replace("x.", "r.")
    return Statement(
        "WITH j AS MATERIALIZED ("
        f"SELECT r.seq, {near('<', 'DESC', len(BEFORE))} AS before, "
        f"{near('>', 'ASC', len(AFTER))} AS after FROM unnest(%s::bigint[]) AS n (seq) "
        "JOIN langchain_kronvex.records AS r ON r.seq = n.seq "
        f"WHERE {whose} AND {is_turn}), "
        "w AS MATERIALIZED (SELECT unnest(%s::bigint[]) AS seq "
        "UNION SELECT unnest(before) FROM j UNION SELECT unnest(after) FROM j) "
        f"SELECT j.before, j.after, {rows.INDEX_COLUMNS} "
        # Number by number: of `= ANY` the planner may make a look at all of the owner's records.
        "FROM unnest(ARRAY(SELECT w.seq FROM w)) AS n (seq) "
        "JOIN langchain_kronvex.records AS r ON r.seq = n.seq LEFT JOIN j ON j.seq = r.seq "
        f"WHERE {whose} ORDER BY r.seq",
        [list(joined), [*joined, *others]],
    )


def _pieces(read: Rows, model: Model | None) -> list[Piece]:
    """Put what was read together again: a piece for each run of turns without a gap."""
    follows: dict[int, int] = {}
    opens: set[int] = set()
    for row in read:
        if row[0] is None:
            continue
        run = [*reversed(row[0]), row[2], *row[1]]
        follows.update(zip(run[1:], run, strict=False))
        if len(row[0]) < len(BEFORE):
            opens.add(run[0])
    pieces: list[Piece] = []
    piece_of: dict[int, Piece] = {}
    for row in read:
        found = _index_row(row[2:], model)
        piece = piece_of.get(follows.get(found.seq, -1))
        if piece is None or found.form is not Form.TURN:
            piece = Piece([], found.seq in opens)
            pieces.append(piece)
        piece.rows.append(found)
        piece_of[found.seq] = piece
    return pieces
