"""From texts to terms."""

from __future__ import annotations

import doctest
import threading
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inside import STOP_WORDS, date_parts, stems, terms, words
from inside import tokenizer as lexical


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ana likes TEA.", ["ana", "likes", "tea"]),
        ("don't e-mail a_b", ["don", "t", "e", "mail", "a", "b"]),
        ("COVID-19, 3.5%", ["covid", "19", "3", "5"]),
        ("", []),
        ("?!… —", []),
        ("日本語", ["日本", "本語"]),
        ("茶", ["茶"]),
        ("お茶 tea", ["お茶", "tea"]),
        ("tea日本", ["tea", "日本"]),
        ("한국어", ["한국", "국어"]),
        ("กาแฟ", ["กา", "าแ", "แฟ"]),
        ("Straße", ["strasse"]),
        ("ﬁne", ["fine"]),
        ("Ｔｅａ１２", ["tea12"]),
        ("ｶﾅ", ["カナ"]),
        ("Ёлка", ["ёлка"]),
        ("𝓽𝓮𝓪", ["tea"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_encodings_of_the_same_accents_are_the_same_word() -> None:
    for text in ("José", "Škoda", "naïve", "Ångström"):
        composed = unicodedata.normalize("NFC", text)
        assert words(composed) == words(unicodedata.normalize("NFD", text))
        assert len(words(composed)) == 1


def test_words_with_different_accents_are_different() -> None:
    assert words("résumé") != words("resume")


@pytest.mark.parametrize(
    ("one", "other"),
    [("running", "runs"), ("allergic", "allergics"), ("cities", "city"), ("March", "march")],
)
def test_forms_of_a_word_share_a_term(one: str, other: str) -> None:
    assert terms(one) == terms(other) != []


def test_stop_words_are_not_terms_whatever_their_case() -> None:
    assert terms("What is THE of and to?") == []
    assert terms("the tea of Ana") == ["tea", "ana"]
    assert all(word == word.lower() and word.isalpha() for word in STOP_WORDS)
    assert not {"not known", "tea"} & STOP_WORDS


def test_stems_keep_order_and_number() -> None:
    assert stems([]) == []
    assert stems(["cats", "dogs", "cats"]) == ["cat", "dog", "cat"]


@given(st.lists(st.text(max_size=40), max_size=5))
def test_any_text_can_be_read(texts: list[str]) -> None:
    for text in texts:
        assert len(terms(text)) <= len(words(text))
        assert all(word and not word.isspace() for word in words(text))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_case_and_width_do_not_matter(text: str) -> None:
    assert words(text) == words(unicodedata.normalize("NFKC", text))


def test_a_million_letters_are_read() -> None:
    assert len(words("x" * 1_048_576)) == 1
    assert len(words("日" * 60_000)) == 59_999


@pytest.mark.parametrize(
    ("term", "parts"),
    [
        (stems(["may"])[0], {"month": 5}),
        (stems(["february"])[0], {"month": 2}),
        ("7", {"day": 7}),
        ("07", {"day": 7}),
        ("31", {"day": 31}),
        ("32", {}),
        ("0", {}),
        ("00", {}),
        ("007", {}),
        ("2023", {"year": 2023}),
        ("20230", {}),
        ("٢٠٢٣", {}),
        ("²", {}),
        ("tea", {}),
        ("", {}),
    ],
)
def test_parts_of_a_date(term: str, parts: dict[str, int]) -> None:
    assert date_parts(term) == parts


def test_all_months_are_known() -> None:
    months = "January February March April May June July August September October November December"
    numbers = [date_parts(stem) for stem in stems([m.lower() for m in months.split()])]
    assert numbers == [{"month": n} for n in range(1, 13)]


def test_the_examples_in_the_docstrings_are_true() -> None:
    failed, tried = doctest.testmod(lexical)
    assert (failed, tried > 0) == (0, True)


def test_every_thread_has_its_own_stemmer() -> None:
    texts = [f"running cities number{n} allergically" for n in range(300)]
    expected = [terms(text) for text in texts]
    results: list[list[list[str]]] = []

    def read() -> None:
        results.append([terms(text) for text in texts])

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 8
