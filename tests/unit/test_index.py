"""One owner's index: told piece by piece or at once, it answers alike."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_kronvex.index import IndexRow, ScopeIndex
from langchain_kronvex.ranking import Form
from langchain_kronvex.search import Answer, Question, _session_best, search

NOW = 1_750_000_000.0
WORDS = (
    "ana tom tea cello garage lisbon when where? i my yesterday 2023 march the of running runs"
).split()
QUERIES = [
    "when did ana play the cello in lisbon?", "tom", "tea tea garage", "march 2023", "the of",
    "where", "unknown",
]  # fmt: skip


def row(seq: int, text: str, **fields) -> IndexRow:
    return IndexRow(
        **{
            "seq": seq,
            "text": text,
            "said": fields.get("created", NOW),
            "memory_type": "episodic",
            "form": Form.TURN,
            "session_id": "s",
            "created": NOW,
            "expires": math.inf,
            "vector": None,
            **fields,
        }
    )


def asked(query: str, **fields) -> Question:
    return Question(**{"query": query, "vector": None, "limit": 99, "now": NOW, **fields})


def unit(values: list[float]) -> np.ndarray:
    vector = np.array(values, np.float32)
    return vector / max(float(np.linalg.norm(vector)), 1e-6)


VECTOR = st.lists(st.integers(-3, 3).map(float), min_size=4, max_size=4).map(unit)


@st.composite
def conversations(draw: st.DrawFn) -> list[IndexRow]:
    moment = NOW - 10**6
    rows: list[IndexRow] = []
    for seq in range(1, draw(st.integers(1, 18)) + 1):
        moment += draw(st.sampled_from([0.0, 30.0, 3000.0, 4000.0, -100.0]))
        form = draw(st.sampled_from([Form.TURN, Form.TURN, Form.EXCHANGE, Form.STATEMENT]))
        length = draw(st.sampled_from([1, 3, 6, 90]))
        chosen = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=6))
        rows.append(
            row(
                seq,
                " ".join((chosen * 90)[:length]),
                form=form,
                memory_type="semantic" if form is Form.STATEMENT else "episodic",
                session_id=draw(st.sampled_from(["s1", "s2", ""])),
                created=moment,
                expires=draw(st.sampled_from([math.inf, math.inf, NOW - 1, NOW + 1])),
                vector=draw(st.none() | VECTOR),
            )
        )
    return rows


def built(*batches: list[IndexRow]) -> ScopeIndex:
    index = ScopeIndex()
    for batch in batches:
        index.apply(batch)
    return index


def answers(index: ScopeIndex, vector: np.ndarray) -> list[Answer]:
    return [
        search(index, asked(query, vector=v, session_id=session_id))
        for query in QUERIES[:4]
        for v, session_id in ((None, None), (vector, None), (vector, "s1"))
    ]


def assert_alike(one: ScopeIndex, other: ScopeIndex, vector: np.ndarray) -> None:
    for first, second in zip(answers(one, vector), answers(other, vector), strict=True):
        for scores in ("similarity", "probability"):
            told = dict(zip(first.seqs, getattr(first, scores), strict=True))
            expected = dict(zip(second.seqs, getattr(second, scores), strict=True))
            assert told == pytest.approx(expected, abs=1e-4)


@settings(max_examples=40, deadline=None)
@given(conversations(), VECTOR, st.data())
def test_appending_one_by_one_equals_building_at_once(
    rows: list[IndexRow], vector: np.ndarray, data: st.DataObject
) -> None:
    whole = built(rows)
    assert_alike(built(*[[r] for r in rows]), whole, vector)
    cut = data.draw(st.integers(0, len(rows)))
    halves = built(rows[:cut])
    answers(halves, vector)  # asking in between changes nothing
    halves.apply(rows[cut:])
    assert_alike(halves, whole, vector)


@settings(max_examples=40, deadline=None)
@given(conversations(), VECTOR, st.randoms(use_true_random=False))
def test_vectors_that_arrive_late_in_any_order_count_the_same(
    rows: list[IndexRow], vector: np.ndarray, random
) -> None:
    late = built([replace(r, vector=None) for r in rows])
    answers(late, vector)
    arriving = [r for r in rows if r.vector is not None]
    random.shuffle(arriving)
    for r in arriving:
        late.apply([r])
        if random.random() < 0.3:
            answers(late, vector)
    assert_alike(late, built(rows), vector)


PATCHES = st.lists(
    st.tuples(
        st.sampled_from([math.inf, NOW + 5, NOW + 1e6]),
        st.sampled_from([0, 5000, 10**7]),
        st.booleans(),
    ),
    min_size=18,
    max_size=18,
)


@settings(max_examples=40, deadline=None)
@given(conversations(), VECTOR, PATCHES)
def test_a_patch_counts_as_if_it_had_been_there(
    rows: list[IndexRow], vector: np.ndarray, patches: list[tuple[float, float, bool]]
) -> None:
    other = [
        replace(
            r,
            expires=expires,
            created=r.created + later,
            memory_type="context" if retyped and r.form is Form.STATEMENT else r.memory_type,
        )
        for r, (expires, later, retyped) in zip(rows, patches, strict=False)
    ]
    patched = built([replace(r, expires=math.inf) for r in rows])
    answers(patched, vector)
    patched.apply(other)
    assert len(patched) == len(rows)
    assert_alike(patched, built(other), vector)


@settings(max_examples=40, deadline=None)
@given(conversations(), VECTOR)
def test_scores_are_shares_and_a_smaller_limit_is_a_shorter_answer(
    rows: list[IndexRow], vector: np.ndarray
) -> None:
    index = built(rows)
    for query in QUERIES:
        for v in (None, vector):
            whole = search(index, asked(query, vector=v))
            visible = [r.seq for r in rows if r.expires > NOW]
            assert sorted(whole.seqs) == visible
            assert whole.similarity == sorted(whole.similarity, reverse=True)
            assert all(0 <= value <= 1 for value in whole.similarity)
            assert all(0 < value < 1 for value in whole.probability)
            for limit in (1, 3):
                some = search(index, asked(query, vector=v, limit=limit))
                assert some.similarity == whole.similarity[:limit]
            for threshold in (0.1, 0.5, 0.9):
                some = search(index, asked(query, vector=v, threshold=threshold))
                assert some.similarity == [s for s in whole.similarity if s >= threshold]


def test_an_empty_index_answers_nothing() -> None:
    assert search(ScopeIndex(), asked("tea")) == Answer([], [], [])
    assert len(ScopeIndex()) == 0
    assert search(built([row(1, "tea", expires=NOW)]), asked("tea")) == Answer([], [], [])


def test_a_turn_is_found_by_the_words_around_it_within_an_hour_of_its_session() -> None:
    def neighbour(**fields) -> float:
        index = built([row(1, "the cello is old"), row(2, "it is here", **fields)])
        found = search(index, asked("cello"))
        return dict(zip(found.seqs, found.similarity, strict=True))[2]

    assert neighbour() > 0
    assert neighbour(created=NOW + 3600) > 0
    assert neighbour(created=NOW + 3601) == pytest.approx(0, abs=0.05)
    far = built([row(1, "the cello"), row(2, "here", session_id="other")])
    assert far.table["near"].max() == -1
    assert built([row(1, "the cello"), row(2, "here", created=NOW + 3601)]).conversations == 2
    assert built([row(1, "the cello"), row(2, "word " * 81)]).table["near"].max() == -1
    statement = built([row(1, "the cello"), row(2, "here", form=Form.STATEMENT)])
    assert statement.table["near"].max() == -1


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
    alone = row(9, "x", form=Form.STATEMENT)
    elsewhere = row(8, "y", session_id="other")
    index = built([alone, *[row(n, f"turn {n}") for n in range(4)], elsewhere])
    told = _session_best(index, np.array([7, *relevance, 0.75], np.float32))
    assert told.tolist() == pytest.approx([0, mean, mean, mean, mean, 0.25])


def test_a_turn_borrows_less_the_farther_its_neighbour_is() -> None:
    texts = ["zero", "one", "two", "the cello", "four", "five", "six", "seven"]
    index = built([row(n, text) for n, text in enumerate(texts)])
    found = search(index, asked("cello"))
    order = [seq for seq in found.seqs if seq in (3, 4, 5, 6)]
    assert order == [3, 4, 5, 6]
    similar = dict(zip(found.seqs, found.similarity, strict=True))
    assert similar[2] > similar[1] > similar[0]
    assert similar[6] > similar[7]


def test_dates_are_words_of_turns() -> None:
    may, june = 1_683_417_600.0, 1_686_096_000.0  # 7 May 2023, 7 June 2023
    index = built([row(1, "tea", created=may), row(2, "tea", created=june)])
    assert search(index, asked("what was said in May 2023?")).seqs[0] == 1
    assert search(index, asked("what was said in June 2023?")).seqs[0] == 2
    statements = built(
        [
            row(1, "tea", created=may, form=Form.STATEMENT),
            row(2, "tea", created=june, form=Form.STATEMENT),
        ]
    )
    assert search(statements, asked("May")).similarity == [0, 0]


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


def test_types_and_sessions_never_seen_match_nothing() -> None:
    index = built([row(1, "tea")])
    assert search(index, asked("tea", memory_type="fact")).seqs == []
    assert search(index, asked("tea", session_id="episodic")).seqs == []
    assert search(index, asked("tea", session_id="s", memory_type="episodic")).seqs == [1]
    assert (index.code("nobody"), index.opener("nobody")) == (-1, -1)


def test_the_index_holds_no_text_and_knows_its_size() -> None:
    index = built([row(n, f"secretword{n} tea", vector=unit([1, 0, 0, 0])) for n in range(200)])
    assert index.nbytes > 200 * 4 * 4
    assert "secretword1 tea" not in repr(vars(index))


def test_meaning_finds_what_words_do_not() -> None:
    index = built(
        [
            row(1, "the cello", form=Form.STATEMENT, vector=unit([1, 0, 0, 0])),
            row(2, "the car", form=Form.STATEMENT, vector=unit([0, 1, 0, 0])),
            row(3, "no vector yet", form=Form.STATEMENT),
        ]
    )
    found = search(index, asked("instrument", vector=unit([1, 0, 0, 0])))
    assert found.seqs[0] == 1
    assert found.similarity[0] > 0.5
    assert found.similarity[1:] == [0, 0]
    by_words = search(index, asked("vector", vector=unit([0, 0, 1, 0])))
    assert by_words.seqs[0] == 3
