"""The order of memories that update each other."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from inside import Candidate, newest_first

DAY = 86_400.0
OLD, NEW = 0.0, 40 * DAY
ASKED = "Where is the piano?"


def said(text: str, when: float = OLD, similarity: float = 0.9) -> Candidate:
    return Candidate(text, when, similarity)


UPDATES = {
    "a word of change": (
        "The piano stands in the hall.",
        "We moved the piano to the attic.",
    ),
    "another number": ("The gate code is 4417.", "The gate code is 9203."),
    "another number in words": ("The choir has two tenors.", "The choir has three tenors."),
    "another weekday": ("The choir meets on Mondays.", "The choir meets on Thursdays."),
    "another month": ("The lease ends in March.", "The lease ends in October."),
}


@pytest.mark.parametrize("kind", UPDATES)
def test_an_update_comes_before_what_it_updates(kind: str) -> None:
    older, newer = UPDATES[kind]
    other = said("My aunt keeps bees.", NEW, 0.2)
    for similarity in (0.3, 0.9):
        chosen = [said(older), other, said(newer, NEW, similarity)]
        assert newest_first(ASKED, chosen) == [2, 1, 0]
        assert newest_first(ASKED, chosen[::-1]) == [0, 1, 2]


def test_one_of_the_most_similar_that_speaks_of_a_change_needs_no_shared_word() -> None:
    chosen = [said("I work at the bakery."), said("I've switched to teaching.", NEW, 0.5)]
    assert newest_first("What is my job?", chosen) == [1, 0]
    among_others = [
        chosen[0],
        *(said(f"Thing {letter} stays.", OLD, 0.8) for letter in "xyz"),
        chosen[1],
    ]
    assert newest_first("What is my job?", among_others) == [0, 1, 2, 3, 4]


LEFT = {
    "a question about the past": ("Where was the piano before?", "moved", NEW, 0.9),
    "a year that is named": ("Where is the piano as of 2019?", "moved", NEW, 0.9),
    "no word of change and no value": (ASKED, "polished", NEW, 0.9),
    "one conversation": (ASKED, "moved", OLD + 600, 0.9),
    "far less similar": (ASKED, "moved", NEW, 0.1),
    "a long text": (ASKED, "moved " + "and looked at it again " * 5 + "to", NEW, 0.9),
    "a long word": (ASKED, "moved " + "z" * 500, NEW, 0.9),
}


@pytest.mark.parametrize("kind", LEFT)
def test_others_keep_their_places(kind: str) -> None:
    question, change, when, similarity = LEFT[kind]
    chosen = [
        said("The piano stands in the hall."),
        said(f"I {change} the piano", when, similarity),
    ]
    assert newest_first(question, chosen) == [0, 1]


def test_a_word_that_many_of_the_chosen_have_makes_no_matter() -> None:
    numbered = [said(f"The choir sang song {n}.", n * DAY, 0.9 - n / 10) for n in range(5)]
    assert newest_first("What did the choir sing?", numbered[:1]) == [0]
    assert newest_first("What does the choir sing?", numbered) == [0, 1, 2, 3, 4]


def test_nothing_and_one_memory() -> None:
    assert newest_first(ASKED, []) == []
    assert newest_first("", [said("")]) == [0]


SENTENCES = st.sampled_from(
    [
        "I live in Lisbon.",
        "I've moved to Porto.",
        "I no longer live in Porto.",
        "The gate code is 4417.",
        "The gate code is 9203.",
        "The gate code is now 12.",
        "The choir meets on Mondays.",
        "The choir meets on Thursdays instead.",
        "My aunt keeps bees.",
        "My aunt sold two of her beehives.",
        "The gate is green.",
        "moved " * 30,
        "",
    ]
)
ANY_TEXT = SENTENCES | st.text(max_size=20)
MOMENTS = st.integers(0, 6).map(lambda half_hours: half_hours * 1800.0) | st.floats(-1e12, 1e12)
SIMILARITIES = st.integers(0, 8).map(lambda eighths: eighths / 8) | st.floats(0, 1)
CANDIDATES = st.lists(st.builds(Candidate, ANY_TEXT, MOMENTS, SIMILARITIES), max_size=8)
QUESTIONS = st.sampled_from(["Where do I live?", "gate code", "When does the choir meet?"])


def follows(chosen: list[Candidate], order: list[int]) -> list[Candidate]:
    return [chosen[number] for number in order]


@settings(max_examples=120)
@given(QUESTIONS | st.text(max_size=20), CANDIDATES)
def test_it_is_a_permutation_that_moves_memories_of_one_matter_alone(
    query: str, chosen: list[Candidate]
) -> None:
    order = newest_first(query, chosen)
    assert sorted(order) == list(range(len(chosen)))
    moved = [place for place, number in enumerate(order) if place != number]
    times = [chosen[order[place]].said for place in moved]
    assert times == sorted(times, reverse=True)
    # All were said an hour or more before or after the most similar, and the later one is short.
    most = max((each.similarity for each in chosen), default=0)
    best = [each for each in chosen if each.similarity == most]
    assert not moved or any(are_of_one_matter(each, [chosen[n] for n in moved]) for each in best)


def are_of_one_matter(best: Candidate, moved: list[Candidate]) -> bool:
    pairs = [sorted((best, other), key=lambda each: each.said) for other in moved if other != best]
    return all(new.said - old.said >= 3600 and len(new.text) <= 400 for old, new in pairs)


TWO_ARE_MOST_SIMILAR = [
    said("The choir meets on Mondays.", OLD, 0.5),
    said("I live in Lisbon.", NEW),
    said("The choir meets on Thursdays.", NEW),
    said("I've moved to Porto.", 2 * NEW, 0.5),
]


@settings(max_examples=120)
@given(QUESTIONS, CANDIDATES)
@example("Where do I live?", TWO_ARE_MOST_SIMILAR)
def test_to_apply_it_again_changes_nothing(query: str, chosen: list[Candidate]) -> None:
    once = follows(chosen, newest_first(query, chosen))
    assert newest_first(query, once) == list(range(len(chosen)))


@settings(max_examples=80)
@given(QUESTIONS, CANDIDATES, st.randoms(use_true_random=False))
def test_of_memories_said_at_one_moment_the_order_stays(
    query: str, chosen: list[Candidate], random: object
) -> None:
    order = newest_first(query, chosen)
    place = {number: at for at, number in enumerate(order)}
    moved = [number for number in range(len(chosen)) if place[number] != number]
    for one in moved:
        for other in moved:
            if one < other and chosen[one].said == chosen[other].said:
                assert place[one] < place[other]


@settings(max_examples=80)
@given(QUESTIONS, CANDIDATES, st.sampled_from([0.5, 0.25, 0.125]))
def test_the_scale_of_the_similarities_does_not_matter(
    query: str, chosen: list[Candidate], scale: float
) -> None:
    likely = [each._replace(similarity=max(each.similarity, 0.01)) for each in chosen]
    scaled = [each._replace(similarity=each.similarity * scale) for each in likely]
    assert newest_first(query, scaled) == newest_first(query, likely)


@settings(max_examples=80)
@given(QUESTIONS, CANDIDATES, st.integers(-1000, 1000))
def test_the_time_that_passes_does_not_matter(
    query: str, chosen: list[Candidate], days: int
) -> None:
    whole = [each._replace(said=round(each.said / 1800) * 1800.0) for each in chosen]
    later = [each._replace(said=each.said + days * DAY) for each in whole]
    assert newest_first(query, later) == newest_first(query, whole)


@settings(max_examples=80)
@given(QUESTIONS, CANDIDATES)
def test_a_question_about_the_past_moves_nothing(query: str, chosen: list[Candidate]) -> None:
    for asked in (f"{query} Where did I live before?", f"{query} in 2019"):
        assert newest_first(asked, chosen) == list(range(len(chosen)))
