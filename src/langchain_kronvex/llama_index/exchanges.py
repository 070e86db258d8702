"""Remembers the exchanges of a chat that is stored elsewhere, each of them once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from langchain_kronvex.core.messages import answer_content, exchange_content
from langchain_kronvex.core.types import Scope
from langchain_kronvex.core.validation import MAX_CONTENT_CHARS
from langchain_kronvex.memory.chat_log import ChatLog
from langchain_kronvex.memory.conversions import memory_record
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.storage.backend import Page, Record, content_key

_LATEST = 50  # memories of the session
Exchange = tuple[str, str]  # the user's message and the answer; "" for none


def remember(memory: KronvexMemory, scope: Scope, said: Sequence[Exchange]) -> None:
    """Remember new exchanges; an answer completes the remembered question.

    Exchanges that are remembered already stay as they are, with their dates.

    Args:
        memory: The memory that stores them.
        scope: The user and the session.
        said: The exchanges, in the order they were said.
    """
    now = memory.engine.clock()
    at = ChatLog.of(memory.engine, scope.session_id or scope.owner, scope.user_id)
    keys = {_key(content) for pair in said for content in (_whole(*pair), _asked(*pair))}
    there = {r.key: r for r in at.engine.find(at.select("memory", keys=tuple(keys)))}
    # If a question is answered in the meantime, its key changes; so search texts are compared too.
    latest = at.engine.find(at.select("memory"), Page(newest_first=True, limit=_LATEST))
    asked_lately = {record.search_text for record in latest}
    changed: dict[str, Record] = {}
    for user, answer in said:
        content = _whole(user, answer)
        if _key(content) in there or _key(content) in changed:
            continue
        if user and not answer and user in asked_lately:
            continue
        asked = there.pop(_key(_asked(user, answer)), None)
        changed[_key(content)] = (
            memory_record(at.scope, content, now, search_text=user or None)
            if asked is None
            else replace(asked, content=content, key=_key(content), completes=True)
        )
    at.engine.add(list(changed.values()), now)


def _whole(user: str, answer: str) -> str:
    content = exchange_content(user, answer or None) if user else answer_content(answer)
    return content[:MAX_CONTENT_CHARS]


def _asked(user: str, answer: str) -> str:
    return _whole(user, "" if user else answer)


def _key(content: str) -> str:
    return content_key("episodic", content)
