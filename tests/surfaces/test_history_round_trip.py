"""A chat history restores messages exactly and in order."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    HumanMessageChunk,
    SystemMessage,
    SystemMessageChunk,
    ToolMessage,
    message_to_dict,
)
from langchain_core.messages.tool import tool_call, tool_call_chunk
from pydantic import BaseModel

from langchain_kronvex import KronvexChatMessageHistory, KronvexMemory


def plain(message: BaseMessage) -> str:
    """Every field of a message as text, so that NaN equals NaN."""
    return json.dumps(message_to_dict(message), sort_keys=True)


class Row(BaseModel):
    """A tool's result."""

    at: datetime
    raw: bytes


class Unknown:
    """A value that neither JSON nor pydantic can serialize."""

    def __repr__(self) -> str:
        return "<unknown>"


NOON = datetime(2026, 4, 28, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("artifact", "stored"),
    [
        (Row(at=NOON, raw=b"abc"), {"at": "2026-04-28T12:00:00Z", "raw": "YWJj"}),
        ({"at": NOON}, {"at": "2026-04-28T12:00:00Z"}),
        ({"raw": b"\xff\xfe"}, {"raw": "__4="}),
        ([Unknown()], ["<unknown>"]),
        ({"tags": {"a"}}, {"tags": ["a"]}),
    ],
)
def test_an_artifact_beyond_json_is_stored_as_pydantic_writes_it(
    memory: KronvexMemory, artifact: Any, stored: Any
) -> None:
    message = ToolMessage("done", tool_call_id="call-1", artifact=artifact)

    memory.chat_history("chat").add_messages([message])

    [read] = memory.chat_history("chat").messages
    assert read.artifact == stored
    assert (read.content, read.tool_call_id) == ("done", "call-1")


@pytest.mark.parametrize(
    "text", ["half \ud83d of a pair", "nul \0 nul"], ids=["lone surrogate", "NUL"]
)
def test_odd_characters_and_an_artifact_beyond_json_together(
    memory: KronvexMemory, text: str
) -> None:
    message = ToolMessage(text, tool_call_id="call-1", artifact={"at": NOON})

    memory.chat_history("chat").add_messages([message])

    [read] = memory.chat_history("chat").messages
    assert read.content == text


def test_an_artifact_that_contains_itself_does_not_lose_the_turn(memory: KronvexMemory) -> None:
    knot: dict[str, Any] = {}
    knot["self"] = knot
    history = memory.chat_history("chat")

    history.add_messages(
        [HumanMessage("Run it."), ToolMessage("done", tool_call_id="call-1", artifact=knot)]
    )

    assert [message.content for message in history.messages] == ["Run it.", "done"]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children),
    max_leaves=5,
)
TEXTS = st.text(alphabet=st.characters())  # surrogates and control characters included
CONTENTS = TEXTS | st.lists(
    TEXTS | st.builds(lambda text: {"type": "text", "text": text}, TEXTS), max_size=3
)
ANY_MESSAGE = st.one_of(
    st.builds(HumanMessage, CONTENTS, additional_kwargs=st.dictionaries(TEXTS, JSON_VALUES)),
    st.builds(AIMessage, CONTENTS, response_metadata=st.dictionaries(TEXTS, JSON_VALUES)),
    st.builds(SystemMessage, CONTENTS),
    st.builds(ToolMessage, CONTENTS, tool_call_id=TEXTS, artifact=JSON_VALUES),
    st.builds(ChatMessage, CONTENTS, role=TEXTS),
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(messages=st.lists(ANY_MESSAGE, max_size=5))
def test_any_content_is_restored_exactly(
    memory: KronvexMemory, messages: list[BaseMessage]
) -> None:
    history = KronvexChatMessageHistory("any", memory=memory, remember=False)
    history.clear()

    history.add_messages(messages)

    assert [plain(message) for message in history.messages] == [plain(m) for m in messages]


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=TEXTS, answer=TEXTS)
def test_remembering_never_prevents_storing(memory: KronvexMemory, text: str, answer: str) -> None:
    history = memory.chat_history("any")
    history.clear()

    history.add_messages([HumanMessage(text), AIMessage(answer)])

    assert [message.content for message in history.messages] == [text, answer]


