"""LangChain messages: stored exactly, windowed at turns, and read as exchanges. Pure functions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    BaseMessageChunk,
    HumanMessage,
    message_chunk_to_message,
    message_to_dict,
    messages_from_dict,
)
from pydantic_core import to_jsonable_python

from langchain_kronvex.core.errors import InvalidInput

_TYPES = frozenset({"human", "ai", "system", "tool", "chat", "function", "remove"})
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def check_messages(messages: Sequence[BaseMessage]) -> None:
    """Refuse what is no list of messages.

    Raises:
        InvalidInput: it is something else, or holds something else.
    """
    if isinstance(messages, Sequence) and all(isinstance(m, BaseMessage) for m in messages):
        return
    raise InvalidInput(
        "messages must be a list of LangChain messages, such as HumanMessage(...) and "
        "AIMessage(...)."
    )


def encode_message(message: BaseMessage) -> str:
    """Return a message as JSON text; a chunk of a stream as the message it belongs to.

    Values that JSON does not know (a tool's artifact, say) are stored as pydantic writes them,
    or else as their `repr`.

    Raises:
        InvalidInput: it could not be read again.
    """
    try:
        return _encoded(message)
    except Exception as error:
        raise InvalidInput(
            f"A message of type {type(message).__name__} cannot be stored, because it could not be "
            f"read again ({type(error).__name__}). Use LangChain's own message classes, with "
            "values that JSON can hold."
        ) from error


def _encoded(message: BaseMessage) -> str:
    whole = message_chunk_to_message(message) if isinstance(message, BaseMessageChunk) else message
    as_dict = message_to_dict(whole)
    try:
        text = json.dumps(as_dict)
    except (TypeError, ValueError, RecursionError):
        fields = {name: jsonable(value) for name, value in as_dict["data"].items()}
        text = json.dumps({**as_dict, "data": fields})
    else:
        if as_dict["type"] in _TYPES:
            return text
    decode_message(text)
    return text


def jsonable(value: Any) -> Any:
    """Return a value as JSON can hold it: as pydantic writes it, or else as its `repr`."""
    try:
        return to_jsonable_python(value, fallback=repr, bytes_mode="base64")
    except (TypeError, ValueError, RecursionError):  # it holds itself, say
        return repr(value)


def decode_message(text: str) -> BaseMessage:
    """Return the message that `encode_message` was given."""
    return messages_from_dict([json.loads(text)])[0]


def window(messages: Sequence[BaseMessage], max_messages: int) -> list[BaseMessage]:
    """Return the last whole turns that hold at most `max_messages` messages.

    A turn starts with a human message, so no tool message loses its call. The last turn is
    returned whole even when it alone is longer. Without any human message the cut is plain.
    """
    turns = [place for place, message in enumerate(messages) if isinstance(message, HumanMessage)]
    if len(messages) <= max_messages:
        return list(messages)
    fitting = [start for start in turns if len(messages) - start <= max_messages]
    start = fitting[0] if fitting else turns[-1] if turns else len(messages) - max_messages
    return list(messages[start:])


def text_of(message: BaseMessage) -> str:
    """Return the text of a message, without what cannot be stored as text; "" for none."""
    return _UNSTORABLE.sub("", str(message.text)).strip()


def exchange_content(user_text: str, assistant_text: str | None) -> str:
    """Return how an exchange is remembered; without an answer, the user's words alone."""
    said = f"User: {user_text}"
    return f"{said}\n{answer_content(assistant_text)}" if assistant_text else said


def answer_in(content: str, user_text: str) -> str:
    """Return what the assistant said in an exchange that is remembered as `content`."""
    said = exchange_content(user_text, None)
    if content.startswith(said):
        return content[len(said) :].removeprefix(f"\n{answer_content('')}")
    # Too long to be kept in one: then either the user's words stand there, or the answer.
    return "" if said.startswith(content) or content == user_text else content


def answer_content(assistant_text: str) -> str:
    """Return how an answer is remembered to which the user said nothing in words."""
    return f"Assistant: {assistant_text}"


def exchanges(messages: Iterable[BaseMessage]) -> list[tuple[str, str]]:
    """Return (what the user said, what the assistant answered) for each turn, "" for nothing.

    Only texts count: tool calls, tool messages and system messages are passed over.
    """
    found: list[tuple[str, str]] = []
    for message in messages:
        text = text_of(message)
        if isinstance(message, HumanMessage):
            found.append((text, ""))
        elif isinstance(message, AIMessage) and text:
            user, answer = found.pop() if found else ("", "")
            found.append((user, f"{answer} {text}".lstrip()))
    return [turn for turn in found if any(turn)]


def visible_texts(messages: Sequence[BaseMessage]) -> set[str]:
    """Return every text by which a memory could repeat what these messages show."""
    texts = {text_of(message) for message in messages}
    texts |= {answer_content(text) for text in texts}
    for user, answer in exchanges(messages):
        texts |= {exchange_content(user, None), exchange_content(user, answer)}
    return texts


def query_of(messages: Sequence[BaseMessage]) -> str:
    """Return what to look for: the text of the last human message, or else of the last one."""
    for message in reversed(messages):
        if isinstance(message, HumanMessage):
            return text_of(message)
    return text_of(messages[-1]) if messages else ""
