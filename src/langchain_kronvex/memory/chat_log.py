"""The messages of one session: loads and saves them, and remembers the exchanges in them.

A message and the memory made from it are stored in one transaction. The user's message is
remembered at once, as an exchange without an answer; the answer completes that same memory.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import dropwhile

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import ErasurePending, InvalidInput
from langchain_kronvex.core.messages import (
    answer_content,
    decode_message,
    encode_message,
    exchange_content,
    exchanges,
    forgotten,
    is_notice,
    text_of,
    window,
)
from langchain_kronvex.core.records import Kind, Page, Record, Scope, Selection, content_key
from langchain_kronvex.memory.conversions import memory_record
from langchain_kronvex.memory.engine import Engine

logger = logging.getLogger("langchain_kronvex")
_LATEST = 100  # memories of the session that new exchanges are compared with


@dataclass(frozen=True, slots=True)
class ChatLog:
    """The messages of one session.

    Args:
        engine: The engine of the memory that keeps them.
        scope: The scope of the session; its `session_id` is set.
    """

    engine: Engine
    scope: Scope

    def select(self, kind: Kind, ids: tuple[str, ...] | None = None) -> Selection:
        """Return a selection of records of this session."""
        # With both ids set, reading is limited to this one session.
        session = Scope(self.scope.owner, self.scope.session_id)
        return Selection(kind=kind, scope=session, ids=ids)

    def records(
        self, kind: Kind, *, newest_first: bool = True, limit: int | None = None, offset: int = 0
    ) -> list[Record]:
        """Return a page of the records of this session in the order of writing, or reversed."""
        page = Page(newest_first=newest_first, limit=limit, offset=offset)
        return self.engine.find(self.select(kind), page)

    @classmethod
    def of(cls, engine: Engine, session_id: str, user_id: str | None) -> ChatLog:
        """Return the log of a session.

        Raises:
            InvalidInput: an id does not fit.
        """
        return cls(engine, Scope.of(user_id, checks.check_id(session_id, "session_id")))

    def load(self, max_messages: int | None = None) -> list[BaseMessage]:
        """Return the messages in the order of writing; all, or the last whole turns."""
        checks.check_optional_count(max_messages, "max_messages", least=1)
        # One more than wanted: if it exists, the oldest turn that was read may be incomplete.
        limit = None if max_messages is None else max_messages + 1
        while True:
            found = self.records("message", limit=limit)
            messages = [message for _, message in read_all(reversed(found))]
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
            messages: In the order they were said; `before_save` has seen them.
            remember: Also remember the exchanges.
            reply_to: The id of the exchange that a leading answer completes; None to look it up.

        Returns:
            The id of the last exchange, which a later answer can complete.
        """
        checks.check_flag(remember, "remember")
        now = self.engine.clock()
        records = self.drafts(messages, now, remember=remember, reply_to=reply_to)
        if not records:
            return None
        stored = self.engine.add(records, now)
        if isinstance(messages[-1], AIMessage):  # the user reads it before the next recall
            self.engine.backend.renew_soon(self.scope.owner)
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
        if answers and reply_to is not None and unfinished is None:  # the question was forgotten
            messages = list(dropwhile(lambda m: not isinstance(m, HumanMessage), messages))
        stages = _stages(self.scope, messages, unfinished, now)
        return [*said, *{stage.id: stage for stage in stages}.values()]

    def remember(self, said: Iterable[tuple[str, str]]) -> None:
        """Remember exchanges that have no messages here; an answer completes its question.

        Exchanges that are remembered already stay as they are, with their dates.

        Args:
            said: The user's messages and the answers, "" for none, in the order they were said;
                `before_save` has seen them.
        """
        now = self.engine.clock()
        latest = self.records("memory", limit=_LATEST)
        there = {record.content: record for record in latest}
        asked_lately = {record.search_text for record in latest}
        changed: dict[str, Record] = {}
        for user, answer in filter(any, said):
            question = _cut(exchange_content(user, None)) if user else ""
            content = _cut(
                exchange_content(user, answer or None) if user else answer_content(answer)
            )
            if content in there or content in changed or (user in asked_lately and not answer):
                continue
            new = memory_record(self.scope, content, now, search_text=user or None)
            if asked := there.pop(question, None):
                key = asked.usual_key(content)
                new = replace(asked, content=content, completes=True, base=asked, key=key)
            changed[content] = new
        self.engine.add(list(changed.values()), now)

    def correct_answer(
        self, exchange: Record, gone: Sequence[Record], answer: BaseMessage, whole: str
    ) -> str:
        """Store an answer in place of others of its turn, in one step; return the exchange's id.

        Args:
            exchange: The remembered exchange.
            gone: The messages that the answer replaces; it takes the place of the first.
            answer: The answer; `before_save` has seen it.
            whole: All that answers the question now.
        """
        now, question = self.engine.clock(), exchange.search_text or ""
        stored = self.drafts([answer], now, remember=False)
        leaving = list(gone)
        if leaving:  # the history keeps its order
            stored = [replace(leaving.pop(0), content=stored[0].content, completes=True)]
        content = exchange_content(question, whole) if question else answer_content(whole)
        content = _cut(content)
        if content != exchange.content:  # changed in place, the index would keep the old words
            leaving.append(exchange)
            key = content_key(exchange.type, content)
            stored.append(replace(exchange, id=uuid.uuid4().hex, content=content, key=key))
        left = [replace(each, expires_at=now, pinned=False, completes=True) for each in leaving]
        last = self.engine.add([*left, *stored], now)[-1]
        return last.id if last.kind == "memory" else exchange.id

    def delete(self, message: str | BaseMessage) -> int:
        """Erase the messages with an id, or equal to a message; return how many.

        The results of their tool calls are erased too.

        Raises:
            InvalidInput: it is neither an id nor a message.
        """
        if isinstance(message, BaseMessage):
            message = self.engine.before_save.message(message)
        else:
            checks.check_id(message, "message_id")
        read = read_all(self.engine.find(self.select("message")))
        chosen = [(record, each) for record, each in read if message in (each, each.id)]
        calls = {call["id"] for _, each in chosen for call in getattr(each, "tool_calls", ())}
        chosen += [pair for pair in read if getattr(pair[1], "tool_call_id", None) in calls]
        ids = tuple({record.id: None for record, _ in chosen})
        return self.engine.delete(self.select("message", ids=ids)) if ids else 0

    def _unfinished(self, reply_to: str | None) -> Record | None:
        """Return the exchange that the session's last turn began, if it is still remembered."""
        if reply_to is None:
            said = exchanges(self.load(1))
            if not said or not said[-1][0]:
                return None
            key = content_key("episodic", _cut(exchange_content(*said[-1])))
            chosen = replace(self.select("memory"), keys=(key,))
        else:
            chosen = self.select("memory", ids=(reply_to,))
        found = self.engine.find(chosen, Page(limit=1))
        return found[0] if found else None

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


