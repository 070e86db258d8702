"""Conversations of ChatGPT's data export: `conversations.json`, or the zip that holds it.

Only the branch that was shown last is imported, not what was edited or generated again. Messages
are text; images, tools and what the model thought are not. What the model noted in its memory (the
messages to `bio`) becomes memories of its own.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import datetime
from functools import partial
from os import PathLike
from typing import IO, Any, NamedTuple

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.importers.chats import Chat, Said, message_of, turns
from langchain_kronvex.importers.entries import (
    Asked,
    Entry,
    Found,
    Given,
    Misfit,
    attempted,
    derived_id,
    entry,
    origin,
)
from langchain_kronvex.importers.json_files import Placed, json_values, values_of
from langchain_kronvex.memory.transfer.files import File, checked_path
from langchain_kronvex.memory.transfer.format import Fields

_IN_ZIP = re.compile(r"(.*/)?conversations(-\d+)?\.json")  # large exports have several
_TEXTS = ("text", "multimodal_text")
_HIDDEN = "is_visually_hidden_from_conversation"


def read_chatgpt(file: File, asked: Asked) -> Found:
    """Yield the turns of a file, conversation by conversation."""
    if asked.user_id is None:
        raise InvalidInput("The export does not say whose it is: pass user_id (--user).")
    for where, value in _values(file):
        branch = attempted("conversation", where, partial(_conversation, value, asked))
        if isinstance(branch, Misfit):
            yield branch
        else:
            yield from turns(branch[0], _said(*branch, where))


def _values(file: File) -> Iterator[Placed]:
    path = checked_path(file) if isinstance(file, str | PathLike) else None
    if path is None or not path.is_file() or not zipfile.is_zipfile(path):
        yield from json_values(file)
        return
    with closing(zipfile.ZipFile(path)) as archive:
        names = sorted(name for name in archive.namelist() if _IN_ZIP.fullmatch(name))
        if not names:
            raise InvalidInput("The zip holds no conversations.json.")
        for name in names:
            with _opened(archive, name) as stream:
                yield from values_of(stream, name.rpartition("/")[2] if names[1:] else "")


def _opened(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    try:
        return archive.open(name)
    except (RuntimeError, NotImplementedError, zipfile.BadZipFile):
        raise InvalidInput("The zip is damaged, or locked with a password.") from None


def _conversation(value: object, asked: Asked) -> tuple[Chat, list[Any], datetime]:
    """Return a conversation, the messages of its branch in their order, and when it began."""
    given = Given(value)
    session = given.id("conversation_id", "id")
    if session is None:
        raise InvalidInput("it has no id.")
    mapping, node_id = given.within("mapping").fields, given.get("current_node")
    if node_id is None:
        raise InvalidInput("it has no current_node.")
    messages, passed = [], set[str]()
    while node_id is not None:
        if not isinstance(node_id, str) or node_id not in mapping:
            raise InvalidInput("a message that others follow is not there.")
        if node_id in passed:
            raise InvalidInput("its messages follow each other in a circle.")
        passed.add(node_id)
        node = Given(mapping[node_id])
        messages.append(node.get("message"))
        node_id = node.get("parent")
    title = given.get("title")
    about = {"title": title} if isinstance(title, str) and 0 < len(title) < 256 else {}
    began = given.time("create_time") or asked.written_at
    return Chat("chatgpt", asked.user_id, session, about), messages[::-1], began


def _said(
    chat: Chat, messages: list[Any], at: datetime, where: str
) -> Iterator[Said | Entry | Misfit]:
    for number, message in enumerate(messages):
        place = f"{where}: message {number}"
        read = attempted("message", place, partial(_message, message, at))
        if isinstance(read, Misfit):
            yield read
        elif read is not None:
            at = read.at
            if read.left_out:
                yield Misfit("message", place, "a part of it is not text.")
            if read.recipient == "bio":
                yield entry("memory", place, partial(_noted, chat, read))
            elif read.recipient not in (None, "all"):
                yield Misfit("message", place, "it is written to a tool.")
            elif read.text.strip():
                made = partial(_as_said, read, place, f"#{number}")
                yield attempted("message", place, made)


class _Read(NamedTuple):
    """A message that is shown in the chat."""

    source_id: str | None
    role: object
    recipient: object
    text: str
    left_out: bool
    at: datetime


def _message(message: object, before: datetime) -> _Read | None:
    """Return what is in a message; None if it is empty, or was never shown."""
    given = Given({} if message is None else message)
    if not given.fields or _is_hidden(given):
        return None
    at = given.time("create_time") or before
    role = given.within("author").get("role")
    text, left_out = _text(given.within("content"))
    if role == "system" and not text.strip():
        return None
    return _Read(given.id("id"), role, given.get("recipient"), text, left_out, at)


def _is_hidden(message: Given) -> bool:
    metadata = message.get("metadata")
    return isinstance(metadata, Mapping) and metadata.get(_HIDDEN) is True


def _text(content: Given) -> tuple[str, bool]:
    """Return the text of a message, and whether something else is in it."""
    if content.get("content_type") not in _TEXTS:
        raise InvalidInput("its content is not text.")
    parts = content.listed("parts")
    texts = [part for part in parts if isinstance(part, str)]
    return "\n".join(texts), len(texts) < len(parts)


def _as_said(read: _Read, where: str, name: str) -> Said:
    message = message_of(read.role, read.text, read.source_id)
    return Said(where, read.source_id, name, message, read.at)


def _noted(chat: Chat, read: _Read) -> list[Fields]:
    content = checks.check_content(read.text)
    id_ = derived_id("chatgpt", "noted", chat.user_id, read.source_id or f"text: {content}")
    return [
        {
            "kind": "memory",
            "id": id_,
            "type": "semantic",
            "content": content,
            "user_id": chat.user_id,
            "session_id": chat.session_id,
            "created_at": read.at,
            "metadata": origin("chatgpt", read.source_id, chat.about),
        }
    ]
