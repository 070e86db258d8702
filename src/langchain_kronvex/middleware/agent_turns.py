"""The turns of agents: begun before the first model call, ended after the last, known by ids.

Everything that must survive an interrupt is in the agent's state: ids, never memories. The recalled
context is only kept in this process, and recalled again if it is missing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from langchain_core.messages import BaseMessage

from langchain_kronvex.core.errors import StoreBusy
from langchain_kronvex.core.messages import exchange_content, text_of
from langchain_kronvex.core.types import MemoryContext, Scope
from langchain_kronvex.langchain.chat_turn import Turn
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.memory.recall_context import ContextOptions, OnFailure
from langchain_kronvex.middleware.agent_messages import question_in, shown_texts, words_of_user
from langchain_kronvex.middleware.turn_state import (
    TurnRecord,
    beginning,
    digest,
    heard_of,
    name_of,
    scope_of,
    words_in,
)

MAX_TURNS = 1000
# A turn may be interrupted for days, while memories are forgotten elsewhere.
CONTEXT_SECONDS = 300.0
LOOK_BACK = 200  # messages and memories that a turn of another process may have saved


@dataclass(slots=True)
class AgentTurn(Turn):
    """A turn of an agent in progress.

    Attributes:
        saved: Digests of the saved messages, by their ids.
        sure: Whether `saved` is known to be complete; a run that failed may have saved more.
        erasures: The number of erasures before the turn began.
    """

    saved: dict[str, str] = field(default_factory=dict)
    sure: bool = False
    erasures: int = 0
    _recalled: tuple[float, int] = (-math.inf, 0)  # when, and after how many erasures
    _answer_id: str | None = None

    def say(self, words: Sequence[BaseMessage]) -> None:
        """Save the user's messages once, and again if they were edited."""
        new = [word for word in words if self.saved.get(str(word.id)) != digest(word)]
        if not new:
            return
        before = dict(self.saved)
        self.saved.update((str(word.id), digest(word)) for word in new)
        self._recalled = (-math.inf, 0)
        try:
            if not self.sure:
                new = self._not_stored(new)
                self.sure = True
            self.save(new)
        except StoreBusy:  # saving continues in the background
            raise
        except Exception:
            self.saved = before
            raise

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

    def end(self, answer: BaseMessage | None) -> None:
        """Save the answer once, and drop the context."""
        self.context, self._recalled = MemoryContext(), (-math.inf, 0)
        if answer is not None and (answer.id is None or answer.id != self._answer_id):
            self._answer_id = answer.id
            self.save([answer])

    def _not_stored(self, words: list[BaseMessage]) -> list[BaseMessage]:
        """Return the messages that are not stored yet; look up the exchange of stored ones."""
        user, session = self.scope.user_id, self.session_id
        try:
            held = self.memory.load_messages(session, user_id=user, max_messages=LOOK_BACK)
            there = {name_of(message) for message in held}
            if self.exchange is None and name_of(words[-1]) in there:
                remembered = self.memory.memories(user_id=user, session_id=session, limit=LOOK_BACK)
                said = exchange_content(text_of(words[-1]), None)
                found = (memory.id for memory in remembered if memory.content == said)
                self.exchange = next(found, None)
        except Exception as error:  # noqa: BLE001 - twice is better than never
            self._degrade(error)
            return words
        return [word for word in words if name_of(word) not in there]


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
        record, key = begun.record, (begun.record["id"], scope)
        former = self._turns.get(key)
        # After an erasure, messages that were saved before may have to be saved again.
        if former is None or begun.edited or former.erasures != self.memory.engine.erasures:
            turn = self._made(record, sure=begun.fresh)
            if former is not None and not begun.fresh:
                turn.saved |= former.saved
            self._keep(key, turn)
        return record

    def of(self, record: TurnRecord) -> AgentTurn:
        """Return the turn of a record, which another process may have begun."""
        key = (record["id"], scope_of(record))
        return self._turns.get(key) or self._keep(key, self._made(record, sure=False))

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

    def end(
        self, record: TurnRecord, messages: Sequence[BaseMessage], answer: BaseMessage | None
    ) -> tuple[AgentTurn, TurnRecord]:
        """Save the answer, and the user's messages if the model was never called."""
        turn = self.of(record)
        if record["save"]:
            words = words_in(messages, record)
            turn.say([word for word in words if str(word.id) not in turn.saved])
        known = answer is not None and answer.id is not None and answer.id == record["answer"]
        # If the user's messages were removed from the state, the answer is not saved either.
        unasked = record["words"] and turn.saved.keys().isdisjoint(record["words"])
        if known or unasked or not record["save"]:
            answer = None
        turn.end(answer)
        ended: TurnRecord = {**self.now(record, messages), "open": False}
        return turn, {**ended, "answer": answer.id if answer else record["answer"]}

    def now(self, record: TurnRecord, messages: Sequence[BaseMessage]) -> TurnRecord:
        """Return the record, updated with the state of the turn."""
        turn, heard = self.of(record), heard_of(words_of_user(messages), record["heard"])
        saved = {id_: text for id_, text in turn.saved.items() if id_ in record["words"]}
        return {**record, "exchange": turn.exchange, "saved": saved, "heard": heard}

    def _made(self, record: TurnRecord, *, sure: bool) -> AgentTurn:
        return AgentTurn(
            self.memory,
            scope_of(record),
            self.on_error,
            new=[],
            exchange=record["exchange"],
            saved=dict(record["saved"]),
            sure=sure,
            erasures=self.memory.engine.erasures,
        )

    def _keep(self, key: tuple[str, Scope], turn: AgentTurn) -> AgentTurn:
        self._turns[key] = turn
        for oldest in list(self._turns)[:-MAX_TURNS]:
            self._turns.pop(oldest, None)
        return turn
