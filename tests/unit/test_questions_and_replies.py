"""Questions, replies that do not know, instructions, and what a long message asks."""

from __future__ import annotations

import doctest
from types import ModuleType

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from inside import (
    Form,
    asks_nothing,
    features,
    focus,
    instructs,
    knows_nothing,
    only_asks,
    parse_query,
    ranking,
    tokenizer,
)
from langchain_kronvex.embeddings import StaticEmbeddings

from .conversations import AT, NOW, WAYS, built, exchange, row, similarities, statement, unit


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Which tea do I like?", True),
        ("Which tea do I like?  \n", True),
        ("私のお茶は何ですか？", True),
        ("?", True),
        ("I like green tea.", False),
        ("I like green tea. Do you?", False),
        ("Is it 3.5 metres?", True),
        ("お茶が好きです。あなたは？", False),
        ("", False),
        ("Tea? No, coffee", False),
    ],
)
def test_what_only_asks(text: str, expected: bool) -> None:
    assert only_asks(text) is expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("hello", True),
        ("Hi there!", True),
        ("Good morning.", True),
        ("¡Hola!", False),
        ("Hola!", True),
        ("What do you know about me?", True),
        ("general context", True),
        ("Summarize everything you remember.", True),
        ("Who am I?", True),
        ("🙂", True),
        ("", True),
        ("Hello, where is my bike?", False),
        ("What do you know about tea?", False),
        ("What do I do in the morning?", False),
        ("What's my name?", False),
        ("hi-fi", False),
        ("know " * 100, False),
    ],
)
def test_what_asks_for_nothing_certain(query: str, expected: bool) -> None:
    assert asks_nothing(query) is expected


@pytest.mark.parametrize(
    "text",
    [
        "Always give distances in miles when I ask about hikes.",
        "Never use bullet points.",
        "Please answer in French.",
        "From now on, call me Kit.",
        "Ana said: please keep it short.",
        "I'd prefer metric units.",
        "I\u2019d rather have code first.",
        "Whenever you recommend a film, name its year.",
        "Don't mention my job.",
    ],
)
def test_instructions(text: str) -> None:
    assert instructs(text)
    assert not instructs(text + " " + "x" * 400)


@pytest.mark.parametrize(
    "text",
    [
        "I play the oboe.",
        "My train never comes on time.",
        "The keeper sleeps.",
        "Nevertheless it rained.",
        "Answers are on page ten.",
        "Please write a mail to the landlord.",
        "Explain how bees dance.",
        "Use the first key to open it.",
        "When I was young I played the oboe.",
        "I want my umbrella back.",
        "",
        "?",
    ],
)
def test_what_is_not_an_instruction(text: str) -> None:
    assert not instructs(text)


@pytest.mark.parametrize(
    "reply",
    [
        "I don't know.",
        "I do not know that yet.",
        "I don\u2019t have any information about your piano.",
        "Sorry, I have no record of that.",
        "You haven't told me.",
        "You have not mentioned it so far.",
        "I can't recall.",
        "I'm not sure.",
        "I couldn't find it.",
        "No idea!",
        "That is unknown to me.",
    ],
)
def test_replies_that_do_not_know(reply: str) -> None:
    assert knows_nothing(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "It stands in the attic.",
        "You know it by heart.",
        "Yes, of course.",
        "You don't have to bring anything.",
        "You do not have a lesson on Friday.",
        "Your piano has not been tuned yet.",
        "There is no memory in that model.",
        "They don't know each other.",
        "I'm not sure of the year, but it was in June.",
        "",
        "I don't know. " + "But here is all that I can say of pianos. " * 20,
    ],
)
def test_replies_that_answer(reply: str) -> None:
    assert not knows_nothing(reply)


CHAT = "The weather has been odd and the ferry was late again so we read all day long. " * 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("Where is the oboe?", "Where is the oboe?"),
        (f"{CHAT}Where is the oboe?", "Where is the oboe?"),
        (f"{CHAT}Where is the oboe? {CHAT}Bye.", "Where is the oboe? Bye."),
        (f"Where is it?\n{CHAT}\nThanks a lot", "Where is it? Thanks a lot"),
        ("word " * 100, " ".join(["word"] * 40)),
        ("\n" * 100, "\n" * 100),
        (". " * 100, "."),
    ],
)
def test_the_focus_of_a_message(text: str, expected: str) -> None:
    assert focus(text) == expected