_Said = tuple[Record, BaseMessage]


def read_all(records: Iterable[Record]) -> list[_Said]:
    """Return records with their messages, without those that this version cannot read."""
    read = []
    for record in records:
        try:
            read.append((record, decode_message(record.content)))
        except Exception as error:  # noqa: BLE001, PERF203 - the others matter more
            kind = type(error).__name__
            logger.warning("a stored message cannot be read (%s) and is left out", kind)
    return read


def _stages(
    scope: Scope, messages: Iterable[BaseMessage], current: Record | None, now: datetime
) -> Iterator[Record]:
    """Yield each memory that messages make, again with each answer that is added to it.

    Args:
        scope: The scope of the session.
        messages: In the order they were said.
        current: The remembered exchange that a leading answer completes.
        now: When they were said.
    """
    unfinished = current
    for message in messages:
        text = text_of(message)
        if isinstance(message, HumanMessage):
            said = _cut(exchange_content(text, None))
            current = memory_record(scope, said, now, search_text=text) if text else None
            if current:
                yield current
        elif isinstance(message, AIMessage) and text and not is_notice(message):
            if current is None:  # the user's message is missing or has no text
                yield memory_record(scope, _cut(answer_content(text)), now)
            else:
                current = _answered(current, text, completes=current is unfinished)
                yield current


