"""Words that no memory holds, and the held ones that are meant by them."""

from __future__ import annotations

import difflib
import random
import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inside import Form, Postings, Spelling, stems, text_features

from .conversations import NOW, built, row, similarities


def holding(*texts: str) -> Spelling:
    postings = Postings()
    add(postings, *texts)
    return Spelling(postings)


def add(postings: Postings, *texts: str) -> None:
    postings.add(text_features(texts).terms, np.arange(len(texts)))


@pytest.mark.parametrize(
    ("missing", "held"),
    [
        ("eror", "error"),
        ("teh", None),  # three letters may be anything
        ("accordeon", "accordion"),
        ("saxofone", "saxophone"),
        ("marmelade", "marmalade"),
        ("bicylce", "bicycle"),
        ("vuejs", None),
        ("sveltekit", "svelte"),
        ("svelt", "svelte"),
        ("k8s", "kubernetes"),
        ("kubernetes", "k8s"),
        ("tv", "television"),
        ("zzzzzz", None),
        ("horse", None),
    ],
)
def test_what_is_meant(missing: str, held: str | None) -> None:
    others = "Granite lighthouse keepers whistle; svelte is fine."
    spelling = holding(f"{others} {held or 'house'}")
    wanted = stems([held])[0] if held else None
    assert spelling.meant(stems([missing])[0]) == wanted


def test_a_usual_name_is_preferred_to_one_spelt_alike() -> None:
    assert holding("An author needs authentication").meant("auth") == stems(["authentication"])[0]


def test_terms_that_are_added_later_are_found() -> None:
    postings = Postings()
    spelling = Spelling(postings)
    assert spelling.meant("acordion") is None
    add(postings, "accordion")
    assert spelling.meant("acordion") == "accordion"
    add(postings, "日本語 éclair naïveté acordions")
    assert spelling.meant("acordeon") in ("acordion", "accordion")


@pytest.mark.parametrize(
    "term", ["", "a", "é", "日本", "\x00", "\ud800", "x" * 33, "x" * 10_000, "שלום"]
)
def test_terms_of_other_scripts_and_lengths_have_none(term: str) -> None:
    assert holding("xylophone 日本語 שלום עולם").meant(term) is None


TERMS = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=12)


@settings(max_examples=200)
@given(st.lists(TERMS | st.text(min_size=1, max_size=6), max_size=8), TERMS | st.text(max_size=40))
def test_what_is_meant_is_held_or_none(texts: list[str], term: str) -> None:
    postings = Postings()
    add(postings, *texts)
    meant = Spelling(postings).meant(term)
    assert meant is None or postings.document_frequency(meant) > 0


# Of words of few different letters, such as "aabaaa", difflib finds only a part of what is common.
WORDS = st.text(string.ascii_lowercase, min_size=5, max_size=12).filter(
    lambda word: len({*word}) >= len(word) - 1
)


@settings(max_examples=100)
@given(WORDS, st.data())
def test_a_word_with_a_letter_left_out_or_swapped_is_meant(word: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(1, len(word) - 2))
    for misspelt in (
        word[:place] + word[place + 1 :],
        word[:place] + word[place + 1] + word[place] + word[place + 2 :],
    ):
        postings = Postings()
        add(postings, "0 1 2")
        postings.add_more(0, {word: 1})
        if len(misspelt) >= 5:
            assert Spelling(postings).meant(misspelt) == word


KNOWN = ["accordion", "lighthouse", "marmalade", "saxophone", "whistle"]


@settings(max_examples=100, deadline=None)
@given(
    word=st.sampled_from(KNOWN),
    place=st.integers(1, 5),
    form=st.sampled_from(list(Form)),
    older=st.booleans(),
    fillers=st.lists(st.sampled_from(["granite", "thunder", "velvet"]), max_size=4),
)
def test_exact_outranks_fuzzy(
    word: str, place: int, form: Form, older: bool, fillers: list[str]
) -> None:
    misspelt = word[:place] + word[place + 1 :]
    texts = [" ".join([word, *fillers]), " ".join([misspelt, *fillers])]
    kind = "semantic" if form is Form.STATEMENT else "episodic"
    index = built(
        [
            row(seq, text, form=form, memory_type=kind, session_id=f"s{seq}", created=NOW - seq)
            for seq, text in enumerate(texts if older else texts[::-1], 1)
        ]
    )
    exact, fuzzy = (1, 2) if older else (2, 1)
    found = similarities(index, word)
    assert found[exact] > found[fuzzy]
    found = similarities(index, misspelt)
    assert found[fuzzy] > found[exact]


@pytest.mark.parametrize("form", list(Form))
def test_of_two_words_the_one_that_is_held_counts_more(form: Form) -> None:
    index = built(
        [
            row(1, "granite accordion", form=form, session_id="a"),
            row(2, "granite lighthouse", form=form, session_id="b"),
            row(3, "velvet thunder", form=form, session_id="c"),
        ]
    )
    found = similarities(index, "lighthouse or accordeon")
    assert found[2] > found[1] > found[3]


def test_of_many_words_of_the_same_letters_few_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw = random.Random(3)
    letters = list("kubernetesdeployment")[1:]

    def anagram() -> str:
        draw.shuffle(letters)
        return "k" + "".join(letters)

    compared: list[int] = []
    matches = difflib.get_close_matches

    def counted(word: str, near: list[str], n: int, cutoff: float) -> list[str]:
        compared.append(len(near))
        return matches(word, near, n, cutoff)

    monkeypatch.setattr(difflib, "get_close_matches", counted)
    spelling = holding(" ".join(anagram() for _ in range(5000)))
    spelling.meant(anagram())
    assert compared == [200]