@given(st.text() | st.lists(st.sampled_from(["a", "b?", "c.", "\n", "。", "\ud800"])).map(" ".join))
def test_the_focus_is_part_of_the_message_and_short(text: str) -> None:
    asked = focus(text)
    assert asked == text or len(asked.split()) <= 40
    assert not {*asked} - {*text} - {" "}


@given(st.text())
def test_any_text_can_be_told(text: str) -> None:
    assert all(isinstance(tell(text), bool) for tell in (only_asks, instructs, knows_nothing))


@pytest.mark.parametrize("module", [features, tokenizer])
def test_the_examples_hold(module: ModuleType) -> None:
    failed, tried = doctest.testmod(module)
    assert (failed, tried > 0) == (0, True)


# -- in the search -----------------------------------------------------------------------------

NOUNS = ["oboe", "lighthouse", "ferry", "marmalade", "harvest", "velvet"]
OTHERS = ["granite", "whistle", "thunder", "copper", "meadow"]
REPLIES = ["I don't know.", "You haven't told me yet.", "Sorry, I have no record of that."]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", list(Form))
@settings(max_examples=60, deadline=None)
@given(
    asked=st.lists(st.sampled_from(NOUNS), min_size=1, max_size=4, unique=True),
    more=st.lists(st.sampled_from(OTHERS), max_size=4, unique=True),
    reply=st.sampled_from(REPLIES),
    times=st.integers(1, 5),
    fact_first=st.booleans(),
    by_words=st.booleans(),
)
def test_a_question_that_got_no_answer_never_outranks_the_fact(
    way: str, form: Form, asked: list[str], more: list[str], reply: str, times: int,
    fact_first: bool, by_words: bool,
) -> None:  # fmt: skip
    query, text = f"Where is the {' '.join(asked)}?", " ".join([*asked, *more])
    of_query, of_text = (None, None) if by_words else StaticEmbeddings().embed_array([query, text])
    fact = row(
        1 if fact_first else 99, text, form=form, session_id="facts", vector=of_text,
        memory_type="semantic" if form is Form.STATEMENT else "episodic",
        reply="Noted." if form is Form.EXCHANGE else "",
    )  # fmt: skip
    questions = [
        exchange(10 + n, query, reply, session_id=f"q{n}", created=NOW - n, vector=of_query)
        for n in range(times)
    ]
    index = built([fact, *questions] if fact_first else [*questions, fact])
    found = similarities(index, query, way=way, vector=of_query)
    assert all(found[fact.seq] > found[each.seq] for each in questions)


def test_a_question_without_a_reply_counts_less_than_one_with_an_answer() -> None:
    query = "Which oboe reeds do I use?"
    index = built(
        [
            exchange(1, query, "", session_id="a"),
            exchange(2, query, "The soft ones by the window.", session_id="b"),
            exchange(3, query, "I don't know.", session_id="c"),
        ]
    )
    found = similarities(index, query)
    assert found[2] > found[1] > found[3] > 0


def test_a_question_that_is_answered_later_counts_again() -> None:
    query = "Which oboe reeds do I use?"
    asked = exchange(1, query, "", session_id="a")
    index = built([asked])
    before = similarities(index, query)[1]
    index.apply([exchange(1, query, "The soft ones by the window.", session_id="a")])
    assert similarities(index, query)[1] > before


def test_an_instruction_on_the_subject_gets_a_small_prior_and_others_none() -> None:
    texts = ["Always suggest a ferry for travel.", "Travel means a ferry, always, to us."]
    index = built([statement(n, text) for n, text in enumerate(texts, 1)])
    found = similarities(index, "ferry travel")
    assert found[1] > found[2] > 0
    nothing = similarities(index, "copper kettle")
    assert nothing[1] == nothing[2] == 0


# -- long messages -----------------------------------------------------------------------------


def test_held_words_come_before_unknown_ones() -> None:
    index = built([statement(1, "The oboe is in the attic."), statement(2, "Ferries are blue.")])
    unknown = " ".join(f"unknown{n}" for n in range(3 * ranking.MAX_QUERY_TERMS))
    query = parse_query(index, f"oboe {unknown}", None, AT)
    assert query.terms[0] == "obo"
    assert len(query.terms) == ranking.MAX_QUERY_TERMS
    assert similarities(index, f"{unknown} attic")[1] > similarities(index, f"{unknown} attic")[2]


