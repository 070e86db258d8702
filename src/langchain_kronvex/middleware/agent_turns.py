"""The turns of agents: begun before the first model call, ended after the last, known by ids.

Everything that must survive an interrupt is in the agent's state: ids, never memories. What else a
turn needs is kept in this process, and looked up in the store if it is missing.
"""

from __future__ import annotations

import contextlib
import math
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.tracers.context import register_configure_hook

from langchain_kronvex.core.errors import StoreBusy
from langchain_kronvex.core.messages import (
    answer_content,
    answer_in,
    decode_message,
    exchange_content,
    text_of,
)
from langchain_kronvex.core.types import MemoryContext, Scope
from langchain_kronvex.core.validation import MAX_CONTENT_CHARS
from langchain_kronvex.langchain.chat_turn import Turn
from langchain_kronvex.memory.chat_log import ChatLog
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.memory.open_turn import open_turn
from langchain_kronvex.memory.recall_context import ContextOptions, OnFailure
from langchain_kronvex.middleware.agent_messages import (
    digest,
    identified,
    question_in,
    shown_texts,
    words_of_user,
)
from langchain_kronvex.middleware.turn_state import (
    TurnRecord,
    beginning,
    heard_of,
    name_of,
    scope_of,
    words_in,
)
from langchain_kronvex.storage.backend import Kind, Page, Record, content_key

MAX_TURNS = 1000
# A turn may be interrupted for days, while memories are forgotten elsewhere.
CONTEXT_SECONDS = 300.0
LOOK_BACK = 200  # messages and memories that a turn of another process may have saved


