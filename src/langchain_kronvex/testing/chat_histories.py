"""The contract of a chat history: what a `BaseChatMessageHistory` must keep."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Sequence
from typing import ClassVar

import pytest
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
    message_to_dict,
)
from langchain_core.messages.tool import invalid_tool_call, tool_call

from langchain_kronvex.testing.suite import HOSTILE_IDS, ContractTests, in_threads

OpenHistory = Callable[[str], BaseChatMessageHistory]

_IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
_CALL = tool_call(name="search", args={"q": "tea", "n": [1, 2.5, None]}, id="call-1")
_ANSWER = AIMessage(
    content="Let me look.",
    name="guide",
    id="run-7",
    tool_calls=[_CALL],
    invalid_tool_calls=[invalid_tool_call(name="search", args="{", id="call-2", error="no JSON")],
    usage_metadata={
        "input_tokens": 10,
        "output_tokens": 5,
        "total_tokens": 15,
        "input_token_details": {"cache_read": 3},
    },
    response_metadata={"model_name": "fake", "finish_reason": "tool_calls"},
    additional_kwargs={"refusal": None, "nested": {"deep": [True]}},
)
_MESSAGES: dict[str, list[BaseMessage]] = {
    "people": [
        HumanMessage("Hello", id="h-1", name="Ana"),
        HumanMessage(""),
        HumanMessage(" \n\t "),
        HumanMessage([{"type": "text", "text": "What is this?"}, _IMAGE]),
        HumanMessage(["Look:", _IMAGE]),
        HumanMessage("Hi", additional_kwargs={"locale": "de", "flags": [1, None]}),
        ChatMessage(content="Order!", role="moderator"),
    ],
    "answers": [
        AIMessage("Hello, Ana."),
        AIMessage([{"type": "reasoning", "reasoning": "hm"}, "Tea."]),
        SystemMessage("Be brief.", id="s-1"),
        SystemMessage([{"type": "text", "text": "Be brief."}]),
        RemoveMessage(id="h-1"),
    ],
    "tools": [
        _ANSWER,
        AIMessage("", tool_calls=[_CALL]),
        ToolMessage("42", tool_call_id="call-1", name="search", status="error"),
        ToolMessage("42", tool_call_id="call-1", artifact={"rows": [[1, "a"], [2, None]]}),
        FunctionMessage(content="42", name="search"),
    ],
    "unusual characters": [
        HumanMessage("👩‍👩‍👧 🇩🇪 e\u0301 \u202e \u2028"),
        HumanMessage("a\r\nb\rc\n"),
        HumanMessage("before\0after"),
        AIMessage("half \ud83d of a pair \udc00"),
    ],
    "unusual numbers": [
        AIMessage(
            "Hm.", response_metadata={"logprobs": [math.nan, math.inf, -math.inf, -0.0, 1e-320]}
        )
    ],
}
_TURNS = 15


class ChatHistoryTests(ContractTests):
    """Tests of a chat history; a subclass overrides the fixture `open_history`.

    Attributes:
        appends_together: Whether the messages of one `add_messages` stay side by side when others
            write to the same session at the same time.
    """

    appends_together: ClassVar[bool] = True

    @pytest.fixture
    def open_history(self) -> OpenHistory:
        """Override it.

        Returns:
            A function that opens the history of a session id. Opened twice, a session has the same
            messages. At the start of a test all sessions are empty.
        """
        raise NotImplementedError("Override the fixture open_history in your test class.")

    def test_a_new_session_is_empty(self, open_history: OpenHistory) -> None:
        """Nothing is stored yet, and adding no messages stores nothing."""
        history = open_history("chat")
        assert isinstance(history, BaseChatMessageHistory)
        history.add_messages([])
        assert history.messages == []
        assert str(history) == ""

    def test_single_messages_are_appended(self, open_history: OpenHistory) -> None:
        """Each way to add one message appends it."""
        history = open_history("chat")
        history.add_user_message("Hello")
        history.add_ai_message("Hello, Ana.")
        history.add_message(HumanMessage("How are you?"))
        history.add_ai_message(AIMessage("Fine."))
        assert open_history("chat").messages == [
            HumanMessage("Hello"),
            AIMessage("Hello, Ana."),
            HumanMessage("How are you?"),
            AIMessage("Fine."),
        ]
        assert str(history).splitlines()[:2] == ["Human: Hello", "AI: Hello, Ana."]

    @pytest.mark.parametrize("kind", _MESSAGES)
    def test_messages_are_restored_exactly(self, open_history: OpenHistory, kind: str) -> None:
        """Every kind of message keeps its type, every field and its place; nothing is changed."""
        given, expected = _copies(kind), _MESSAGES[kind]
        for message in given[:2]:
            open_history("chat").add_message(message)
        open_history("chat").add_messages(given[2:])
        read = open_history("chat").messages
        assert [type(message) for message in read] == [type(message) for message in expected]
        assert _plain(read) == _plain(given) == _plain(expected)

    def test_a_message_of_two_megabytes_is_restored(self, open_history: OpenHistory) -> None:
        """The length of a message is not limited."""
        text = "word " * 400_000
        open_history("chat").add_user_message(text)
        is_same = _texts(open_history("chat").messages) == [text]
        assert is_same  # showing the difference would take hours

    def test_many_messages_keep_their_order(self, open_history: OpenHistory) -> None:
        """1,000 messages of one call, and later ones, are in the order they were added in."""
        texts = [f"line {number}" for number in range(1000)]
        history = open_history("chat")
        history.add_messages([HumanMessage(text) for text in texts])
        history.add_user_message("last")
        assert _texts(open_history("chat").messages) == [*texts, "last"]

    def test_later_changes_of_objects_change_nothing(self, open_history: OpenHistory) -> None:
        """What is stored depends neither on the given messages nor on the returned list."""
        message = HumanMessage("Hello")
        history = open_history("chat")
        history.add_messages([message])
        message.content = "changed"
        history.messages.clear()
        assert _texts(history.messages) == ["Hello"]

    def test_clear_empties_one_session(self, open_history: OpenHistory) -> None:
        """`clear` removes the messages of its session, which can be used again."""
        for session in ("chat", "other"):
            open_history(session).add_user_message("Hello")
        open_history("chat").clear()
        open_history("never used").clear()
        assert open_history("chat").messages == []
        assert _texts(open_history("other").messages) == ["Hello"]
        open_history("chat").add_user_message("Again")
        assert _texts(open_history("chat").messages) == ["Again"]

    def test_sessions_are_separate_whatever_their_ids(self, open_history: OpenHistory) -> None:
        """Ids match exactly: no patterns, no paths, no normalization, no trimming."""
        for session in HOSTILE_IDS:
            open_history(session).add_user_message(f"in {session}")
        for session in HOSTILE_IDS:
            assert _texts(open_history(session).messages) == [f"in {session}"]
        open_history(HOSTILE_IDS[0]).clear()
        left = [session for session in HOSTILE_IDS if open_history(session).messages]
        assert left == list(HOSTILE_IDS[1:])

    def test_messages_survive_a_restart(
        self, open_history: OpenHistory, reopen: Callable[[], None]
    ) -> None:
        """After everything was closed, the messages are read from where they were stored."""
        open_history("chat").add_messages([HumanMessage("Hello"), _ANSWER])
        reopen()
        assert open_history("chat").messages == [HumanMessage("Hello"), _ANSWER]
        open_history("chat").add_user_message("Again")
        assert len(open_history("chat").messages) == 3

    def test_threads_lose_nothing(self, open_history: OpenHistory) -> None:
        """Threads that write to one session at once keep their turns, each in its order."""

        def write(writer: int) -> None:
            history = open_history("chat")
            for number in range(_TURNS):
                history.add_messages(_turn(writer, number))

        writers = in_threads(write)
        self._check_turns(open_history("chat").messages, writers)

    @pytest.mark.asyncio
    async def test_tasks_lose_nothing(self, open_history: OpenHistory) -> None:
        """The same for tasks of an event loop."""

        async def write(writer: int) -> None:
            history = open_history("chat")
            for number in range(_TURNS):
                await history.aadd_messages(_turn(writer, number))

        await asyncio.gather(*(write(writer) for writer in range(6)))
        self._check_turns(await open_history("chat").aget_messages(), 6)

    @pytest.mark.asyncio
    async def test_async_methods_do_the_same(self, open_history: OpenHistory) -> None:
        """`aadd_messages`, `aget_messages` and `aclear` do what the sync methods do."""
        history = open_history("chat")
        await history.aadd_messages(_copies("people"))
        await history.aadd_messages(_copies("tools"))
        expected = _plain(_MESSAGES["people"] + _MESSAGES["tools"])
        assert _plain(await history.aget_messages()) == expected
        assert _plain(history.messages) == expected
        await history.aclear()
        assert await history.aget_messages() == []

    def _check_turns(self, messages: Sequence[BaseMessage], writers: int) -> None:
        texts = _texts(messages)
        assert len(texts) == writers * _TURNS * 2
        for writer in range(writers):
            own = [text for text in texts if text.startswith(f"{writer}.")]
            expected = [_turn(writer, number) for number in range(_TURNS)]
            assert own == [message.content for turn in expected for message in turn]
        if self.appends_together:
            pairs = zip(texts[::2], texts[1::2], strict=True)
            assert all(asked.split()[0] == answered.split()[0] for asked, answered in pairs)


def _copies(kind: str) -> list[BaseMessage]:
    return [message.model_copy(deep=True) for message in _MESSAGES[kind]]


def _plain(messages: Sequence[BaseMessage]) -> list[str]:
    """Return every field of each message as text, so that NaN equals NaN."""
    return [json.dumps(message_to_dict(message), sort_keys=True) for message in messages]


def _texts(messages: Sequence[BaseMessage]) -> list[str]:
    return [str(message.content) for message in messages]


def _turn(writer: int, number: int) -> list[BaseMessage]:
    return [HumanMessage(f"{writer}.{number} asked"), AIMessage(f"{writer}.{number} answered")]
