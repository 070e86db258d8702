"""Chats and facts of Zep: messages of threads or sessions, and edges of the graph.

A fact that Zep has invalidated is hidden like one that was superseded: `as_of` and
`include_superseded` still show it, and `restore` brings it back.

https://help.getzep.com/facts, https://help.getzep.com/reading-data-from-the-graph
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.importers.chats import Chat, Said, message_of, turns
from langchain_kronvex.importers.entries import (
    Asked,
    Found,
    Given,
    Misfit,
    attempted,
    derived_id,
    entry,
    id_of,
    origin,
    user_of,
)
from langchain_kronvex.importers.json_files import json_values
from langchain_kronvex.memory.transfer.files import File
from langchain_kronvex.memory.transfer.format import Fields

_THREAD = ("thread_id", "session_id", "thread_uuid")
_LISTS = ("threads", "sessions", "messages", "edges", "facts", "items")
_KEPT = (
    "name", "source_node_uuid", "target_node_uuid", "source_node_name", "target_node_name",
    "episodes", "episode_uuids", "attributes", "rating", "valid_at", "invalid_at", "expired_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value is, and the ids that were named around it."""

    where: str
    user: object
    thread: object

    @property
    def ids(self) -> tuple[object, object]:
        """The user and the thread."""
        return self.user, self.thread

    def within(self, value: Mapping[str, Any]) -> _Place:
        """Return the place with the ids that a value names."""
        ids = {"user": ("user_id",), "thread": _THREAD}
        named = {what: Given(value).get(*names) for what, names in ids.items()}
        return replace(self, **{what: id_ for what, id_ in named.items() if id_ is not None})


def read_zep(file: File, asked: Asked) -> Found:
    """Yield the turns and facts of a file.

    Messages and facts may be lists, lines, or under `messages`, `edges`, `facts` and `threads`. A
    thread without an id gets the name of the file.
    """
    loose: list[tuple[_Place, Any]] = []
    for where, value in json_values(file):
        for place, kind, each in _leaves(_Place(where, None, None), value):
            if kind == "message":
                if loose and loose[-1][0].ids != place.ids:
                    yield from _thread(loose, asked)
                    loose = []
                loose.append((place, each))
            elif kind == "fact":
                yield entry("fact", place.where, partial(_fact, place, each, asked))
            else:
                yield Misfit("value", place.where, "it is neither a message nor a fact.")
    yield from _thread(loose, asked)


def _leaves(place: _Place, value: Any, depth: int = 0) -> Iterator[tuple[_Place, str, Any]]:
    """Yield the messages and facts in a value, with their places and kinds."""
    if not isinstance(value, Mapping) or depth > 2:
        yield place, "other", value
        return
    place = place.within(value)
    lists = [name for name in _LISTS if isinstance(value.get(name), list)]
    if "fact" in value or not lists:
        kind = "fact" if "fact" in value else "message" if "content" in value else "other"
        yield place, kind, value
        return
    for name in lists:
        for number, item in enumerate(value[name]):
            inner = replace(place, where=f"{place.where}: {name}[{number}]")
            yield from _leaves(inner, item, depth + 1)


def _thread(messages: list[tuple[_Place, Any]], asked: Asked) -> Found:
    """Yield the turns of one thread."""
    if not messages:
        return
    place = messages[0][0]
    chat = attempted("conversation", place.where, partial(_chat_at, place, asked))
    if isinstance(chat, Misfit):
        yield chat
    else:
        yield from turns(chat, _said(messages, asked))


def _chat_at(place: _Place, asked: Asked) -> Chat:
    thread = id_of(place.thread, "thread_id") or checks.check_id(asked.name, "thread_id")
    return Chat("zep", user_of(place.user, asked), thread)


def _said(messages: list[tuple[_Place, Any]], asked: Asked) -> Iterator[Said | Misfit]:
    at = asked.written_at
    for number, (place, given) in enumerate(messages):
        name = f"#{number}"
        said = attempted("message", place.where, partial(_message, place.where, name, given, at))
        at = said.at if isinstance(said, Said) else at
        yield said


def _message(where: str, name: str, value: object, before: datetime) -> Said:
    given = Given(value)
    at = given.time("reference_time", "created_at") or before
    source_id = given.id("uuid", "uuid_")
    message = message_of(given.get("role_type", "role"), given.text("content"), source_id)
    about = origin("zep", None, given.get("metadata"), name=given.get("name"))
    return Said(where, source_id, name, message, at, about)


def _fact(place: _Place, value: object, asked: Asked) -> list[Fields]:
    given = Given(value)
    content = given.text("fact")
    user = user_of(place.user, asked)
    if user is None:
        raise InvalidInput("it names no user; say whose it is with user_id (--user).")
    source_id = given.id("uuid", "uuid_")
    created, valid = given.time("created_at"), given.time("valid_at")
    invalid, expired = given.time("invalid_at"), given.time("expired_at")
    ended = invalid or expired
    id_ = derived_id("zep", "fact", user, source_id or f"text: {content}")
    is_over = ended is not None and ended <= asked.written_at
    return [
        {
            "kind": "memory",
            "id": id_,
            "type": "semantic",
            "content": content,
            "user_id": user,
            "created_at": created or valid or asked.written_at,
            "valid_from": valid,
            "valid_until": ended if is_over else None,
            # Zep does not say which fact took its place.
            "superseded_by": derived_id("zep", "after", id_) if is_over else None,
            "metadata": origin("zep", source_id, None, **given.some(_KEPT)),
        }
    ]