@dataclass(slots=True)
class AgentTurn(Turn):
    """A turn of an agent in progress.

    Attributes:
        saved: Digests of the messages saved by this process, by their ids.
        fresh: Whether nothing else of the turn can be stored. If not, the store is asked.
        again: Whether the turn had ended, so that its question is asked again and earlier answers
            no longer count.
        spoken: Whether the last call of the model succeeded; None if there was none in this run.
        erasures: The number of erasures before the turn began.
    """

    saved: dict[str, str] = field(default_factory=dict)
    fresh: bool = False
    again: bool = False
    spoken: bool | None = None
    erasures: int = 0
    _recalled: tuple[float, int] = (-math.inf, 0)  # when, and after how many erasures
    _state: Sequence[BaseMessage] = ()  # until another answer of the same turn is stored

    def say(self, words: Sequence[BaseMessage]) -> None:
        """Save the user's messages once, and again if they were edited."""
        new = [word for word in words if self.saved.get(str(word.id)) != digest(word)]
        if not new:
            return
        self._recalled = (-math.inf, 0)
        saved = {str(word.id): digest(word) for word in new}
        try:
            self.save(new if self.fresh else self._not_stored(new))
        except StoreBusy:  # saving continues in the background
            self.saved |= saved
            raise
        self.saved |= saved

    def context_for(
        self,
        messages: Sequence[BaseMessage],
        words: Sequence[BaseMessage],
        options: ContextOptions,
    ) -> str:
        """Return the context of the turn, recalled for its first model call.

        Args:
            messages: The messages in the model request.
            words: The user's messages of this turn.
            options: The options of the recall.
        """
        now, erasures = time.monotonic(), self.memory.engine.erasures
        recalled_at, erasures_then = self._recalled
        if erasures_then != erasures or now - recalled_at > CONTEXT_SECONDS:
            self._recalled = (now, erasures)
            question = words[-1] if words else question_in(messages)
            query = text_of(question) if question else ""
            self.recall(query, shown_texts([*messages, *words]), options)
        return self.context.context

    def end(self, answer: BaseMessage | None, state: Sequence[BaseMessage]) -> None:
        """Save the answer once, and drop the context.

        Args:
            answer: The answer, if there is one.
            state: The agent's messages.
        """
        self.context, self._recalled, self.spoken = MemoryContext(), (-math.inf, 0), None
        if answer is not None:
            self._state, self.fresh = () if self.fresh else state, False
            self.save([answer])

    def _not_stored(self, words: list[BaseMessage]) -> list[BaseMessage]:
        """Return the messages that are not stored yet; look up the exchange of stored ones."""
        try:
            there = {name_of(message) for _, message in self._held()}
            if name_of(words[-1]) in there and (exchange := self._exchange_of(words[-1])):
                self.exchange = exchange.id
        except Exception as error:  # noqa: BLE001 - twice is better than never
            self._degrade(error)
            return words
        return [word for word in words if name_of(word) not in there]

    def _write(self, messages: Sequence[BaseMessage]) -> None:
        question = question_in(self._state)
        if question is None or not isinstance(messages[0], AIMessage):
            Turn._write(self, messages)
            return
        replies = list(takewhile(lambda held: held[1].id != question.id, self._held()))[::-1]
        exchange = self._exchange_of(question)
        if all(message.id != messages[0].id for _, message in replies):
            if exchange is None:
                Turn._write(self, messages)
            else:
                self._replace(exchange, replies, messages[0])
        self._state = ()

    def _replace(
        self, exchange: Record, replies: list[tuple[Record, BaseMessage]], answer: BaseMessage
    ) -> None:
        """Store an answer in place of those of the turn that have left the agent's state."""
        engine, present = self.memory.engine, {message.id for message in self._state}
        question, now = exchange.search_text or "", engine.clock()
        before = answer_in(exchange.content, question)
        stays: list[str] = []
        gone: list[Record] = []
        for record, message in replies:
            text = text_of(message)
            if isinstance(message, AIMessage) and text and text in before:
                if message.id not in present:
                    gone.append(record)
                elif not self.again:
                    stays.append(text)
        stored = self._log().drafts([answer], now, remember=False)
        if gone:  # the history keeps its order
            stored = [replace(gone.pop(0), content=stored[0].content, completes=True)]
        said = " ".join([*stays, text_of(answer)])
        content = exchange_content(question, said) if question else answer_content(said)
        content = content[:MAX_CONTENT_CHARS]
        if content != exchange.content:  # changed in place, the index would keep the old words
            gone.append(exchange)
            key = content_key(exchange.type, content)
            stored.append(replace(exchange, id=uuid.uuid4().hex, content=content, key=key))
        left = [replace(each, expires_at=now, pinned=False, completes=True) for each in gone]
        last = engine.add([*left, *stored], now)[-1]
        self.exchange = last.id if last.kind == "memory" else exchange.id

    def _held(self) -> list[tuple[Record, BaseMessage]]:
        """Return the latest messages of the session, newest first."""
        held = []
        for record in self._latest("message"):
            with contextlib.suppress(Exception):  # written by a later version
                held.append((record, decode_message(record.content)))
        return held

    def _exchange_of(self, question: BaseMessage) -> Record | None:
        """Return the exchange that a question began, if it is still remembered."""
        for record in self._latest("memory"):
            asked = record.search_text and record.search_text == text_of(question)
            if record.id == self.exchange if self.exchange else asked:
                return record
        return None

    def _latest(self, kind: Kind) -> list[Record]:
        page = Page(newest_first=True, limit=LOOK_BACK)
        return self.memory.engine.find(self._log().select(kind), page)

    def _log(self) -> ChatLog:
        return ChatLog.of(self.memory.engine, self.session_id, self.scope.user_id)


class _ModelCalls(BaseCallbackHandler):
    """Notes whether the last call of a model failed, even if another middleware hides it."""

    run_inline = True
    failed = False

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        self.failed = False

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        self.failed = True


_MODEL_CALLS = ContextVar[_ModelCalls | None]("kronvex_model_calls", default=None)
register_configure_hook(_MODEL_CALLS, inheritable=True)


