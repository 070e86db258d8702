"""What both chat stores do with the conversations of a user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from langchain_core.messages import BaseMessage, HumanMessage
from llama_index.core.base.llms.types import ChatMessage

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.core.types import Scope
from langchain_kronvex.llama_index.message_codec import as_langchain, decode, encode
from langchain_kronvex.memory.chat_log import ChatLog
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.storage.backend import Page, Record

STATUS = "status"
ACTIVE = "active"
# Of a message that left the queue: everything before it had left, or was never in it.
NONE_BEFORE = "none_before"
_FIRST_PAGE = 64  # records, of which most queues have fewer


@dataclass(frozen=True, slots=True)
class Conversations:
    """The conversations of one user, or, without a user, those that are their own users.

    Attributes:
        memory: Where they are kept.
        user_id: Whose they are.
        remember: Also make the exchanges in them recallable.
    """

    memory: KronvexMemory
    user_id: str | None
    remember: bool

    # -- reading -------------------------------------------------------------------------------

    def messages(self, key: str, status: str | None = None) -> list[ChatMessage]:
        """Return the messages under a key in the order of writing; all, or those of a status."""
        found = self._records(self._at(key), status)
        return [decode(record.content) for record in found]

    def count(self, key: str, status: str | None) -> int:
        """Return how many messages of a status, or of any, are under a key."""
        return len(self._records(self._at(key), status))

    def keys(self) -> list[str]:
        """Return the keys that hold messages, the last written to first."""
        owner = Scope.of(self.user_id, None) or None
        found = self.memory.engine.backend.sessions(owner, self.memory.engine.clock())
        return list(
            dict.fromkeys(
                summary.session_id
                for summary in found
                if summary.messages
                and summary.session_id is not None
                # Without a user every owner is listed; other users' conversations are not ours.
                and (self.user_id is not None or summary.user_id is None)
            )
        )

    # -- writing -------------------------------------------------------------------------------

    def append(self, key: str, messages: Sequence[ChatMessage], status: str = ACTIVE) -> None:
        """Add messages at the end, all or none."""
        at = self._at(key)
        self._store(self._drafts(at, messages, status))

    def rewrite(self, key: str, messages: Sequence[ChatMessage], status: str = ACTIVE) -> None:
        """Make these the messages under a key, at once; those at the start that stay are kept.

        What another process appends meanwhile is kept too.
        """
        at, now = self._at(key), self.memory.engine.clock()
        contents = [encode(message) for message in messages]
        there = self._records(at, None)
        kept = _same(there, contents, status)
        gone = there[kept:]
        # A turn that was rewritten is remembered anew, also when its beginning was kept.
        turn = _begun([as_langchain(message) for message in messages], kept) if gone else kept
        drafts = self._drafts(at, messages[turn:], status)
        # Stored with the new ones, so that no reader sees neither or both: from now on invisible.
        leaving = [replace(record, expires_at=now, completes=True) for record in gone]
        self._store([*leaving, *drafts[kept - turn :]])
        self._erase(at, gone)

    def archive_oldest(self, key: str, count: int, status: str) -> list[ChatMessage]:
        """Give another status to the oldest active messages, at once, and return them."""
        at = self._at(key)
        chosen = (self._records(at, ACTIVE))[: checks.check_count(count, "n", least=0)]
        left = {STATUS: status, NONE_BEFORE: True}
        self._store([replace(record, metadata=left, completes=True) for record in chosen])
        return [decode(record.content) for record in chosen]

    # -- erasing -------------------------------------------------------------------------------

    def erase(self, key: str, status: str | None = None) -> list[ChatMessage] | None:
        """Erase the messages under a key, or those of a status; return them, None for none."""
        at = self._at(key)
        chosen = self._records(at, status)
        self._erase(at, chosen)
        return [decode(record.content) for record in chosen] or None

    def erase_oldest(self, key: str, count: int) -> list[ChatMessage]:
        """Erase the oldest active messages and return them."""
        at = self._at(key)
        chosen = (self._records(at, ACTIVE))[: checks.check_count(count, "n", least=0)]
        self._erase(at, chosen)
        return [decode(record.content) for record in chosen]

    def erase_at(self, key: str, index: int) -> ChatMessage | None:
        """Erase the message at a place, from the end if negative; None when there is none.

        Of two processes that erase the last message, each erases another one; over a Kronvex API,
        if the server answers 404 for what another has just deleted, as it should.
        """
        if isinstance(index, bool) or not isinstance(index, int):
            raise InvalidInput(f"idx must be a whole number, not {index!r}.")
        at = self._at(key)
        page = Page(newest_first=index < 0, limit=1, offset=-index - 1 if index < 0 else index)
        while True:
            found = at.engine.find(at.select("message"), page)
            if not found:
                return None
            if self._erase(at, found):
                return decode(found[0].content)

    # -- parts ---------------------------------------------------------------------------------

    def _at(self, key: str) -> ChatLog:
        return ChatLog.of(self.memory.engine, checks.check_id(key, "key"), self.user_id)

    def _records(self, at: ChatLog, status: str | None) -> list[Record]:
        if status == ACTIVE:
            return self._queue(at)
        found = at.engine.find(at.select("message"))
        return [record for record in found if status in (None, _status(record))]

    def _queue(self, at: ChatLog) -> list[Record]:
        """Return the active records, without reading all that left the queue long ago."""
        limit = _FIRST_PAGE
        while True:
            page = Page(newest_first=True, limit=limit)
            found = at.engine.find(at.select("message"), page)
            ends = (i for i, record in enumerate(found) if record.metadata.get(NONE_BEFORE))
            end = next(ends, None)
            if end is not None or len(found) < limit:
                return [r for r in reversed(found[:end]) if _status(r) == ACTIVE]
            limit *= 4

    def _drafts(self, at: ChatLog, messages: Sequence[ChatMessage], status: str) -> list[Record]:
        """Return the records of messages, and after them the memories made of them."""
        contents = [encode(message) for message in messages]
        said = [as_langchain(message) for message in messages]
        drafts = at.drafts(said, self.memory.engine.clock(), remember=self.remember)
        state = {} if status == ACTIVE else {STATUS: status}
        return [
            *(
                replace(draft, content=content, metadata=state)
                for draft, content in zip(drafts, contents, strict=False)
            ),
            *drafts[len(contents) :],
        ]

    def _store(self, records: Sequence[Record]) -> None:
        self.memory.engine.add(records, self.memory.engine.clock())

    def _erase(self, at: ChatLog, records: Sequence[Record]) -> int:
        if not records:
            return 0
        chosen = at.select("message", ids=tuple(record.id for record in records))
        return self.memory.engine.backend.delete(chosen, self.memory.engine.clock())


def _status(record: Record) -> str:
    return str(record.metadata.get(STATUS, ACTIVE))


def _same(there: Sequence[Record], contents: Sequence[str], status: str) -> int:
    """Return how many records at the start hold what is to be there anyway."""
    pairs = zip(there, contents, strict=False)
    for place, (record, content) in enumerate(pairs):
        same = record.content == content or encode(decode(record.content)) == content
        if not same or _status(record) != status:
            return place
    return min(len(there), len(contents))


def _begun(messages: Sequence[BaseMessage], end: int) -> int:
    """Return where the turn began that goes on at `end`; `end` when none does."""
    if end == len(messages) or isinstance(messages[end], HumanMessage):
        return end
    asked = (place for place in range(end - 1, -1, -1) if isinstance(messages[place], HumanMessage))
    return next(asked, end)
