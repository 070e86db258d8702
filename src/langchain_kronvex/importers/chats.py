"""Chats of other projects: messages of a session, and a memory of each exchange."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.core.messages import (
    answer_content,
    encode_message,
    exchange_content,
    exchanges,
)
from langchain_kronvex.importers.entries import Entry, Found, Misfit, derived_id, entry, origin
from langchain_kronvex.memory.transfer.format import Fields

ROLES: dict[str, type[BaseMessage]] = {
    "user": HumanMessage,
    "human": HumanMessage,
    "assistant": AIMessage,
    "ai": AIMessage,
    "system": SystemMessage,
}


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation: its source, user and session, and the metadata of its memories."""

    source: str
    user_id: str | None
    session_id: str
    about: Fields = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Said:
    """A message: its place, its id in the source, and what was said.

    `name` stands for the id where the source has none.
    """

    where: str
    source_id: str | None
    name: str
    message: BaseMessage
    at: datetime
    metadata: Fields = field(default_factory=dict)


def message_of(role: object, text: str, source_id: str | None) -> BaseMessage:
    """Return what somebody said as a message of LangChain.

    Raises:
        InvalidInput: only users, assistants and systems say something.
    """
    if not isinstance(role, str) or role not in ROLES:
        raise InvalidInput("only messages of the user, the assistant and the system are imported.")
    return ROLES[role](content=text, id=source_id)


def turns(chat: Chat, said: Iterable[Said | Entry | Misfit]) -> Found:
    """Yield an entry for each turn: its messages, and the memory of the exchange."""
    turn: list[Said] = []
    for each in said:
        if not isinstance(each, Said):
            yield each
            continue
        is_asked = any(isinstance(earlier.message, HumanMessage) for earlier in turn)
        begins = HumanMessage if is_asked else HumanMessage | AIMessage
        if turn and isinstance(each.message, begins):
            yield entry("turn", turn[0].where, partial(_records, chat, turn))
            turn = []
        turn.append(each)
    if turn:
        yield entry("turn", turn[0].where, partial(_records, chat, turn))


def _records(chat: Chat, turn: list[Said]) -> list[Fields]:
    ids: Any = {"user_id": chat.user_id, "session_id": chat.session_id}
    records: list[Fields] = [
        {
            "kind": "message",
            "id": _id(chat, "message", each),
            "type": each.message.type,
            "content": encode_message(each.message),
            "created_at": each.at,
            "metadata": origin(chat.source, each.source_id, each.metadata),
            **ids,
        }
        for each in turn
    ]
    for user, answer in exchanges(each.message for each in turn):
        content = exchange_content(user, answer) if user else answer_content(answer)
        first = next(each for each in turn if not isinstance(each.message, SystemMessage))
        memory = {
            "kind": "memory",
            "id": _id(chat, "exchange", first),
            "type": "episodic",
            "content": content[: checks.MAX_CONTENT_CHARS],
            "search_text": user or None,
            "created_at": first.at,
            "metadata": origin(chat.source, first.source_id, chat.about),
            **ids,
        }
        records.append(memory)
    return records


def _id(chat: Chat, kind: str, said: Said) -> str:
    name = said.name if said.source_id is None else said.source_id
    return derived_id(chat.source, kind, chat.user_id, chat.session_id, name)
