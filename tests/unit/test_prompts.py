"""The input and the output of a chain."""

from __future__ import annotations

import json

import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.prompt_values import ChatPromptValue, StringPromptValue
from pydantic import BaseModel

from inside import Answer, as_messages, as_text, fill, input_of, query_of, with_context
from langchain_kronvex import InvalidInput

SYSTEM = "Known: <memory_context>!"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("hi", [HumanMessage("hi")]),
        (AIMessage("a"), [AIMessage("a")]),
        ([HumanMessage("a"), AIMessage("b")], [HumanMessage("a"), AIMessage("b")]),
        ((HumanMessage("a"),), [HumanMessage("a")]),
        ([], []),
        ([("human", "a"), ("ai", "b")], [HumanMessage("a"), AIMessage("b")]),
        ([{"role": "user", "content": "a"}], [HumanMessage("a")]),
        (StringPromptValue(text="a"), [HumanMessage("a")]),
        (ChatPromptValue(messages=[SystemMessage("s")]), [SystemMessage("s")]),
    ],
)
def test_inputs_as_messages(value, expected) -> None:
    assert as_messages(value) == expected


@pytest.mark.parametrize("value", [None, 7, 1.5, {"input": "a"}, object(), {1, 2}], ids=type)
def test_an_invalid_input_is_rejected(value) -> None:
    with pytest.raises(InvalidInput, match="must be text, a message or messages"):
        as_messages(value)


def test_the_input_of_a_dict() -> None:
    assert input_of({"input": "a", "other": 1}, "input") == "a"
    with pytest.raises(InvalidInput, match=r"no key 'input' .*'question'"):
        input_of({"question": "a"}, "input")
    with pytest.raises(InvalidInput, match="none"):
        input_of({}, "input")


@pytest.mark.parametrize(
    ("messages", "query"),
    [
        ([HumanMessage("a"), AIMessage("b")], "a"),
        ([HumanMessage("a"), AIMessage("b"), HumanMessage("c"), ToolMessage("d", tool_call_id="t")],
         "c"),
        ([SystemMessage("s"), AIMessage("b")], "b"),
        ([HumanMessage([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": "u"}])],
         "a"),
        ([], ""),
    ],
)  # fmt: skip
def test_the_query_of_messages(messages, query) -> None:
    assert query_of(messages) == query


@pytest.mark.parametrize("context", ["ctx", "", "two\nlines", "<memory_context>", "\\1 \\g<0>"])
def test_fill_keeps_the_type_of_its_input(context: str) -> None:
    human = HumanMessage("<memory_context> stays")
    before = [SystemMessage(SYSTEM, id="i", name="n"), human]
    after = [SystemMessage(f"Known: {context}!", id="i", name="n"), human]
    assert fill(before, context) == after
    assert fill(ChatPromptValue(messages=before), context) == ChatPromptValue(messages=after)
    text = StringPromptValue(text=SYSTEM)
    assert fill(text, context) == StringPromptValue(text=f"Known: {context}!")
    assert before[0].content == SYSTEM


def test_fill_reaches_blocks_of_content() -> None:
    blocks = [
        SYSTEM,
        {"type": "text", "text": SYSTEM, "cache_control": {"type": "ephemeral"}},
        {"type": "image_url", "image_url": "<memory_context>"},
        {"type": "text", "text": 7},
    ]
    (filled,) = fill([SystemMessage(blocks)], "ctx")
    assert filled.content == [
        "Known: ctx!",
        {"type": "text", "text": "Known: ctx!", "cache_control": {"type": "ephemeral"}},
        blocks[2],
        blocks[3],
    ]


def test_every_placeholder_is_filled() -> None:
    system = SystemMessage("<memory_context> and <memory_context>")
    filled = fill([system, system], "x")
    assert [message.content for message in filled] == ["x and x", "x and x"]


def test_the_whole_prompt_of_a_chain_that_takes_messages() -> None:
    history, asked = [HumanMessage("a"), AIMessage("b")], HumanMessage("c")
    system = SystemMessage("s")
    assert with_context(history, [asked], "ctx") == [SystemMessage("ctx"), *history, asked]
    assert with_context(history, [asked], "") == [*history, asked]
    assert with_context(history, [system, asked], "ctx") == [
        system,
        SystemMessage("ctx"),
        *history,
        asked,
    ]
    assert with_context(history, [SystemMessage(SYSTEM), asked], "ctx") == [
        SystemMessage("Known: ctx!"),
        *history,
        asked,
    ]
    assert with_context([], [SystemMessage(SYSTEM), asked], "") == [
        SystemMessage("Known: !"),
        asked,
    ]


def test_the_whole_prompt_of_a_chain_that_takes_text() -> None:
    history = [
        HumanMessage("a"),
        AIMessage(""),
        ToolMessage("t", tool_call_id="t"),
        AIMessage("b"),
    ]
    assert as_text(history, [HumanMessage("c")], "ctx") == "ctx\n\nUser: a\nAssistant: b\n\nc"
    assert as_text([], [HumanMessage("c")], "") == "c"


def said_by(output, key="output"):
    answer = Answer(key, "hello", is_graph=False)
    answer.hear(output)
    return answer.messages([])


class Reply(BaseModel):
    text: str


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (None, []),
        ("", []),
        ("hi", [AIMessage("hi")]),
        (AIMessage("hi"), [AIMessage("hi")]),
        (AIMessageChunk("hi"), [AIMessageChunk("hi")]),
        ([AIMessage("a"), ToolMessage("b", tool_call_id="t")],
         [AIMessage("a"), ToolMessage("b", tool_call_id="t")]),
        ([], []),
        ({"output": "hi", "steps": 3}, [AIMessage("hi")]),
        ({"answer": "hi"}, [AIMessage("hi")]),
        ({"output": {"output": "hi"}}, [AIMessage("hi")]),
        (Reply(text="hi"), [AIMessage('{"text":"hi"}')]),
    ],
)  # fmt: skip
def test_the_messages_of_an_output(output, said) -> None:
    assert said_by(output) == said


@pytest.mark.parametrize("output", [{"a": 1, "b": [2]}, [1, "two"], 7, 1.5, True], ids=repr)
def test_a_structured_answer_becomes_json(output) -> None:
    (message,) = said_by(output)
    assert json.loads(message.content) == output


def test_values_that_json_cannot_hold_are_no_answer() -> None:
    assert said_by({"a": object(), "b": {1}}) == []


def test_the_named_key_is_used() -> None:
    assert said_by({"answer": "a", "output": "b"}, "answer") == [AIMessage("a")]


def test_non_ascii_output_is_not_escaped() -> None:
    assert said_by({"a": "thé", "b": 1})[0].text == '{"a": "thé", "b": 1}'
    assert said_by(["日本"])[0].text == '["日本"]'
