"""Fills the input of a chain with memory. Pure functions."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, convert_to_messages
from langchain_core.prompt_values import ChatPromptValue, PromptValue, StringPromptValue
from langchain_core.prompts import BasePromptTemplate
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda, RunnableSerializable

from langchain_kronvex.core.context_lines import PLACEHOLDER
from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.core.messages import jsonable, text_of
from langchain_kronvex.core.options import warn_once
from langchain_kronvex.langchain.answers import without_system


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
            "name the one of the user's message: input_messages_key= of with_memory, or input_key= "
            "of KronvexMemoryContext."
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
    return [*filled, *history, *without_system(new)]


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


def with_place(chain: Runnable[Any, Any], key: str) -> Any:
    """Return a chain whose prompts also fill `<memory_context>` by the value of a key.

    Warn if it has prompts, or is a graph, but nothing in it takes the context.
    """
    if PLACEHOLDER in repr(chain):
        return _filling(chain, key)
    prompts, inputs = chain.get_prompts(), {}
    if any(key in prompt.input_variables for prompt in prompts):
        return chain
    with contextlib.suppress(Exception):  # not every type has a schema
        if prompts or hasattr(chain, "stream_mode"):  # a graph
            inputs = chain.get_input_jsonschema().get("properties", {})
    if inputs and key not in inputs:
        warn_once(
            "The chain has no place for memories, so the model does not see them. Add "
            f"{{{key}}} to the prompt; an agent gets memories from KronvexMemoryMiddleware."
        )
    return chain


def _filled_prompt(prompt: Any, key: str, value: Any, config: RunnableConfig) -> Any:
    return fill(prompt.invoke(value, config), value[key])


def _filling(part: Any, key: str) -> Any:
    if isinstance(part, BasePromptTemplate) and PLACEHOLDER in repr(part):
        return RunnableLambda(functools.partial(_filled_prompt, part, key), name=part.get_name())
    if isinstance(part, RunnableSerializable) and PLACEHOLDER in repr(part):
        fields = type(part).model_fields
        return part.model_copy(update={n: _filling(getattr(part, n), key) for n in fields})
    if isinstance(part, list | tuple):
        return type(part)(_filling(each, key) for each in part)
    return {k: _filling(v, key) for k, v in part.items()} if isinstance(part, dict) else part


def as_json(value: Any) -> str:
    """Return a value as JSON text; parts that JSON cannot hold become text."""
    return json.dumps(jsonable(value), ensure_ascii=False)
