"""What an agent's messages say: what was asked, how it was answered, where memories go. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, TypeGuard

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from langchain_kronvex.core.context_lines import PLACEHOLDER
from langchain_kronvex.core.messages import exchange_content, jsonable, text_of, visible_texts

_PLACES = ("{memory_context}", PLACEHOLDER)


def new_words(messages: Sequence[BaseMessage]) -> list[HumanMessage]:
    """Return what the user said since the last answer."""
    said: list[HumanMessage] = []
    for message in reversed(messages):
        if isinstance(message, AIMessage | ToolMessage):
            break
        if _is_of_user(message):
            said.insert(0, message)
    return said


def words_of_user(messages: Sequence[BaseMessage]) -> list[HumanMessage]:
    """Return all that the user said."""
    return list(filter(_is_of_user, messages))


def question_in(messages: Sequence[BaseMessage]) -> HumanMessage | None:
    """Return the last message of the user."""
    return next(filter(_is_of_user, reversed(messages)), None)


def answer_in(messages: Sequence[BaseMessage], structured: Any = None) -> AIMessage | None:
    """Return the answer that ends a turn.

    It is the last message of the model; or its structured output, as JSON; or what the tool said
    whose result is the answer. Tool calls on the way are no part of it.
    """
    said = _since_last_human(messages)
    spoken = next((m for m in reversed(said) if isinstance(m, AIMessage)), None)
    if spoken and not spoken.tool_calls and text_of(spoken):
        return spoken
    if structured is not None and said:
        return AIMessage(_as_json(structured))
    text = next((text for m in reversed(said) if (text := text_of(m))), None)
    return AIMessage(text) if text else None


def shown_texts(messages: Sequence[BaseMessage]) -> set[str]:
    """Return every text by which a memory of an agent could repeat what these messages show."""
    texts = visible_texts(messages)
    for question, replies in _turns(messages):
        spoken = [m for m in replies if isinstance(m, AIMessage)]
        answers = [text_of(m) for m in [*spoken[-1:], *replies[-1:]]]
        answers += [_as_json(call["args"]) for m in spoken[-1:] for call in m.tool_calls]
        texts |= {exchange_content(question, answer) for answer in answers}
    return texts


def with_memories(system: SystemMessage | None, context: str) -> SystemMessage | None:
    """Return the system message with the context in its place, or else in a block at the end."""
    if system is None or not system.content:
        return SystemMessage(context) if context else system
    place = next((place for place in _PLACES if place in _written(system)), None)
    if place is not None:
        return system.model_copy(update={"content": _filled(system.content, place, context)})
    if not context:
        return system
    head = [_text(system.content)] if isinstance(system.content, str) else system.content
    return system.model_copy(update={"content": [*head, _text(f"\n\n{context}")]})


def keeping_memories(system: SystemMessage | None, context: str) -> SystemMessage | None:
    """Return a system message that replaces one with the context, with the context too."""
    if system is None or (context and context in _written(system)):
        return system
    return with_memories(system, context)


def _is_of_user(message: BaseMessage) -> TypeGuard[HumanMessage]:
    """Tell whether a human message is the user's own, not a summary of the conversation."""
    summary = message.additional_kwargs.get("lc_source") == "summarization"
    return isinstance(message, HumanMessage) and not summary


def _since_last_human(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    said: list[BaseMessage] = []
    for message in reversed(messages):
        if isinstance(message, HumanMessage):
            break
        said.insert(0, message)
    return said


def _turns(messages: Sequence[BaseMessage]) -> Iterator[tuple[str, list[BaseMessage]]]:
    starts = [place for place, m in enumerate(messages) if isinstance(m, HumanMessage)]
    for start, end in pairwise([*starts, len(messages)]):
        yield text_of(messages[start]), list(messages[start + 1 : end])


def _as_json(value: Any) -> str:
    return json.dumps(jsonable(value), ensure_ascii=False)


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _written(system: SystemMessage) -> str:
    if isinstance(system.content, str):
        return system.content
    return "\n".join(_text_in(block) for block in system.content)


def _text_in(block: str | dict[str, Any]) -> str:
    text = block if isinstance(block, str) else block.get("text")
    return text if isinstance(text, str) else ""


def _filled(
    content: str | list[str | dict[str, Any]], place: str, context: str
) -> str | list[str | dict[str, Any]]:
    if isinstance(content, str):
        return content.replace(place, context)
    return [
        block.replace(place, context)
        if isinstance(block, str)
        else {**block, "text": _text_in(block).replace(place, context)}
        if place in _text_in(block)
        else block
        for block in content
    ]
