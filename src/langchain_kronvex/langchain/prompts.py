"""Fills a chain's input with memory, and reads its output as messages. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    convert_to_messages,
)
from langchain_core.prompt_values import ChatPromptValue, PromptValue, StringPromptValue
from pydantic import BaseModel

from langchain_kronvex.core.context_lines import PLACEHOLDER
from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.core.messages import jsonable, text_of


def as_messages(value: Any) -> list[BaseMessage]:
    """Return a user's input (text, message, messages or prompt value) as messages.

    Raises:
        InvalidInput: the input has another type.
    """
    if isinstance(value, str):
        return [HumanMessage(value)]
    if isinstance(value, BaseMessage):
        return [value]
    if isinstance(value, PromptValue):
        return value.to_messages()
    if isinstance(value, Sequence):
        return convert_to_messages(value)
    raise InvalidInput(
        f"The input must be text, a message or messages, not {type(value).__name__}."
    )


def input_of(value: Mapping[str, Any], key: str) -> Any:
    """Return the user's message from a dict.

    Raises:
        InvalidInput: the dict does not have this key.
    """
    if key not in value:
        raise InvalidInput(
            f"The input has no key {key!r} (it has {', '.join(map(repr, value)) or 'none'}); "
            "pass the name of the key of the user's message."
        )
    return value[key]


def fill(value: Any, context: str) -> Any:
    """Replace `<memory_context>` in the system messages, or in a text prompt, by the context.

    The result has the type of the value: messages, or a prompt value.
    """
    if isinstance(value, StringPromptValue):
        return StringPromptValue(text=value.text.replace(PLACEHOLDER, context))
    if isinstance(value, PromptValue):
        return ChatPromptValue(messages=fill(value.to_messages(), context))
    return [
        message.model_copy(update={"content": replaced(message.content, PLACEHOLDER, context)})
        if isinstance(message, SystemMessage)
        else message
        for message in value
    ]


def replaced(content: Any, old: str, new: str) -> Any:
    """Return the content of a message, or a block of it, with a text replaced by another."""
    if isinstance(content, str):
        return content.replace(old, new)
    if isinstance(content, list):
        return [replaced(block, old, new) for block in content]
    if isinstance(content, Mapping) and isinstance(content.get("text"), str):
        return {**content, "text": content["text"].replace(old, new)}
    return content


def with_context(
    history: Sequence[BaseMessage], new: Sequence[BaseMessage], context: str
) -> list[BaseMessage]:
    """Return the whole prompt of a chain that takes messages.

    The context replaces `<memory_context>` in a system message. Without that placeholder, it is
    added in a system message of its own.
    """
    system = [message for message in new if isinstance(message, SystemMessage)]
    filled = fill(system, context)
    if context and filled == system:
        filled.append(SystemMessage(context))
    return [*filled, *history, *_without_system(new)]


def as_text(history: Sequence[BaseMessage], new: Sequence[BaseMessage], context: str) -> str:
    """Return the whole prompt of a chain that takes a text."""
    labels = {"human": "User", "ai": "Assistant"}
    earlier = [
        f"{labels[message.type]}: {text_of(message)}"
        for message in history
        if message.type in labels and text_of(message)
    ]
    asked = "\n".join(text_of(message) for message in new)
    return "\n\n".join(part for part in (context, "\n".join(earlier), asked) if part)


def said_by(output: Any, output_key: str) -> list[BaseMessage]:
    """Return a chain's output as messages to save.

    Text becomes an AI message. Messages stay as they are. From a dict, the value of `output_key`
    is used, or its only value. A structured answer becomes JSON text.
    """
    if output is None or output == "":
        return []
    if isinstance(output, str):
        return [AIMessage(output)]
    if isinstance(output, BaseMessage):
        return [output]
    if isinstance(output, BaseModel):
        return [AIMessage(output.model_dump_json())]
    if isinstance(output, Mapping):
        if output_key in output:
            return said_by(output[output_key], output_key)
        if len(output) == 1:
            return said_by(next(iter(output.values())), output_key)
        return [AIMessage(as_json(dict(output)))]
    if isinstance(output, Sequence) and all(isinstance(item, BaseMessage) for item in output):
        return list(output)
    return [AIMessage(as_json(output))]


def as_json(value: Any) -> str:
    """Return a value as JSON text; parts that JSON cannot hold become text."""
    return json.dumps(jsonable(value), ensure_ascii=False)


def without_prompt(said: Sequence[BaseMessage], prompt: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return an answer without the prompt that agents return in front of it.

    System messages never belong to an answer. Ids are not compared, because agents set them.
    """
    answer, shown = _without_system(said), _without_system(prompt)
    if [_gist(m) for m in answer[: len(shown)]] == [_gist(m) for m in shown]:
        return answer[len(shown) :]
    return answer


def _without_system(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    return [message for message in messages if not isinstance(message, SystemMessage)]


def _gist(message: BaseMessage) -> tuple[Any, ...]:
    calls = [
        (call["name"], call["args"], call["id"]) for call in getattr(message, "tool_calls", [])
    ]
    return message.type, message.content, calls, getattr(message, "tool_call_id", None)
