"""The inverted index, compared with plain counting."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from inside import Postings, text_features

from .conversations import WORDS

NAMES = [word for word in WORDS if word.isalpha()]
TEXTS = st.lists(st.lists(st.sampled_from(NAMES), max_size=8).map(" ".join), max_size=12)
Found = dict[tuple[int, int], float]


def holds(*batches: list[str]) -> Postings:
    postings, start = Postings(), 0
    for texts in batches:
        places = np.arange(start, start + len(texts))
        postings.add(text_features(texts).terms, places)
        start += len(texts)
    return postings


def looked_up(postings: Postings, *rows: list[tuple[str, float]]) -> Found:
    """Return the sum of what was found, by row and place."""
    found = postings.entries(enumerate(rows))
    total: Found = {}
    for row, place, value in zip(found.row, found.place, found.value, strict=True):
        key = (int(row), int(place))
        total[key] = total.get(key, 0.0) + float(value)
    return total


def test_a_term_is_found_where_it_occurs_and_counted() -> None:
    postings = holds(["tea and tea", "coffee", "more tea"])
    assert looked_up(postings, [("tea", 1.0)]) == {(0, 0): 2, (0, 2): 1}
    assert looked_up(postings, [("coffe", 0.5)], [("tea", 2.0)]) == {
        (0, 1): 0.5,
        (1, 0): 4,
        (1, 2): 2,
    }
    assert (
        postings.document_frequency("tea"),
        postings.document_frequency("unknown"),
        len(postings),
    ) == (2, 0, 2)


def test_unknown_terms_are_not_found() -> None:
    for postings in (Postings(), holds(["tea"])):
        for rows in ((), ([],), ([("unknown", 1.0)],)):
            assert looked_up(postings, *rows) == {}
    assert (len(Postings()), Postings().nbytes) == (0, 0)


@given(TEXTS, st.data())
def test_batches_make_no_difference(texts: list[str], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(texts)))
    counts = [Counter(text.split()) for text in texts]
    for postings in (holds(texts), holds(texts[:cut], texts[cut:])):
        for stem, word in {"tea": "tea", "cello": "cello", "run": "running"}.items():
            expected = {(0, n): c[word] for n, c in enumerate(counts) if c[word]}
            if stem == "run":
                for n, count in enumerate(counts):
                    if count["runs"]:
                        expected[0, n] = count["runs"] + count["running"]
            assert looked_up(postings, [(stem, 1.0)]) == expected
            assert postings.document_frequency(stem) == len(expected)


@given(TEXTS, st.lists(st.tuples(st.integers(0, 11), st.sampled_from(NAMES)), max_size=12))
def test_words_added_later_count_the_same(texts: list[str], more: list[tuple[int, str]]) -> None:
    more = [(place, word) for place, word in more if place < len(texts)]
    grown = holds(texts)
    for place, word in more:
        features = text_features([word]).terms
        grown.add_more(place, Counter(features.names))
    whole = list(texts)
    for place, word in more:
        whole[place] += f" {word}"
    expected = holds(whole)
    for stem in text_features(whole).terms.names:
        assert looked_up(grown, [(stem, 1.0)]) == looked_up(expected, [(stem, 1.0)])
        assert grown.document_frequency(stem) == expected.document_frequency(stem)
    assert grown.nbytes == expected.nbytes


def test_entries_do_not_change_when_the_index_grows() -> None:
    postings = holds(["tea"])
    found = postings.entries([(0, [("tea", 1.0)])])
    postings.add_more(0, {"tea": 5})
    postings.add(text_features(["tea"]).terms, np.array([1]))
    assert (found.place.tolist(), found.value.tolist()) == ([0], [1])


def test_a_word_of_very_many_memories_takes_few_bytes() -> None:
    few, many = holds(["tea"]), holds(["tea"] * 10_000)
    assert 79_000 <= many.nbytes - few.nbytes <= 16 * 10_000
