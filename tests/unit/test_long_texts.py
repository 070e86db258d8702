"""Every text is read in time proportional to its length, whatever it consists of.

Times are compared with each other, never with a clock: twice the text may take about twice as long.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable
from datetime import date

import pytest

from inside import (
    MAX_QUERY_CHARS,
    MOST_WORDS,
    Candidate,
    days_of,
    focus,
    instructs,
    knows_nothing,
    newest_first,
    normalized,
    only_asks,
    terms,
    words,
)
from langchain_kronvex import KronvexMemory
from langchain_kronvex.embeddings import StaticEmbeddings

NOISE_SECONDS = 0.005
DRAW = random.Random(1)
HAN = [chr(code) for code in range(0x4E00, 0x9FFF)]


@pytest.fixture(scope="module", autouse=True)
def _tables_are_loaded() -> None:
    """Load what is read once, which must not count as growth."""
    gc.collect()  # what the tests before these left
    with KronvexMemory("sqlite://") as memory:
        for text in ("Wie heißt mein Hund, und wo ist er?", "a dgo in the kitchen"):
            memory.remember(text, user_id="ana")
            memory.recall(text[::-1], user_id="ana")
            memory.recall(text, user_id="ana")


def drawn(characters: str | list[str]) -> Callable[[int], str]:
    return lambda length: "".join(DRAW.choices(characters, k=length))


def repeated(unit: str) -> Callable[[int], str]:
    return lambda length: (unit * (length // len(unit) + 1))[:length]


TEXTS = {
    "marks that must be sorted": repeated("\u0301\u0323"),
    "marks of kana": repeated("ｶ\uff9e\u0323\uff9f"),
    "random Han": drawn(HAN),
    "one endless word": drawn("abcdefghij"),
    "hyphens and apostrophes": repeated("a-'b--"),
    "emoji with joiners": repeated("👩\u200d👩\u200d👧 "),
    "right to left": repeated("\u202e\u05d0\u200f\u05d1 "),
    "spaces": lambda length: "x" + " " * (length - 2) + "x",
    "digits": drawn("0123456789   "),
    "like URLs": drawn("ht/:.?&=%-a9 "),
    "mixed case with ligatures": drawn("aBcİßﬁﬀſÅ "),
    "characters that become 18": repeated("\ufdfa"),
    "one endless Arabic word": repeated("ه"),
    "Arabic suffixes": repeated("اتكم"),
    "one endless Tamil word": repeated("க"),
    "Tamil suffixes": repeated("களின்"),
    "one endless Hindi word": repeated("ों"),
    "one endless Greek word": repeated("ψνκξ"),
    "one endless Russian word": repeated("вшись"),
    "function words of many languages": repeated("der la och не yang "),
    "ends of sentences": repeated("? ! 。？.\n"),
    "dates": repeated("the last two weeks of may 3 days ago 2023-05-"),
    "instructions": repeated("when i ask from now on "),
    "replies that do not know": repeated("i don't i have not no "),
    "new words": drawn("abcdefghijklmnopqrstuvwxyz    "),
}
kinds = pytest.mark.parametrize("kind", TEXTS)


def seconds(action: Callable[[], object], times: int) -> float:
    """Return the least time of this thread that an action takes, without garbage collection."""
    taken = []
    gc.disable()
    try:
        for _ in range(times):
            began = time.thread_time()
            action()
            taken.append(time.thread_time() - began)
    finally:
        gc.enable()
    return min(taken)


def check_growth(action: Callable[[str], object], kind: str, length: int) -> None:
    """Check that four times the length takes 4 times as long rather than 16, as if quadratic."""
    short, long = TEXTS[kind](length // 2), TEXTS[kind](2 * length)
    action(short)
    for times in (1, 5):  # measured with more care where the first look leaves a doubt
        half, whole = seconds(lambda: action(short), times), seconds(lambda: action(long), times)
        if (whole + NOISE_SECONDS) / (half + NOISE_SECONDS) < 8:
            return
    pytest.fail(f"{action.__name__}: {half:.4f} s become {whole:.4f} s")


@kinds
@pytest.mark.parametrize("length", [20_000, pytest.param(524_288, marks=pytest.mark.soak)])
def test_twice_the_text_takes_about_twice_as_long(kind: str, length: int) -> None:
    embeddings = StaticEmbeddings()

    check_growth(words, kind, length)
    check_growth(embeddings.embed_query, kind, length)


def in_order(text: str) -> list[int]:
    older, newer = Candidate(text, 0, 0.9), Candidate(text[1:], 1e6, 0.9)
    return newest_first(text, [older, newer, Candidate("We moved.", 2e6, 0.9)])


def days(text: str) -> object:
    return days_of(text, date(2026, 4, 29))


READERS: list[Callable[[str], object]] = [
    terms, focus, days, only_asks, instructs, knows_nothing, in_order,
]  # fmt: skip


@kinds
@pytest.mark.parametrize("length", [20_000, pytest.param(524_288, marks=pytest.mark.soak)])
def test_what_reads_questions_and_replies_grows_with_the_text(kind: str, length: int) -> None:
    for reader in READERS:
        check_growth(reader, kind, length)


@kinds
@pytest.mark.parametrize("length", [20_000, pytest.param(524_288, marks=pytest.mark.soak)])
def test_remembering_and_recalling_grow_with_the_text(kind: str, length: int) -> None:
    with KronvexMemory("sqlite://") as memory:
        users = iter(range(100))

        def remember_and_find(text: str) -> None:
            user = f"u{next(users)}"
            memory.remember(text, user_id=user)
            memory.recall("tea", user_id=user)
            memory.recall(text, user_id=user)

        check_growth(remember_and_find, kind, length)


def test_marks_up_to_thirty_are_normalized_as_ever() -> None:
    text = "e\u0301 " + "a" + "\u0323\u0301" * 15

    assert normalized("NFKC", text).startswith("é ")
    assert "\u034f" not in normalized("NFD", text)


def test_a_word_with_too_many_marks_is_still_found() -> None:
    with KronvexMemory("sqlite://") as memory:
        memory.remember("z" + "\u0301\u0323" * 500 + " and teapot", user_id="ana")

        assert memory.recall("teapot", user_id="ana")


def test_only_the_beginning_and_the_end_of_a_long_query_are_searched_for() -> None:
    filler = "lorem " * MAX_QUERY_CHARS
    with KronvexMemory("sqlite://") as memory:
        memory.remember("The zebra is asleep", user_id="ana")
        for query in (f"zebra? {filler}", f"{filler} zebra?"):
            assert memory.recall(query, user_id="ana", threshold=0.01)


def test_a_long_text_is_cut_between_words() -> None:
    text = "é" + " teapot" * 30_000

    assert words(text) == ["é", *["teapot"] * 30_000]
    assert len(words("a b " * MOST_WORDS)) == MOST_WORDS