def test_the_question_of_a_message_counts_double() -> None:
    texts = ["The oboe has a crack.", "The ferry has a crack.", "A meadow."]
    index = built([statement(n, text) for n, text in enumerate(texts, 1)])
    chat = "The ferry " + "and so on and so forth we went " * 6
    asked = parse_query(index, f"{chat}. Where is the oboe?", None, AT)
    weights = dict(zip(asked.terms, asked.weights.tolist(), strict=True))
    assert weights["ferri"] == ranking.BESIDE
    assert weights["obo"] == 1.0
    found = similarities(index, f"{chat}. Where is the oboe?")
    assert found[1] > found[2]


# -- probability -------------------------------------------------------------------------------

RELEVANCE = st.lists(st.floats(-1, 4, width=32), min_size=1, max_size=12)


@given(RELEVANCE, st.integers(0, 1000), st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted))
def test_the_more_of_a_query_is_missing_the_less_probable(
    values: list[float], others: int, missing: list[float]
) -> None:
    relevance, chosen = np.array(values, np.float32), np.arange(len(values))
    less, more = (ranking.probability(relevance, chosen, others, share) for share in missing)
    assert (more <= less).all()
    assert (more > 0).all()
    assert (less < 1).all()


@given(RELEVANCE, st.floats(0, 1))
def test_what_is_missing_changes_no_order(values: list[float], missing: float) -> None:
    relevance, chosen = np.array(values, np.float32), np.arange(len(values))
    found = ranking.probability(np.sort(relevance), chosen, 0, missing)
    assert (np.diff(found) >= 0).all()


def test_a_query_of_unknown_words_is_far_less_probable() -> None:
    relevance, first = np.array([1, 0.2, 0], np.float32), np.array([0])
    known, half, unknown = (
        float(ranking.probability(relevance, first, 0, share)[0]) for share in (0, 0.5, 1)
    )
    assert known > half + 0.1 > unknown + 0.2


def test_an_encoder_counts_for_more_than_the_bundled_vectors() -> None:
    query, like, unlike = unit([3.0, 1.0]), unit([3.0, 1.2]), unit([-1.0, 3.0])
    index = built(
        [
            statement(1, "The oboe has a crack.", vector=unlike),
            statement(2, "My woodwind broke.", vector=like),
            exchange(3, "My woodwind broke again.", "Oh no.", vector=like),
            *(statement(n, f"Granite {n}.", vector=unlike) for n in range(4, 40)),
        ]
    )
    bundled = similarities(index, "oboe", vector=query)
    encoded = similarities(index, "oboe", vector=query, is_encoded=True)
    for near in (2, 3):
        assert encoded[near] > bundled[near]
        assert encoded[near] - encoded[1] > bundled[near] - bundled[1]


def test_the_share_that_is_missing() -> None:
    index = built([statement(n, f"The oboe and the ferry {n}.") for n in range(1, 4)])

    def missing(text: str) -> float:
        return parse_query(index, text, None, AT).missing

    assert missing("oboe ferry") == missing("the of and") == missing("") == 0
    assert missing("copper kettle") == 1
    assert 0.5 < missing("copper ferry") < 1  # the unknown word is the rarer one
    assert missing("oboes and ferries") == 0
    assert missing("ferrry oboe") == 0  # misspelt, but known


@settings(deadline=None)
@given(
    st.text(max_size=60) | st.lists(st.sampled_from([*NOUNS, *OTHERS, "k8s", "7"])).map(" ".join)
)
@example("0:1:2:3:4:5:6:7:8:9")  # all is missing, and the share of it is 1
def test_any_query_is_parsed(text: str) -> None:
    index = built([statement(1, " ".join(NOUNS)), exchange(2, "Who rang?", "The ferry did.")])
    query = parse_query(index, text, None, AT)
    assert 0 <= query.missing <= 1
    assert len(query.weights) == len(query.terms) == len(query.dated)
    assert all(0 <= value <= 1 for value in similarities(index, text or " ").values())
