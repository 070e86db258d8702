"""What a chain is given and what it says: inputs filled with memory, outputs as messages. Pure."""

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
    """Return a user's input (text, message, messages, prompt value) as messages.

    Raises:
        InvalidInput: it is none of these.
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
    """Return the user's message of a dict.

    Raises:
        InvalidInput: the dict has no such key.
    """
    if key not in value:
        raise InvalidInput(
            f"The input has no key {key!r} (it has {', '.join(map(repr, value)) or 'none'}); "
            "name the key of the user's message."
        )
    return value[key]


def fill(value: Any, context: str) -> Any:
    """Put the context where `<memory_context>` stands in the system messages.

    Messages, prompt values and texts come back as what they were.
    """
    if isinstance(value, StringPromptValue):
        return StringPromptValue(text=value.text.replace(PLACEHOLDER, context))
    if isinstance(value, PromptValue):
        return ChatPromptValue(messages=fill(value.to_messages(), context))
    return [
        message.model_copy(update={"content": _filled(message.content, context)})
        if isinstance(message, SystemMessage)
        else message
        for message in value
    ]


def has_placeholder(messages: Sequence[BaseMessage]) -> bool:
    """Tell whether a system message has a place for the context."""
    return any(
        isinstance(message, SystemMessage) and PLACEHOLDER in json.dumps(message.content)
        for message in messages
    )


def _filled(content: str | list[Any], context: str) -> str | list[Any]:
    if isinstance(content, str):
        return content.replace(PLACEHOLDER, context)
    return [
        {**block, "text": block["text"].replace(PLACEHOLDER, context)}
        if isinstance(block, Mapping) and isinstance(block.get("text"), str)
        else _filled(block, context)
        if isinstance(block, str)
        else block
        for block in content
    ]


def with_context(
    history: Sequence[BaseMessage], new: Sequence[BaseMessage], context: str
) -> list[BaseMessage]:
    """Return the whole prompt of a chain that takes messages.

    The context goes where `<memory_context>` stands, or else into a system message of its own
    in front.
    """
    system = [message for message in new if isinstance(message, SystemMessage)]
    said = [message for message in new if not isinstance(message, SystemMessage)]
    if has_placeholder(system):
        system = fill(system, context)
    elif context:
        system.append(SystemMessage(context))
    return [*system, *history, *said]


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
    """Return what a chain's output says, as messages to be saved.

    Text becomes an AI message; messages stay; of a dict the value of `output_key` is taken (or
    the only value there is); a structured answer is saved as its JSON text.
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
        return [AIMessage(json.dumps(jsonable(dict(output)), ensure_ascii=False))]
    if isinstance(output, Sequence) and all(isinstance(item, BaseMessage) for item in output):
        return list(output)
    return [AIMessage(json.dumps(jsonable(output), ensure_ascii=False))]


def without_prompt(said: Sequence[BaseMessage], prompt: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Leave out what agents return in front of their answer: the prompt they were given.

    System messages are no part of an answer; ids, which agents fill in, do not count.
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