CALL_CHUNKS = [
    tool_call_chunk(name="search", args='{"q": ', id="call-1", index=0),
    tool_call_chunk(name=None, args='"tea"}', id=None, index=0),
]


def test_a_streamed_answer_is_stored_as_the_message_it_is(memory: KronvexMemory) -> None:
    chunk = AIMessageChunk("Hello", id="run-1", response_metadata={"model_name": "fake"})

    memory.chat_history("chat").add_messages([chunk])

    [read] = memory.chat_history("chat").messages
    assert type(read) is AIMessage
    assert read == AIMessage("Hello", id="run-1", response_metadata={"model_name": "fake"})


def test_merged_chunks_keep_their_tool_calls_and_usage(memory: KronvexMemory) -> None:
    usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    merged = (
        AIMessageChunk("Let me ", id="run-1", tool_call_chunks=CALL_CHUNKS[:1])
        + AIMessageChunk("look.", id="run-1", tool_call_chunks=CALL_CHUNKS[1:])
        + AIMessageChunk("", usage_metadata=usage, chunk_position="last")
    )

    memory.chat_history("chat").add_messages([merged])

    [read] = memory.chat_history("chat").messages
    assert type(read) is AIMessage
    assert read.text == "Let me look."
    assert read.id == "run-1"
    assert read.tool_calls == [tool_call(name="search", args={"q": "tea"}, id="call-1")]
    assert read.usage_metadata == usage


def test_chunks_of_other_types_become_messages_too(memory: KronvexMemory) -> None:
    memory.chat_history("chat").add_messages([SystemMessageChunk("Be"), HumanMessageChunk("Hi")])

    assert memory.chat_history("chat").messages == [SystemMessage("Be"), HumanMessage("Hi")]


OPENAI_CALLS: dict[str, Any] = {
    "tool_calls": [
        {"id": "call-1", "type": "function", "function": {"name": "t", "arguments": "{}"}},
        {"id": "call-2", "type": "function", "function": {"name": "t", "arguments": "{"}},
    ]
}


class OwnMessage(AIMessage):
    """A program's own class; it is read as an `AIMessage`."""

    def __init__(self, content: Any = "", **fields: Any) -> None:
        super().__init__(content=content, **{"name": "filled in", **fields})


@pytest.mark.parametrize("kind", [AIMessage, AIMessageChunk, OwnMessage])
@pytest.mark.parametrize(
    "emptied", [{"tool_calls"}, {"invalid_tool_calls"}, {"tool_calls", "invalid_tool_calls"}],
    ids=lambda fields: "+".join(sorted(fields)),
)  # fmt: skip
def test_tool_calls_that_were_taken_out_stay_out(
    memory: KronvexMemory, kind: type[AIMessage], emptied: set[str]
) -> None:
    message = kind("Never mind.", additional_kwargs=OPENAI_CALLS)
    for name in emptied:
        setattr(message, name, [])
    history = memory.chat_history("chat", "ana")

    history.add_messages([message, AIMessage("Kept.", additional_kwargs=OPENAI_CALLS)])

    read, kept = history.messages
    assert isinstance(read, AIMessage)
    assert isinstance(kept, AIMessage)
    assert read.tool_calls == message.tool_calls
    assert read.invalid_tool_calls == message.invalid_tool_calls
    assert read.additional_kwargs == OPENAI_CALLS
    assert (len(kept.tool_calls), len(kept.invalid_tool_calls)) == (1, 1)


def test_a_field_that_is_filled_in_on_reading_stays_empty(memory: KronvexMemory) -> None:
    history = memory.chat_history("chat", "ana")
    message = OwnMessage("Hello")
    message.name = None

    history.add_messages([message])

    assert history.messages[0].name is None
