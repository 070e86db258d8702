"""One owner's index: it finds the same whether it was filled step by step or at once."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inside import Floats, Form, IndexRow, ScopeIndex, search

from .conversations import (
    NOW,
    VECTOR,
    WAYS,
    answers,
    asked,
    assert_alike,
    built,
    conversations,
    exchange,
    row,
    similarities,
    statement,
    unit,
)

Batches = list[list[IndexRow]]


@st.composite
def histories(draw: st.DrawFn, rows: list[IndexRow]) -> Batches:
    """Draw the history of memories: each may have been written before with other values.

    A batch holds what was written since the last one, each memory once, as a store reads it.
    """
    versions = [draw(lives(final)) for final in rows]
    batches: Batches = []
    waiting: dict[int, list[IndexRow]] = {}
    unwritten = list(zip(rows, versions, strict=True))
    while unwritten or waiting:
        batch: dict[int, IndexRow] = {}
        for _ in range(draw(st.integers(1, 6))):
            known = draw(st.integers(0, len(waiting) - 1)) if waiting else None
            if unwritten and (known is None or draw(st.booleans())):
                final, life = unwritten.pop(0)
                seq = final.seq
            elif known is not None:
                seq = list(waiting)[known]
                life = waiting.pop(seq)
            else:
                break
            batch[seq] = life[0]
            if life[1:]:
                waiting[seq] = life[1:]
        batches.append([batch[seq] for seq in sorted(batch)])
    return batches


@st.composite
def lives(draw: st.DrawFn, final: IndexRow) -> list[IndexRow]:
    """Draw an earlier state of a memory: vectors are added later, and replies grow."""
    said = final.reply.split()
    ends = sorted(draw(st.lists(st.integers(0, len(said)), max_size=3)))
    embedded = False
    life = []
    for end in ends:
        embedded = embedded or draw(st.booleans())
        life.append(
            replace(
                final,
                reply=" ".join(said[:end]),
                expires=draw(st.sampled_from([math.inf, NOW + 5, NOW - 5])),
                created=final.created - draw(st.sampled_from([0, 5000, 10**7])),
                memory_type="fact" if final.form is Form.STATEMENT else final.memory_type,
                vector=draw(VECTOR) if embedded and final.vector is not None else None,
            )
        )
    return [*life, final]


FORMS = {
    "turns": [Form.TURN],
    "exchanges": [Form.EXCHANGE],
    "statements": [Form.STATEMENT],
    "mixed": [Form.TURN, Form.TURN, Form.EXCHANGE, Form.STATEMENT],
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("vectors", ["with vectors", "without"])
@pytest.mark.parametrize("forms", FORMS)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_a_changed_index_finds_the_same_as_a_new_one(
    way: str, vectors: str, forms: str, data: st.DataObject
) -> None:
    vector = data.draw(VECTOR) if vectors == "with vectors" else None
    drawn = st.none() if vector is None else st.none() | VECTOR
    rows = data.draw(conversations(forms=FORMS[forms], vectors=drawn))
    index = ScopeIndex()
    for batch in data.draw(histories(rows)):
        index.apply(batch)
        if data.draw(st.booleans()):
            answers(index, vector, way)  # asking in between changes nothing
    assert_alike(index, built(rows), vector, way)
    assert len(index) == len(rows)


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=15, deadline=None)
@given(rows=conversations(), vector=VECTOR)
def test_appending_one_by_one_equals_building_at_once(
    way: str, rows: list[IndexRow], vector: Floats
) -> None:
    assert_alike(built(*[[r] for r in rows]), built(rows), vector, way)


@settings(max_examples=15, deadline=None)
@given(conversations(), VECTOR)
def test_adding_the_same_memory_again_changes_nothing(rows: list[IndexRow], vector: Floats) -> None:
    assert_alike(built(rows, rows, rows[:3], rows[::-1]), built(rows), vector)


def test_an_empty_index_has_no_entries() -> None:
    index = built([])
    assert (len(index), index.vectors, index.neighbours.conversations) == (0, None, 0)


def test_turns_within_an_hour_of_a_session_are_one_conversation() -> None:
    def conversations_of(**fields: object) -> int:
        return built(
            [row(1, "the cello is old"), row(2, "it is here", **fields)]
        ).neighbours.conversations

    assert conversations_of() == 1
    assert conversations_of(created=NOW + 3600) == 1
    assert conversations_of(created=NOW + 3601) == 2
    assert conversations_of(created=NOW - 3601) == 2
    assert conversations_of(session_id="other") == 2
    assert conversations_of(form=Form.STATEMENT) == 1
    interrupted = [row(1, "a"), row(2, "b", session_id="other"), row(3, "c")]
    assert built(interrupted).neighbours.conversations == 2


def test_calendar_parts_of_any_date_are_those_of_utc() -> None:
    moments = [-62_135_596_800.0, -1.0, 0.0, 86_399.999, 951_782_400.0, 253_402_300_799.0]
    index = built([row(n, "x", created=moment) for n, moment in enumerate(moments)])
    parts = list(
        zip(
            *(index.table[part].tolist() for part in ("year", "month", "day")),
            strict=True,
        )
    )
    assert parts == [
        (1, 1, 1), (1969, 12, 31), (1970, 1, 1), (1970, 1, 1), (2000, 2, 29), (9999, 12, 31),
    ]  # fmt: skip


def test_the_index_contains_no_text_and_reports_its_size() -> None:
    vector = unit([1, 0, 0, 0])
    few, many = (
        built([exchange(n, f"secretword{n} tea", "ok", vector=vector) for n in range(size)])
        for size in (2, 200)
    )
    assert many.nbytes > few.nbytes > 0
    assert many.nbytes > 200 * 4
    assert "secretword1 tea" not in repr(vars(many))


def test_replies_are_counted_separately() -> None:
    rows = [exchange(1, "tea", "green leaves and green cups"), exchange(2, "coffee", "")]
    index = built(rows)
    assert index.postings.document_frequency("green") == 0
    assert index.replies.document_frequency("green") == 1
    assert (index.average_length, index.average_reply_length) == (1, 4)
    assert built([row(1, "a long tea time")]).average_reply_length == 1


def test_a_reply_that_grows_counts_each_word_once() -> None:
    parts = ["green", "green leaves", "green leaves green cups"]
    index = built(*[[exchange(1, "tea", part)] for part in parts])
    whole = built([exchange(1, "tea", parts[-1])])
    assert index.average_reply_length == whole.average_reply_length == 4
    for query in ("green", "leaves", "cups"):
        assert similarities(index, query) == similarities(whole, query)
        assert similarities(index, query)[1] > 0


def test_a_statement_may_become_another_type() -> None:
    index = built([statement(1, "tea")])
    index.apply([statement(1, "tea", memory_type="fact")])
    assert search(index, asked("tea", memory_type="semantic")).seqs == []
    assert search(index, asked("tea", memory_type="fact")).seqs == [1]


def test_what_is_kept_between_searches_follows_every_change() -> None:
    vectors = [unit([float(n % 5), 1.0, 2.0, float(n % 3)]) for n in range(12)]
    rows = [
        row(n, f"ana has tea {n % 7} cat", session_id=f"s{n % 3}", vector=vectors[n])
        for n in range(12)
    ]
    rows += [statement(20, "always brew green tea"), exchange(21, "where is my cat?", "at home")]
    rows += [row(22, "which tea does ana like?"), replace(rows[3], expires=NOW - 1)]
    index = ScopeIndex()
    for added in rows:
        index.apply([added])
        for query in ("when did ana have tea?", "cat home", "ana"):
            request = asked(query, vector=vectors[1], limit=20)
            kept = search(index, request)
            index.derived.clear()
            assert search(index, request) == kept
