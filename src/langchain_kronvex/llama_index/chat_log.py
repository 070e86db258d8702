"""The operations of both chat stores: a user's keys, and the messages under each key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from langchain_core.messages import BaseMessage, HumanMessage
from llama_index.core.base.llms.types import ChatMessage

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import InvalidInput, SaveRefused
from langchain_kronvex.core.messages import NOT_SAVED, emptied, encode_message
from langchain_kronvex.core.records import Scope
from langchain_kronvex.llama_index.message_codec import as_langchain, decode, encode
from langchain_kronvex.memory.before_save import log_refused
from langchain_kronvex.memory.chat_log import ChatLog
from langchain_kronvex.memory.engine import Engine

if TYPE_CHECKING:
    from langchain_kronvex.core.records import Record

STATUS = "status"
ACTIVE = "active"
# In the metadata of an archived message: no earlier message is active.
NONE_BEFORE = "none_before"
_FIRST_PAGE = 64  # records; most queues have fewer


@dataclass(frozen=True, slots=True)
class ChatKeys:
    """The keys of one user with their messages.

    Attributes:
        engine: The engine of the memory that stores them.
        user_id: The user; None if each key is a user of its own.
        remember: Also remember the exchanges, so that they can be recalled.
    """

    engine: Engine
    user_id: str | None
    remember: bool

    # -- reading -------------------------------------------------------------------------------

    def messages(self, key: str, status: str | None = None) -> list[ChatMessage]:
        """Return the messages under a key in the order of writing; all, or those of a status."""
        return _decoded(self._records(self._log(key), status))

    def keys(self) -> list[str]:
        """Return the keys that have messages, last written first."""
        owner = Scope.of(self.user_id, None) or None
        found = {
            session.session_id: None
            for session in self.engine.backend.sessions(owner, self.engine.clock())
            # Without a user, the sessions of all users are listed; only those without are ours.
            if session.messages and (self.user_id is not None or session.user_id is None)
        }
        return [key for key in found if key is not None]

    # -- writing -------------------------------------------------------------------------------

    def append(self, key: str, messages: Sequence[ChatMessage], status: str = ACTIVE) -> None:
        """Append messages, all or none."""
        drafts = self._drafts(self._log(key), self._to_store(messages), status)
        self.engine.add(drafts, self.engine.clock())

    def rewrite(self, key: str, messages: Sequence[ChatMessage], status: str = ACTIVE) -> None:
        """Make these the messages under a key, in one step; unchanged ones at the start are kept.

        Messages that another process appends in the meantime are kept too.
        """
        log, now, messages = self._log(key), self.engine.clock(), self._to_store(messages)
        contents = [encode(message) for message in messages]
        there = self._records(log, None)
        kept = _unchanged(there, contents, status)
        gone = there[kept:]
        # If a turn was changed, it is remembered again, even if its first message was kept.
        start = _turn_start([as_langchain(message) for message in messages], kept) if gone else kept
        drafts = self._drafts(log, messages[start:], status)
        # Expired together with storing the new ones, so that no reader sees neither or both.
        leaving = [replace(record, expires_at=now, completes=True) for record in gone]
        self.engine.add([*leaving, *drafts[kept - start :]], now)
        self._erase(log, gone)

    def archive_oldest(self, key: str, count: int, status: str) -> list[ChatMessage]:
        """Give the oldest active messages another status, in one step, and return them."""
        chosen = self._oldest(self._log(key), count)
        left = {STATUS: status, NONE_BEFORE: True}
        moved = [replace(record, metadata=left, completes=True) for record in chosen]
        self.engine.add(moved, self.engine.clock())
        return _decoded(chosen)

    # -- erasing -------------------------------------------------------------------------------

    def erase(self, key: str, status: str | None = None) -> list[ChatMessage] | None:
        """Erase the messages under a key, or those of a status; return them, None for none."""
        log = self._log(key)
        chosen = self._records(log, status)
        self._erase(log, chosen)
        return _decoded(chosen) or None

    def erase_oldest(self, key: str, count: int) -> list[ChatMessage]:
        """Erase the oldest active messages and return them."""
        log = self._log(key)
        chosen = self._oldest(log, count)
        self._erase(log, chosen)
        return _decoded(chosen)

    def erase_at(self, key: str, index: int) -> ChatMessage | None:
        """Erase the message at a place, from the end if negative; return it, None for none.

        If two processes erase the last message at the same time, each erases a different one. Over
        a Kronvex API this requires that the server answers 404 for a message that is gone.
        """
        if isinstance(index, bool) or not isinstance(index, int):
            raise InvalidInput(f"idx must be a whole number, not {index!r}.")
        log = self._log(key)
        place = -index - 1 if index < 0 else index
        while found := log.records("message", newest_first=index < 0, limit=1, offset=place):
            if self._erase(log, found):
                return decode(found[0].content)
        return None

    # -- parts ---------------------------------------------------------------------------------

    def _log(self, key: str) -> ChatLog:
        return ChatLog.of(self.engine, checks.check_id(key, "key"), self.user_id)

    def _records(self, log: ChatLog, status: str | None) -> list[Record]:
        if status == ACTIVE:
            return self._queue(log)
        found = log.records("message", newest_first=False)
        return [record for record in found if status in (None, _status(record))]

    def _oldest(self, log: ChatLog, count: int) -> list[Record]:
        return self._queue(log)[: checks.check_count(count, "n", least=0)]

    def _queue(self, log: ChatLog) -> list[Record]:
        """Return the active records, without reading the whole archive."""
        limit = _FIRST_PAGE
        while True:
            found = log.records("message", limit=limit)
            ends = (i for i, record in enumerate(found) if record.metadata.get(NONE_BEFORE))
            end = next(ends, None)
            if end is not None or len(found) < limit:
                return [r for r in reversed(found[:end]) if _status(r) == ACTIVE]
            limit *= 4

    def _to_store(self, messages: Sequence[ChatMessage]) -> list[ChatMessage]:
        """Return messages as `before_save` wants them stored; see `BeforeSave.message`."""
        stored, before_save = [], self.engine.before_save
        for message in messages:
            text = encode(message)
            try:
                new = before_save.encoded(text)
            except SaveRefused:
                new = encode_message(emptied(as_langchain(message), NOT_SAVED))
                log_refused(1)
            stored.append(message if new == text else decode(new))
        return stored

    def _drafts(self, log: ChatLog, messages: Sequence[ChatMessage], status: str) -> list[Record]:
        """Return the records of messages, followed by the memories made from them."""
        contents = [encode(message) for message in messages]
        said = [as_langchain(message) for message in messages]
        drafts = log.drafts(said, self.engine.clock(), remember=self.remember)
        state = {} if status == ACTIVE else {STATUS: status}
        drafts[: len(contents)] = [
            replace(draft, content=content, metadata=state)
            for draft, content in zip(drafts, contents, strict=False)
        ]
        return drafts

    def _erase(self, log: ChatLog, records: Sequence[Record]) -> int:
        if not records:
            return 0
        chosen = log.select("message", ids=tuple(record.id for record in records))
        return self.engine.delete(chosen)


def _decoded(records: Sequence[Record]) -> list[ChatMessage]:
    return [decode(record.content) for record in records]


def _status(record: Record) -> str:
    return str(record.metadata.get(STATUS, ACTIVE))


def _unchanged(there: Sequence[Record], contents: Sequence[str], status: str) -> int:
    """Return how many records at the start already have the new content and status."""
    for place, (record, content) in enumerate(zip(there, contents, strict=False)):
        same = record.content == content or encode(decode(record.content)) == content
        if not same or _status(record) != status:
            return place
    return min(len(there), len(contents))


def _turn_start(messages: Sequence[BaseMessage], end: int) -> int:
    """Return the start of the turn that continues at `end`; `end` if a turn starts there."""
    if end == len(messages) or isinstance(messages[end], HumanMessage):
        return end
    asked = (place for place in range(end - 1, -1, -1) if isinstance(messages[place], HumanMessage))
    return next(asked, end)
