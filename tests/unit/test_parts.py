"""Indexes of a part: as if all of the owner's memories were there."""

from __future__ import annotations

import random

import numpy as np
import pytest

from langchain_kronvex.recall import prefilter as candidates
from langchain_kronvex.recall.index import IndexRow, ScopeIndex
from langchain_kronvex.recall.ranking import SESSION_GAP_SECONDS
from langchain_kronvex.recall.search import search
from langchain_kronvex.storage.postgres.large_owners.sampled_index import (
    CandidateIndex,
    Counted,
    Piece,
    PiecesIndex,
    Sample,
)

from .conversations import NOW, asked, built, row, unit

SAID = ["we drink green tea", "where is the dog?", "in the garden", "I play chess", "May 2025"]


def said(count: int, sessions: int = 1) -> list[IndexRow]:
    """Return turns, of several sessions in turns, half a minute apart in each."""
    draw = random.Random(1)
    return [
        row(
            n + 1,
            f"{draw.choice(SAID)} {draw.choice(SAID)} {n}",
            session_id=f"s{n % sessions}",
            created=NOW - 40_000_000 + 30.0 * (n // sessions),
            vector=unit([draw.random() for _ in range(4)]),
        )
        for n in range(count)
    ]


def pieces(rows: list[IndexRow]) -> list[Piece]:
    """Return whole sessions."""
    sessions: dict[str, list[IndexRow]] = {}
    for each in rows:
        sessions.setdefault(each.session_id, []).append(each)
    return [Piece(session, opens=True) for session in sessions.values()]


def columns(index: ScopeIndex, name: str) -> dict[int, list[float]]:
    """Return a column by memory."""
    assert index.meanings is not None
    return dict(zip(index.table["seq"].tolist(), index.table[name].tolist(), strict=True))


@pytest.mark.parametrize("column", ["length", "priors", "scale", "own"])
def test_whole_sessions_are_joined_as_in_an_index_of_all(column: str) -> None:
    rows = said(120, sessions=6)
    there, whole = columns(PiecesIndex(pieces(rows)), column), columns(built(rows), column)
    assert all(np.allclose(there[seq], whole[seq], rtol=1e-5) for seq in whole)


def test_a_turn_with_its_neighbours_is_as_in_an_index_of_all() -> None:
    rows = said(60)
    part = PiecesIndex([Piece(rows[20:26], opens=False)])
    for column in ("length", "priors", "scale"):
        there, whole = columns(part, column), columns(built(rows), column)
        assert np.allclose(there[24], whole[24], rtol=1e-5)


def test_pieces_of_one_session_are_one_conversation_but_not_neighbours() -> None:
    rows = said(60)
    part = PiecesIndex([Piece(rows[:3], opens=True), Piece(rows[30:33], opens=False)])
    assert part.conversations == 1
    assert part.table["near"][2].tolist() == [-1, -1, -1, 1, 0]
    first = part.table["priors"][:, 2].tolist()
    assert first == [1, 0, 0, 0, 0, 0]


def test_a_piece_after_a_long_pause_is_another_conversation() -> None:
    rows = said(3)
    late = row(9, "back again", session_id="s0", created=rows[-1].said + SESSION_GAP_SECONDS + 1)
    assert PiecesIndex([Piece(rows, opens=True), Piece([late], opens=False)]).conversations == 2


def test_the_same_memory_in_two_pieces_is_one() -> None:
    rows = said(10)
    assert len(PiecesIndex([Piece(rows[:6], opens=True), Piece(rows[4:], opens=False)])) == 10


def test_a_sample_stands_for_all() -> None:
    sample = Sample(pieces(said(100, sessions=5)), 10_000)
    assert sample.population == 10_000
    assert sample.one_in == 100
    assert 0.2 < sample.share("tea") < 0.6
    assert 0 < sample.share("unheard") < 0.01
    assert Sample([], 0).share("tea") > 0


def test_candidates_are_weighed_as_among_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a sample of everything, the scores are those of the whole index that preselects."""
    monkeypatch.setattr(candidates, "EXACT_UP_TO", 10)
    rows = said(200, sessions=10)
    whole = built(rows)
    part = CandidateIndex(pieces(rows), Sample(pieces(rows), len(rows)), {})
    for query in ("green tea", "where is the dog?", "chess in May", "2025", "nothing of it"):
        for vector in (None, unit([1, 0.2, 0, 0])):
            question = asked(query, vector=vector, limit=10)
            there, all_ = search(part, question), search(whole, question)
            assert np.allclose(there.similarity, all_.similarity, atol=0.02)


def test_what_the_store_has_counted_goes_before_the_sample() -> None:
    rows = said(40)
    sample = Sample(pieces(rows), 4000)
    part = CandidateIndex([Piece(rows[:4], opens=True)], sample, {"tea": Counted(7, 0)})
    here = part.postings.holding("tea")
    assert part.holding("tea") == max(7, here)
    assert part.holding("chess") == 100 * sample.holding("chess")
    assert part.population == 4000


def test_words_that_the_store_takes_for_others_are_counted_in_proportion() -> None:
    # To the store all eight hold the word, as if it had one stem with the other; here two do.
    rows = [row(n, "a cheese" if n % 4 else "this chess") for n in range(8)]
    part = CandidateIndex(
        [Piece(rows, opens=True)], Sample(pieces(rows), 4000), {"chess": Counted(400, 8)}
    )
    assert part.holding("chess") == 100


def test_nobody_left_is_no_error() -> None:
    empty = CandidateIndex([], Sample([], 0), {})
    assert search(empty, asked("tea")).seqs == []
