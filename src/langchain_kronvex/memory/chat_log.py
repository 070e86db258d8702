"""The messages of one session: loads and saves them, and remembers the exchanges in them.

A message and the memory made from it are stored in one transaction. The user's message is
remembered at once, as an exchange without an answer; the answer completes that same memory.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_kronvex.core.messages import (
    answer_content,
    check_messages,
    decode_message,
    encode_message,
    exchange_content,
    exchanges,
    text_of,
    window,
)
from langchain_kronvex.core.types import Scope
from langchain_kronvex.core.validation import MAX_CONTENT_CHARS, check_count, check_id
from langchain_kronvex.memory.conversions import memory_record
from langchain_kronvex.memory.engine import Engine
from langchain_kronvex.storage.backend import Kind, Page, Record, Selection, content_key

logger = logging.getLogger("langchain_kronvex")


@dataclass(frozen=True, slots=True)
class ChatLog:
    """The messages of one session.

    Args:
        engine: The engine of the memory that keeps them.
        scope: The scope of the session; its `session_id` is set.
    """

    engine: Engine
    scope: Scope

    def select(
        self,
        kind: Kind,
        ids: tuple[str, ...] | None = None,
        keys: tuple[str, ...] | None = None,
    ) -> Selection:
        """Return a selection of records of this session."""
        # With both ids set, reading is limited to this one session.
        session = Scope(self.scope.owner, self.scope.session_id)
        return Selection(kind=kind, scope=session, ids=ids, keys=keys)

    @classmethod
    def of(cls, engine: Engine, session_id: str, user_id: str | None) -> ChatLog:
        """Return the log of a session.

        Raises:
            InvalidInput: an id does not fit.
        """
        return cls(engine, Scope.of(user_id, check_id(session_id, "session_id")))

    def load(self, max_messages: int | None = None) -> list[BaseMessage]:
        """Return the messages in the order of writing; all, or the last whole turns."""
        if max_messages is not None:
            check_count(max_messages, "max_messages", least=1)
        # One more than wanted: if it exists, the oldest turn that was read may be incomplete.
        limit = None if max_messages is None else max_messages + 1
        while True:
            page = Page(newest_first=True, limit=limit)
            found = self.engine.find(self.select("message"), page)
            read = [_read(record.content) for record in reversed(found)]
            messages = [message for message in read if message is not None]
            if max_messages is None or limit is None:
                return messages
            if len(found) < limit or any(isinstance(m, HumanMessage) for m in messages[1:]):
                return window(messages, max_messages)
            limit *= 4  # the last turn is longer: find its start

    def save(
        self, messages: Sequence[BaseMessage], *, remember: bool, reply_to: str | None = None
    ) -> str | None:
        """Store messages, and the exchanges they hold as memories; all or nothing.

        Args:
            messages: In the order they were said.
            remember: Also remember the exchanges.
            reply_to: The id of the exchange that a leading answer completes; None to look it up.

        Returns:
            The id of the last exchange, which a later answer can complete.

        Raises:
            InvalidInput: `messages` is not a list of LangChain messages.
        """
        check_messages(messages)
        now = self.engine.clock()
        records = self.drafts(messages, now, remember=remember, reply_to=reply_to)
        if not records:
            return None
        stored = self.engine.add(records, now)
        return stored[-1].id if records[-1].kind == "memory" else None

    def drafts(
        self,
        messages: Sequence[BaseMessage],
        now: datetime,
        *,
        remember: bool,
        reply_to: str | None = None,
    ) -> list[Record]:
        """Return what `save` stores: a record for each message, then the memories."""
        said = [self._record(message, now) for message in messages]
        if not remember or not messages:
            return said
        answers = not isinstance(messages[0], HumanMessage)
        unfinished = self._unfinished(reply_to) if answers else None
        return [*said, *self._memories(messages, unfinished, now)]

    def clear(self) -> int:
        """Erase the messages of the session; return how many."""
        return self.engine.backend.delete(self.select("message"), self.engine.clock())

    def _unfinished(self, reply_to: str | None) -> Record | None:
        """Return the exchange that the session's last turn began, if it is still remembered."""
        if reply_to is None:
            said = exchanges(self.load(1))
            if not said or not said[-1][0]:
                return None
            key = content_key("episodic", _cut(exchange_content(*said[-1])))
            chosen = self.select("memory", keys=(key,))
        else:
            chosen = self.select("memory", ids=(reply_to,))
        found = self.engine.find(chosen, Page(limit=1))
        return found[0] if found else None

    def _memories(
        self, messages: Sequence[BaseMessage], unfinished: Record | None, now: datetime
    ) -> list[Record]:
        changed: dict[str, Record] = {}
        current = unfinished
        for message in messages:
            text = text_of(message)
            if isinstance(message, HumanMessage):
                said = _cut(exchange_content(text, None))
                current = memory_record(self.scope, said, now, search_text=text) if text else None
            elif isinstance(message, AIMessage) and text:
                if current is None:  # the user's message is missing or has no text
                    alone = memory_record(self.scope, _cut(answer_content(text)), now)
                    changed[alone.id] = alone
                else:
                    current = _answered(current, text, completes=current is unfinished)
            if current is not None and current is not unfinished:
                changed[current.id] = current
        return list(changed.values())

    def _record(self, message: BaseMessage, now: datetime) -> Record:
        id_ = uuid.uuid4().hex
        return Record(
            kind="message",
            id=id_,
            scope=self.scope,
            key=id_,
            type=message.type,
            content=encode_message(message),
            created_at=now,
        )


def _read(content: str) -> BaseMessage | None:
    """Return a message; None if it cannot be read, for example by this version."""
    try:
        return decode_message(content)
    except Exception as error:  # noqa: BLE001 - the rest of the session matters more
        kind = type(error).__name__
        logger.warning("a stored message cannot be read (%s) and is left out", kind)
        return None


def _answered(exchange: Record, text: str, *, completes: bool) -> Record:
    """Return the exchange with an answer, or with more of it."""
    unanswered = exchange_content(exchange.search_text or "", None)
    separator = "\nAssistant: " if exchange.content == unanswered else " "
    content = _cut(f"{exchange.content}{separator}{text}")
    return replace(
        exchange,
        content=content,
        key=content_key(exchange.type, content),
        completes=completes or exchange.completes,
        base=(exchange.base or exchange) if completes or exchange.completes else None,
    )


def _cut(content: str) -> str:
    """Cut the text of a memory to the limit; the message itself is stored in full."""
    return content[:MAX_CONTENT_CHARS]
