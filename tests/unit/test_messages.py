"""Messages: their encoding, windows of whole turns, and exchanges."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from inside import (
    MAX_CONTENT_CHARS,
    answer_content,
    decode_message,
    encode_message,
    exchange_content,
    exchanges,
    text_of,
    visible_texts,
    window,
)
from inside import messages_answer_in as answer_in

CALL = {"name": "f", "args": {"x": 1}, "id": "t", "type": "tool_call"}
MESSAGES: list[BaseMessage] = [
    HumanMessage("hi"),
    HumanMessage([{"type": "text", "text": "a"}, "b", {"type": "image_url", "image_url": "u"}]),
    AIMessage("", tool_calls=[CALL], id="i", name="n"),
    AIMessage(
        "x",
        usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
        response_metadata={"a": [None, 1.5]},
        additional_kwargs={"reasoning": "r"},
    ),
    ToolMessage("r", tool_call_id="t", artifact={"a": 1}, status="error"),
    SystemMessage("s"),
    ChatMessage("c", role="critic"),
    HumanMessage("\0\ud800\u2028 日本 😀"),
    HumanMessage(""),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: m.type)
def test_a_message_comes_back_equal(message: BaseMessage) -> None:
    text = encode_message(message)
    assert text.isascii()
    assert decode_message(text) == message
    assert type(decode_message(text)) is type(message)


@given(st.text())
def test_any_text_comes_back(text: str) -> None:
    assert decode_message(encode_message(HumanMessage(text))).content == text


def test_a_chunk_becomes_a_message() -> None:
    whole = AIMessageChunk("a", id="i") + AIMessageChunk("b")
    assert decode_message(encode_message(whole)) == AIMessage("ab", id="i")


class Thing:
    def __repr__(self) -> str:
        return "a thing"


def test_values_that_json_cannot_hold_are_stored_as_text() -> None:
    message = ToolMessage("r", tool_call_id="t", artifact={"t": Thing(), "b": b"\xff", "s": {1}})
    decoded = decode_message(encode_message(message))
    assert decoded.content == "r"
    assert decoded.artifact["t"] == "a thing"
    assert decoded.artifact["s"] == [1]


def test_numbers_that_json_cannot_hold_do_not_lose_the_message() -> None:
    message = AIMessage("r", additional_kwargs={"logprob": float("-inf")})
    assert decode_message(encode_message(message)).content == "r"


def test_text_of_a_message_is_what_can_be_stored() -> None:
    assert text_of(HumanMessage(" a\0b\ud800 ")) == "ab"
    assert text_of(AIMessage("", tool_calls=[CALL])) == ""
    assert text_of(HumanMessage([{"type": "text", "text": "a"}, {"type": "x"}])) == "a"


# -- windows --------------------------------------------------------------------------------------


def kinds(messages: list[BaseMessage]) -> str:
    return "".join({"human": "H", "ai": "A", "tool": "T", "system": "S"}[m.type] for m in messages)


def conversation(pattern: str) -> list[BaseMessage]:
    make = {
        "H": lambda n: HumanMessage(f"{n}"),
        "A": lambda n: AIMessage(f"{n}"),
        "T": lambda n: ToolMessage(f"{n}", tool_call_id="t"),
        "S": lambda n: SystemMessage(f"{n}"),
    }
    return [make[kind](n) for n, kind in enumerate(pattern)]


@pytest.mark.parametrize(
    ("pattern", "max_messages", "kept"),
    [
        ("HAHA", 4, "HAHA"),
        ("HAHA", 3, "HA"),
        ("HAHA", 2, "HA"),
        ("HAHA", 1, "HA"),
        ("HAHATAHA", 7, "HATAHA"),
        ("HAHATAHA", 5, "HA"),
        ("HATATATA", 2, "HATATATA"),
        ("HAHATATA", 1, "HATATA"),
        ("AAAA", 2, "AA"),
        ("SHA", 2, "HA"),
        ("SAHA", 3, "HA"),
        ("", 3, ""),
        ("H", 1, "H"),
        ("HHH", 2, "HH"),
    ],
)
def test_a_window_holds_whole_turns(pattern: str, max_messages: int, kept: str) -> None:
    assert kinds(window(conversation(pattern), max_messages)) == kept


@given(st.text("HATS", max_size=12), st.integers(1, 12))
def test_a_window_is_the_end_of_the_conversation(pattern: str, max_messages: int) -> None:
    messages = conversation(pattern)
    kept = window(messages, max_messages)
    assert kept == messages[len(messages) - len(kept) :]
    if len(kept) < len(messages):
        assert not kept or "H" not in pattern or kept[0].type == "human"
    if len(kept) > max_messages:
        assert kinds(kept).rindex("H") == 0


# -- exchanges ------------------------------------------------------------------------------------


def test_exchange_texts() -> None:
    assert exchange_content("hi", "hello") == "User: hi\nAssistant: hello"
    assert exchange_content("hi", None) == exchange_content("hi", "") == "User: hi"


@given(st.text(), st.text())
def test_the_answer_in_an_exchange_is_what_was_answered(user: str, answer: str) -> None:
    assert answer_in(exchange_content(user, answer), user) == answer
    assert answer_in(exchange_content(user, None), user) == ""


@given(st.text(), st.text(min_size=1), st.text())
def test_an_answer_that_grows_keeps_its_beginning(user: str, answer: str, more: str) -> None:
    content = exchange_content(user, answer)
    assert answer_in(f"{content} {more}", user) == f"{answer} {more}"


def test_both_halves_of_a_long_exchange_are_recognised() -> None:
    said, answer = "x" * MAX_CONTENT_CHARS, "y" * MAX_CONTENT_CHARS
    assert answer_in(said, said) == ""
    assert answer_in(answer, said) == answer
    assert answer_in(exchange_content(said, answer)[:MAX_CONTENT_CHARS], said) == ""
    short = exchange_content("hi", answer)[:MAX_CONTENT_CHARS]
    assert answer_in(short, "hi") == short.removeprefix(f"User: hi\n{answer_content('')}")


def test_exchanges_pair_what_was_said_with_its_answers() -> None:
    messages = [
        SystemMessage("s"),
        HumanMessage("one"),
        AIMessage("", tool_calls=[CALL]),
        ToolMessage("r", tool_call_id="t"),
        AIMessage("first"),
        AIMessage("second"),
        HumanMessage("two"),
        HumanMessage([{"type": "image_url", "image_url": "u"}]),
        HumanMessage("three"),
        AIMessage("third"),
    ]
    assert exchanges(messages) == [
        ("one", "first second"),
        ("two", ""),
        ("three", "third"),
    ]
    assert exchanges([]) == []
    assert exchanges([AIMessage("welcome"), HumanMessage("hi")]) == [("", "welcome"), ("hi", "")]


def test_an_answer_to_a_picture_is_no_answer_to_the_words_before_it() -> None:
    picture = HumanMessage([{"type": "image_url", "image_url": "u"}])
    assert exchanges([HumanMessage("hi"), picture, AIMessage("a cat")]) == [
        ("hi", ""),
        ("", "a cat"),
    ]


def test_visible_texts_include_every_content_that_repeats_them() -> None:
    texts = visible_texts([HumanMessage("hi"), AIMessage("hello"), HumanMessage("bye")])
    assert {
        "hi", "hello", "bye", "User: hi", "User: hi\nAssistant: hello", "User: bye",
    } <= texts  # fmt: skip
    assert visible_texts([]) == set()


def test_encoded_messages_are_json() -> None:
    for message in MESSAGES:
        assert json.loads(encode_message(message))["type"] == message.type
