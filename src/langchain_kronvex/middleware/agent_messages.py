"""Reads an agent's messages (questions, answers), and adds memories to them. Pure functions."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise, takewhile
from typing import Any, TypeGuard

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_kronvex.core.context_lines import PLACEHOLDER
from langchain_kronvex.core.messages import exchange_content, is_notice, text_of, visible_texts
from langchain_kronvex.langchain.prompts import as_json, as_messages, replaced

_PLACES = ("{memory_context}", PLACEHOLDER)


def identified(messages: Any) -> list[BaseMessage]:
    """Return an agent's messages, each with an id.

    Some graphs keep messages without ids. Such a message is named after its text, and counted
    among equal ones, so that it has the same id whenever the state is read.
    """
    named, equal = [], Counter[str]()
    for message in as_messages(messages):
        if not message.id:
            name = f"{message.type}-{digest(message)}"
            equal[name] += 1
            message = message.model_copy(update={"id": f"{name}-{equal[name]}"})
        named.append(message)
    return named


def digest(message: BaseMessage) -> str:
    """Return a digest of a message's text."""
    return hashlib.sha256(text_of(message).encode()).hexdigest()[:16]


def new_words(messages: Sequence[BaseMessage]) -> list[HumanMessage]:
    """Return the user's messages since the last answer."""
    said = takewhile(lambda m: not isinstance(m, AIMessage | ToolMessage), reversed(messages))
    return words_of_user(list(said)[::-1])


def words_of_user(messages: Sequence[BaseMessage]) -> list[HumanMessage]:
    """Return all messages of the user."""
    return list(filter(_is_of_user, messages))


def question_in(messages: Sequence[BaseMessage]) -> HumanMessage | None:
    """Return the last message of the user."""
    return next(filter(_is_of_user, reversed(messages)), None)


def answer_in(messages: Sequence[BaseMessage], structured: Any = None) -> AIMessage | None:
    """Return the answer that ends a turn.

    The answer is the last message of the model, or its structured output as JSON, or the result of
    a tool that ends the turn. Earlier tool calls do not belong to it. A notice that the turn was
    broken off is not an answer.
    """
    said = list(takewhile(lambda m: not isinstance(m, HumanMessage), reversed(messages)))
    spoken = next((m for m in said if isinstance(m, AIMessage)), None)
    if spoken and is_notice(spoken):
        return None
    if spoken and not spoken.tool_calls and text_of(spoken):
        return spoken
    if structured is not None and said:
        return AIMessage(as_json(structured), id=said[0].id)
    last = next((m for m in said if text_of(m)), None)
    if last is None or getattr(last, "status", None) == "error":
        return None
    return AIMessage(text_of(last), id=last.id)


def shown_texts(messages: Sequence[BaseMessage]) -> set[str]:
    """Return the texts of all memories that would only repeat these messages."""
    texts = visible_texts(messages)
    starts = [place for place, m in enumerate(messages) if isinstance(m, HumanMessage)]
    for start, end in pairwise([*starts, len(messages)]):
        question, replies = text_of(messages[start]), messages[start + 1 : end]
        answers = [text_of(m) for m in replies]
        answers += [as_json(call["args"]) for m in replies for call in getattr(m, "tool_calls", ())]
        texts |= {exchange_content(question, answer) for answer in answers}
    return texts


def with_memories(system: SystemMessage | None, context: str) -> SystemMessage | None:
    """Return the system message with the context in its placeholder, or else at the end."""
    if system is None or not system.content:
        return SystemMessage(context) if context else system
    for place in _PLACES:
        content = replaced(system.content, place, context)
        if content != system.content:
            return system.model_copy(update={"content": content})
    if not context:
        return system
    head = [_text(system.content)] if isinstance(system.content, str) else system.content
    return system.model_copy(update={"content": [*head, _text(f"\n\n{context}")]})


def keeping_memories(system: SystemMessage | None, context: str) -> SystemMessage | None:
    """Return a system message that replaces another one, with the context of that one."""
    if system is None or (context and replaced(system.content, context, "") != system.content):
        return system
    return with_memories(system, context)


def _is_of_user(message: BaseMessage) -> TypeGuard[HumanMessage]:
    """Return whether a message is the user's own, and not a summary of the conversation."""
    summary = message.additional_kwargs.get("lc_source") == "summarization"
    return isinstance(message, HumanMessage) and not summary


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
