"""The features of texts other than their terms."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inside import TextFeatures, terms, text_features, words


class Seen(NamedTuple):
    """The features of one text."""

    terms: Counter[str]
    term_count: int
    word_count: int
    opener: str
    asks: bool
    personal: bool
    timed: bool


def seen(found: TextFeatures, text: int = 0) -> Seen:
    counts = found.terms
    of_text = counts.text == text
    names = [counts.names[number] for number in counts.term[of_text]]
    return Seen(
        Counter(dict(zip(names, counts.count[of_text].astype(int).tolist(), strict=True))),
        int(found.term_count[text]),
        int(found.word_count[text]),
        found.first_words[text],
        bool(found.asks[text]),
        bool(found.personal[text]),
        bool(found.timed[text]),
    )


def read(text: str) -> Seen:
    return seen(text_features([text]))


def test_a_text_is_read_whole() -> None:
    found = read("Ana: I saw the cats, and my cats ran yesterday?")
    assert found.terms == {"ana": 1, "saw": 1, "cat": 2, "ran": 1, "yesterday": 1}
    assert (found.term_count, found.word_count, found.opener) == (6, 10, "ana")
    assert (found.asks, found.personal, found.timed) == (True, True, True)


def test_a_text_without_words() -> None:
    assert read("?!") == (Counter(), 0, 0, "", True, False, False)


def test_no_texts() -> None:
    found = text_features([])
    assert (found.first_words, found.asks, found.terms.names) == ([], [], [])
    assert [len(found.term_count), len(found.personal), len(found.terms.count)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("text", "asks"), [("Tea?", True), ("お茶？", True), ("Tea.", False), ("What", False)]
)
def test_questions(text: str, asks: bool) -> None:
    assert read(text).asks is asks


@pytest.mark.parametrize(
    ("text", "personal"),
    [("I like it", True), ("MY tea", True), ("ours", True), ("Ian", False), ("your tea", False)],
)
def test_first_person(text: str, personal: bool) -> None:
    assert read(text).personal is personal


@pytest.mark.parametrize(
    ("text", "timed"),
    [
        ("last week", True),
        ("On Monday", True),
        ("in 2023", True),
        ("at 7", True),
        ("12345", False),
        ("a tea", False),
    ],
)
def test_times(text: str, timed: bool) -> None:
    assert read(text).timed is timed


def test_the_opener_may_be_a_stop_word() -> None:
    assert read("The cats").opener == "the"


TEXTS = st.lists(
    st.lists(
        st.sampled_from("Ana cats cat i the at 7 2023 running ? 日本語".split()), max_size=8
    ).map(" ".join)
    | st.text(max_size=20),
    max_size=6,
)


@given(TEXTS)
def test_reading_together_equals_reading_alone(texts: list[str]) -> None:
    found = text_features(texts)
    assert [seen(found, n) for n in range(len(texts))] == [read(text) for text in texts]


@given(TEXTS)
def test_terms_are_those_of_the_texts_sorted_by_term_then_text(texts: list[str]) -> None:
    found = text_features(texts)
    assert [seen(found, n).terms for n in range(len(texts))] == [Counter(terms(t)) for t in texts]
    assert found.term_count.tolist() == [len(terms(text)) for text in texts]
    assert found.word_count.tolist() == [len(words(text)) for text in texts]
    pairs = list(zip(found.terms.term.tolist(), found.terms.text.tolist(), strict=True))
    assert pairs == sorted(set(pairs))
    assert len(set(found.terms.names)) == len(found.terms.names)