@dataclass(frozen=True, slots=True)
class AgentTurns:
    """The turns in progress in this process; those of others are restored from their records."""

    memory: KronvexMemory
    on_error: OnFailure
    _turns: dict[tuple[str, Scope], AgentTurn] = field(default_factory=dict)

    def begin(
        self,
        messages: Sequence[BaseMessage],
        scope: Scope,
        earlier: TurnRecord | None,
        *,
        save: bool,
    ) -> TurnRecord | None:
        """Return the record of the turn of these messages; see `beginning`."""
        begun = beginning(messages, scope, earlier, save=save)
        if begun is None:
            return None
        record, fresh = begun
        turn = self._turns.get((record["id"], scope))
        edited = fresh and earlier is not None and record["words"][-1] in earlier["heard"]
        # After an erasure, messages that were saved before may have to be saved again.
        if turn is None or edited or turn.erasures != self.memory.engine.erasures:
            saved = turn.saved if turn and not fresh else {}
            turn = self._new(record, fresh=fresh, saved=saved)
        turn.again = not fresh and earlier is not None and not earlier["open"]
        return record

    def open(self, state: Any, messages: Sequence[BaseMessage]) -> TurnRecord | None:
        """Return the record of the turn in progress, or None.

        There is none if the user said nothing, or if another middleware skipped our first hook. A
        turn that has ended is open again if the graph was sent straight back to its model.
        """
        record: TurnRecord | None = state.get("kronvex_turn")
        if record is None or record["open"]:
            return record
        question = question_in(messages)
        if question is None or question.id not in record["words"]:
            return None
        self.of(record).again = True
        return record

    def of(self, record: TurnRecord) -> AgentTurn:
        """Return the turn of a record, which another process may have begun."""
        return self._turns.get((record["id"], scope_of(record))) or self._new(record)

    def before_model(
        self,
        record: TurnRecord,
        messages: Sequence[BaseMessage],
        shown: Sequence[BaseMessage],
        options: ContextOptions,
    ) -> str:
        """Save the user's messages, and return the context.

        Args:
            record: The record of the turn.
            messages: The agent's messages at the time of the model call, for example redacted.
            shown: The messages in the model request.
            options: The options of the recall.
        """
        turn, words = self.of(record), words_in(messages, record)
        if record["save"]:
            turn.say(words)
        if words:  # another agent of the same conversation sees the present text
            self._turns.setdefault((name_of(words[-1]), turn.scope), turn)
        return turn.context_for(shown, words, options)

    @contextlib.contextmanager
    def calling(self, record: TurnRecord | None, state: Any) -> Iterator[None]:
        """Surround a call of the model in a turn, and note whether it succeeds."""
        calls, turn = _ModelCalls(), self.of(record) if record else None
        if turn:
            turn.spoken = False
        _MODEL_CALLS.set(calls)
        try:
            with self.under_way({**state, "kronvex_turn": record}):
                yield
        finally:
            _MODEL_CALLS.set(None)
        if turn:
            turn.spoken = not calls.failed

    def under_way(self, state: Any) -> AbstractContextManager[None]:
        """Surround what is called during a turn, so that it does not recall the turn itself."""
        record = state.get("kronvex_turn")
        return open_turn(words_in(identified(state["messages"]), record) if record else ())

    def end(
        self, state: Any, messages: Sequence[BaseMessage], answer: BaseMessage | None
    ) -> tuple[AgentTurn | None, dict[str, Any] | None]:
        """Save the answer, and the user's messages if the model was never called.

        Returns:
            The turn and the update of the agent's state, if a turn has ended.
        """
        record: TurnRecord | None = state.get("kronvex_turn")
        if record is None or not (record["open"] or self.of(record).spoken is not None):
            return None, None
        turn = self.of(record)
        if record["save"]:
            words = words_in(messages, record)
            turn.say([word for word in words if str(word.id) not in turn.saved])
        # If the user's messages were removed from the state, the answer is not saved either. After
        # a failure, what ends the turn was not said by the model.
        unasked = record["words"] and turn.saved.keys().isdisjoint(record["words"])
        unsaid = unasked or turn.spoken is False or not record["save"]
        turn.end(None if unsaid else answer, messages)
        heard = heard_of(words_of_user(messages), record["heard"])
        return turn, {"kronvex_turn": {**record, "open": False, "heard": heard}}

    def _new(
        self, record: TurnRecord, *, fresh: bool = False, saved: dict[str, str] | None = None
    ) -> AgentTurn:
        turn = AgentTurn(
            self.memory, scope_of(record), self.on_error, new=[], saved=saved or {}, fresh=fresh,
            erasures=self.memory.engine.erasures,
        )  # fmt: skip
        self._turns[record["id"], turn.scope] = turn
        for oldest in list(self._turns)[:-MAX_TURNS]:
            self._turns.pop(oldest, None)
        return turn
