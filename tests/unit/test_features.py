"""What a text shows beside its terms."""

from __future__ import annotations

import pytest

from langchain_kronvex.features import text_features


def test_a_text_is_read_whole() -> None:
    (found,) = text_features(["Ana: I saw the cats, and my cats ran yesterday?"])
    assert found.terms["cat"] == 2
    assert "the" not in found.terms
    assert "i" not in found.terms
    assert found.terms.total() == 6
    assert found.word_count == 10
    assert found.opener == "ana"
    assert found.asks
    assert found.personal
    assert found.timed


def test_a_text_without_words() -> None:
    (found,) = text_features(["?!"])
    assert (found.terms.total(), found.word_count, found.opener) == (0, 0, "")
    assert (found.asks, found.personal, found.timed) == (True, False, False)
    assert text_features([]) == []


@pytest.mark.parametrize(
    ("text", "asks"), [("Tea?", True), ("お茶？", True), ("Tea.", False), ("What", False)]
)
def test_questions(text: str, asks: bool) -> None:
    assert text_features([text])[0].asks is asks


@pytest.mark.parametrize(
    ("text", "personal"),
    [("I like it", True), ("MY tea", True), ("ours", True), ("Ian", False), ("your tea", False)],
)
def test_first_person(text: str, personal: bool) -> None:
    assert text_features([text])[0].personal is personal


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
    assert text_features([text])[0].timed is timed


def test_the_opener_may_be_a_stop_word() -> None:
    assert text_features(["The cats"])[0].opener == "the"


def test_reading_together_equals_reading_alone() -> None:
    texts = ["Ana likes cats", "cats like Ana?", "", "日本語 in 2023"]
    assert text_features(texts) == [text_features([text])[0] for text in texts]
