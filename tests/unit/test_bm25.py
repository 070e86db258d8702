"""The scores of memories by the words of a query."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from inside import (
    Form,
    IndexRow,
    IndexView,
    ParsedQuery,
    ScopeIndex,
    parse_query,
    ranking,
    reply_scores,
    word_scores,
)

from .conversations import AT, NOW, QUERIES, built, conversations, exchange, row, statement, unit

MAY, JUNE = 1_683_417_600.0, 1_686_096_000.0  # 7 May 2023, 7 June 2023


def by_words(index: ScopeIndex, query: str, *, expand: bool = False) -> list[float]:
    parsed = parsed_query(index, query, expand=expand)
    scores = dict(word_scores(IndexView(index, None, NOW), parsed))
    return scores["related" if expand else "words"].tolist()


def parsed_query(index: ScopeIndex, query: str, *, expand: bool) -> ParsedQuery:
    return parse_query(index, query, unit([1, 0]) if expand else None, AT)


def by_replies(index: ScopeIndex, query: str) -> list[float]:
    return reply_scores(
        IndexView(index, None, NOW), parsed_query(index, query, expand=False)
    ).tolist()


def told(*texts: str, **fields: object) -> ScopeIndex:
    return built([statement(n, text, **fields) for n, text in enumerate(texts)])


def test_rare_words_count_more_and_each_word_adds() -> None:
    common = [f"green{n} tea" for n in range(40)]
    scores = by_words(told(*common, "old cello", "cello tea", "other"), "tea or cello?")
    assert scores[41] > scores[40] > scores[0] > scores[42] == 0


def test_forms_of_a_word_are_one_word() -> None:
    scores = by_words(told("Ana runs", "Ana is running", "Ana ran"), "run")
    assert scores[0] == scores[1] > scores[2] == 0


def test_a_word_of_most_memories_does_not_count() -> None:
    rows = [f"tea {n}" for n in range(150)]
    assert by_words(told(*rows), "tea") == [0] * 150
    assert by_words(told(*rows[:40]), "tea")[0] > 0


@pytest.mark.parametrize("query", ["", "the of and", "?", "unknown", "日本"])
@pytest.mark.parametrize("expand", [False, True])
def test_a_query_of_common_words_scores_nothing(query: str, expand: bool) -> None:
    index = built([exchange(1, "tea", "green leaves"), row(2, "cello")])
    assert by_words(index, query, expand=expand) == [0, 0]
    assert by_replies(index, query) == [0, 0]


def test_related_words_count_less_than_the_word_itself() -> None:
    index = told("my doctor called", "my physician called", "my bicycle called")
    assert by_words(index, "doctor")[1:] == [0, 0]
    exact, like, other = by_words(index, "doctor", expand=True)
    assert exact > like > other == 0


def test_a_long_query_is_read_by_its_rarest_words() -> None:
    index = told(*[f"common{n} word{n % 9}" for n in range(90)], "cello")
    query = " ".join(f"word{n % 9} common{n} absent{n}" for n in range(40)) + " cello"
    found = parsed_query(index, query, expand=False)
    assert len(found.terms) <= ranking.MAX_QUERY_TERMS
    assert len(set(found.terms)) == len(found.terms)
    assert "cello" in found.all_terms


def test_a_turn_borrows_more_words_from_nearer_turns() -> None:
    texts = ["zero", "one", "two", "the cello", "four", "five", "six", "seven"]
    scores = by_words(built([row(n, text) for n, text in enumerate(texts)]), "cello")
    assert scores[3] > scores[4] > scores[5] > scores[6] > scores[7] == 0
    assert scores[3] > scores[2] > scores[1] > scores[0] == 0


@pytest.mark.parametrize(
    "other",
    [
        row(2, "here", created=NOW + 3601),
        row(2, "here", session_id="other"),
        row(2, "word " * 81),
        row(2, "here", form=Form.STATEMENT),
        exchange(2, "here", "there"),
    ],
)
def test_only_neighbours_borrow_words(other: IndexRow) -> None:
    assert by_words(built([row(1, "the cello is old"), row(2, "here")]), "cello")[1] > 0
    assert by_words(built([row(1, "the cello is old"), other]), "cello")[1] == 0


def test_the_date_counts_as_words_except_for_statements() -> None:
    for form in (Form.TURN, Form.EXCHANGE):
        rows = [
            row(1, "tea", created=MAY, form=form, session_id="a"),
            row(2, "tea", created=JUNE, form=form, session_id="b"),
        ]
        may, june = by_words(built(rows), "in May 2023")
        assert may > june > 0
        may_7, may_9 = (by_words(built(rows), f"on May {day}")[0] for day in (7, 9))
        assert may_7 > may_9 > 0
        assert by_words(built(rows), "route 7")[0] == 0
        assert by_words(built(rows), "2022") == [0, 0]
    assert by_words(told("tea", created=MAY), "May 2023") == [0]


def test_replies_are_scored_by_their_own_words_alone() -> None:
    index = built(
        [
            exchange(1, "which tea?", "green leaves"),
            exchange(2, "which leaves?", "none"),
            statement(3, "green leaves"),
            exchange(4, "which tea?", "green leaves " + "and much more besides that " * 50),
        ]
    )
    short, none, no_reply, long = by_replies(index, "green leaves")
    assert short > long > none == no_reply == 0
    assert by_replies(index, "tea") == [0, 0, 0, 0]


@settings(max_examples=30, deadline=None)
@given(conversations())
def test_scores_are_below_one_and_expired_memories_score_nothing(
    rows: list[IndexRow],
) -> None:
    index = built(rows)
    gone = [n for n, each in enumerate(rows) if each.expires <= NOW]
    for query in QUERIES:
        for scores in (
            by_words(index, query),
            by_words(index, query, expand=True),
            by_replies(index, query),
        ):
            assert all(0 <= score < 1 for score in scores)
        assert all(by_replies(index, query)[n] == 0 for n in gone)