def _answered(exchange: Record, text: str, *, completes: bool) -> Record:
    """Return the exchange with an answer, or with more of it."""
    unanswered = exchange_content(exchange.search_text or "", None)
    separator = "\nAssistant: " if exchange.content == unanswered else " "
    content = _cut(f"{exchange.content}{separator}{text}")
    completes = completes or exchange.completes
    return replace(
        exchange,
        content=content,
        completes=completes,
        base=(exchange.base or exchange) if completes else None,
        key=exchange.usual_key(content),
    )


def _cut(content: str) -> str:
    """Cut the text of a memory to the limit; the message itself is stored in full."""
    return content[: checks.MAX_CONTENT_CHARS]


# -- forgetting --------------------------------------------------------------------------------


def forget(engine: Engine, id_: str | None, scope: Scope, *, keep_messages: bool) -> int:
    """Erase one memory and what messages say of it, or everything of a scope.

    See `KronvexMemory.forget`.
    """
    if id_ is None and not scope:
        raise InvalidInput(
            "Name what to forget: pass id, user_id or session_id. clear() erases everything."
        )
    checks.check_flag(keep_messages, "keep_messages")
    ids = None if id_ is None else (checks.check_id(id_, "id"),)
    chosen = Selection(kind=None, scope=scope or None, ids=ids)
    memory = None if id_ is None or keep_messages else engine.find_memory(id_, scope)
    if memory is None:
        return engine.erase(chosen)
    count = emptied = 0
    begun: set[str] = set()
    while True:
        said = _saying(engine, memory, begun)
        engine.add(said, engine.clock())
        count += engine.erase(chosen)
        emptied += len(said)
        if not said:  # else look again: others may have added an answer
            break
    if emptied and not engine.backend.flush(engine.settings.timeout_seconds):
        raise ErasurePending(
            "The memory is forgotten, but the server does not know yet that messages are too: it "
            "will be told in the background; flush() waits for that."
        )
    return count


def _saying(engine: Engine, memory: Record, begun: set[str]) -> list[Record]:
    """Return the messages that a memory was made of, or that quote the whole of it, emptied.

    Args:
        engine: The engine of the memory that keeps them.
        memory: The memory; without a session, the messages of all sessions are read.
        begun: The first messages of the turns it was made of, whose words may be gone already;
            those that are found are added.
    """
    scope = Scope(memory.scope.owner, memory.scope.session_id)
    turns = _turns(read_all(engine.find(Selection(kind="message", scope=scope))))
    read = ([message for _, message in turn] for turn in turns)
    made = [[s.content for s in _stages(memory.scope, m, None, memory.created_at)] for m in read]
    question = _cut(exchange_content(memory.search_text or "", None))
    # If answers were added that are not remembered, a memory is an earlier stage of its turn.
    is_whole = any(contents[-1:] == [memory.content] for contents in made)
    said: list[_Said] = []
    for turn, contents in zip(turns, made, strict=True):
        first = turn[0][0].id
        if memory.content in contents[-1 if is_whole else 0 :] or contents == [question]:
            begun.add(first)
        said += [pair for pair in turn if first in begun or _quotes(*pair, memory)]
    return [
        replace(record, content=encode_message(empty), completes=True)
        for record, message in said
        if (empty := forgotten(message)) != message
    ]


def _turns(said: Iterable[_Said]) -> list[list[_Said]]:
    """Split a session into turns, of which each made one memory at most."""
    turns: list[list[_Said]] = []
    for record, message in said:
        was_asked = turns and isinstance(turns[-1][0][1], HumanMessage)
        begins = HumanMessage if was_asked else HumanMessage | AIMessage
        if not turns or isinstance(message, begins):
            turns.append([])
        turns[-1].append((record, message))
    return turns


def _quotes(record: Record, message: BaseMessage, memory: Record) -> bool:
    """Return whether a message is the text of a memory, or calls or answers a tool about it."""
    calls = getattr(message, "tool_calls", ())
    return (
        text_of(message) == memory.content
        or memory.id in record.content
        or any(memory.content in call["args"].values() for call in calls)
    )
