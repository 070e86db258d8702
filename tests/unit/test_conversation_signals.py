"""The signals of turns other than their words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inside import ConversationOrder, Form, ScopeIndex, session_best

from .conversations import built, row, similarities, statement


@pytest.mark.parametrize(
    ("relevance", "mean"),
    [
        ([1, 0.5, 0.25, 0], 1.75 / 3),
        ([1, 1, 0.5, 0.25], 2.5 / 3),
        ([1, 1, 1, 0], 1),
        ([0.5, 0.5, 0.5, 0.5], 0.5),
        ([0, 0, 0, 0], 0),
        ([-1, 1, -1, -1], 1 / 3),
    ],
)
def test_the_three_best_turns_count_even_when_they_are_equal(
    relevance: list[float], mean: float
) -> None:
    elsewhere = row(8, "y", session_id="other")
    index = built([statement(9, "x"), *[row(n, f"turn {n}") for n in range(4)], elsewhere])
    scores = np.array([7, *relevance, 0.75], np.float32)
    told = session_best(index.conversation_order(), scores)
    assert told.tolist() == pytest.approx([0, mean, mean, mean, mean, 0.75])


@given(st.lists(st.tuples(st.integers(-1, 4), st.sampled_from([-1, 0, 0.5, 1, 2])), max_size=40))
def test_the_best_of_a_session_by_sorting(turns: list[tuple[int, float]]) -> None:
    conversation = np.array([c for c, _ in turns], np.int32)
    relevance = np.array([r for _, r in turns], np.float32)
    told = session_best(ConversationOrder.of(conversation), relevance)
    for place, (number, _) in enumerate(turns):
        same = sorted((max(r, 0) for c, r in turns if c == number), reverse=True)
        expected = sum(same[:3]) / min(len(same), 3) if number >= 0 else 0
        assert told[place] == pytest.approx(expected, abs=1e-6)


def test_an_answer_to_a_question_is_preferred() -> None:
    told = [row(1, "Ana: it rains."), row(2, "Ana: the cello.")]
    answered = [row(3, "Ana: it rains?"), row(4, "Ana: the cello.")]
    found = similarities(built(told, [replace(r, session_id="b") for r in answered]), "cello")
    assert found[4] > found[2]
    assert found[1] > found[3]  # and to ask is no answer


def test_a_when_question_prefers_turns_with_a_time() -> None:
    rows = [
        row(1, "Tom repaired it slowly", session_id="a"),
        row(2, "Tom repaired it yesterday", session_id="b"),
    ]
    index = built(rows)
    when, who = (similarities(index, query) for query in ("When was it repaired?", "who repaired?"))
    assert when[2] > when[1]
    assert when[2] - when[1] > who[2] - who[1]


def test_turns_of_the_named_speaker_are_preferred() -> None:
    rows = [
        row(n, f"{'Ana' if n % 2 else 'Tom'}: the cello is old", created=n * 10_000.0)
        for n in range(8)
    ]
    found = similarities(built(rows), "What did Tom say of the cello?")
    assert min(found[n] for n in (0, 2, 4, 6)) > max(found[n] for n in (1, 3, 5, 7))


def test_a_turn_of_a_session_that_fits_is_preferred() -> None:
    fitting = [
        row(n, text)
        for n, text in enumerate(["cello strings", "cello bow", "long " * 81 + "cello"])
    ]
    others = [
        row(n, text, session_id="other")
        for n, text in enumerate(["tea", "a walk", "long " * 81 + "cello"], start=7)
    ]
    found = similarities(built([*fitting, *others]), "cello")
    assert found[2] > found[9]


def relevances(index: ScopeIndex, query: str) -> dict[int, float]:
    return {n: float(np.arctanh(each)) for n, each in similarities(index, query).items()}


@pytest.mark.parametrize("form", [Form.STATEMENT, Form.EXCHANGE], ids=lambda form: form.name)
def test_what_was_told_together_rises_toward_the_best_of_it(form: Form) -> None:
    texts = ("the cello strings", "cello " + "apple pear plum " * 9, "tea")
    others = [row(n, "garage", form=form, session_id=f"{n}") for n in range(4, 13)]

    def found(sessions: str) -> dict[int, float]:
        rows = [
            row(n, text, form=form, session_id=session.strip())
            for n, (text, session) in enumerate(zip(texts, sessions, strict=True), 1)
        ]
        return relevances(built(rows, others), "cello strings")

    apart, together = found("abc"), found("aaa")
    assert together[1] == apart[1] > together[2] > apart[2] > together[3] == 0
    least, most = apart[2], (apart[1] * apart[2]) ** 0.5
    assert together[2] == pytest.approx(least + (1 - 3 / 12) * (most - least), rel=1e-4)
    assert found("   ") == apart  # of no session


def test_a_session_that_holds_everything_lifts_nothing() -> None:
    rows = [statement(1, "cello strings"), statement(2, "cello " + "tea " * 20)]
    apart = [replace(each, session_id=f"{each.seq}") for each in rows]
    assert relevances(built(rows), "cello strings") == relevances(built(apart), "cello strings")
