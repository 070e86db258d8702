"""The turns of agents: begun before the first model call, ended after the last, told apart by ids.

What must outlive an interrupt is in the agent's state: ids, never memories. What was recalled is
kept in this process alone, and recalled anew where it is missing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from langchain_core.messages import BaseMessage

from langchain_kronvex.core.errors import StoreBusy
from langchain_kronvex.core.messages import exchange_content, text_of
from langchain_kronvex.core.types import Memory, MemoryContext, Scope
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

MOST_TURNS = 1000
# A turn may rest for days at an interrupt, while memories are forgotten elsewhere.
CONTEXT_SECONDS = 300.0
# How far back it is looked for what a turn, begun in another process, has saved.
LOOK_BACK = 200


@dataclass(slots=True)
class AgentTurn(Turn):
    """A turn of an agent under way.

    Attributes:
        saved: Digests of what was saved, by the ids of the messages.
        sure: Nothing else of it was saved, by a run that failed before it could say so.
        erasures: How often something had been forgotten when it began.
    """

    saved: dict[str, str] = field(default_factory=dict)
    sure: bool = False
    erasures: int = 0
    _recalled: tuple[float, int] | None = None
    _answer_id: str | None = None

    def say(self, words: Sequence[BaseMessage]) -> None:
        """Save what the user says, once; and again what was edited since."""
        new = [word for word in words if self.saved.get(str(word.id)) != digest(word)]
        if not new:
            return
        before = dict(self.saved)
        self.saved.update((str(word.id), digest(word)) for word in new)
        self._recalled = None
        try:
            if not self.sure:
                new = self._not_stored(new)
                self.sure = True
            self.save(new)
        except StoreBusy:  # it is still being tried
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
        """Return the context of the turn, recalled for the first model call of it.

        Args:
            messages: What the model is shown.
            words: What the user says with this turn.
            options: How it is recalled.
        """
        now, erasures = time.monotonic(), self.memory.engine.erasures
        fresh = self._recalled is not None and self._recalled[1] == erasures
        if not fresh or now - self._recalled[0] > CONTEXT_SECONDS:  # type: ignore[index]
            self._recalled = (now, erasures)
            question = words[-1] if words else question_in(messages)
            query = text_of(question) if question else ""
            self.recall(query, shown_texts([*messages, *words]), options)
        return self.context.context

    def end(self, answer: BaseMessage | None) -> None:
        """Save the answer, once, and let go of the context."""
        self.context, self._recalled = MemoryContext(), None
        if answer is not None and (answer.id is None or answer.id != self._answer_id):
            self._answer_id = answer.id
            self.save([answer])

    def _not_stored(self, words: list[BaseMessage]) -> list[BaseMessage]:
        """Return what the session does not hold yet; find the exchange of what it holds."""
        user, session = self.scope.user_id, self.session_id
        try:
            held: list[BaseMessage] = self.memory.load_messages(
                session, user_id=user, max_messages=LOOK_BACK
            )
            there = {name_of(message) for message in held}
            if self.exchange is None and name_of(words[-1]) in there:
                remembered: list[Memory] = self.memory.memories(
                    user_id=user, session_id=session, limit=LOOK_BACK
                )
                said = exchange_content(text_of(words[-1]), None)
                found = (memory.id for memory in remembered if memory.content == said)
                self.exchange = next(found, None)
        except Exception as error:  # noqa: BLE001 - rather twice than not at all
            self._degrade(error)
            return words
        return [word for word in words if name_of(word) not in there]


@dataclass(frozen=True, slots=True)
class AgentTurns:
    """The turns under way in this process; others are made again from their records."""

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
        """Return the record of the turn that these messages ask for; see `beginning`."""
        begun = beginning(messages, scope, earlier, save=save)
        if begun is None:
            return None
        record, key = begun.record, (begun.record["id"], scope)
        former = self._turns.get(key)
        # After anything was forgotten, what was said before may be said again.
        if former is None or begun.edited or former.erasures != self.memory.engine.erasures:
            turn = self._made(record, sure=begun.fresh)
            if former is not None and not begun.fresh:
                turn.saved |= former.saved
            self._keep(key, turn)
        return record

    def of(self, record: TurnRecord) -> AgentTurn:
        """Return the turn of a record, also one begun in another process."""
        key = (record["id"], scope_of(record))
        turn = self._turns.get(key)
        if turn is None:
            turn = self._keep(key, self._made(record, sure=False))
        return turn

    def before_model(
        self,
        record: TurnRecord,
        messages: Sequence[BaseMessage],
        shown: Sequence[BaseMessage],
        options: ContextOptions,
    ) -> str:
        """Save what the user says, and return the context.

        Args:
            record: Of the turn.
            messages: The agent's messages, when the model is called: redacted, say.
            shown: What the model is shown of them.
            options: How the context is recalled.
        """
        turn, words = self.of(record), words_in(messages, record)
        if record["save"]:
            turn.say(words)
        if words:  # another agent of the same conversation hears what they say now
            self._turns.setdefault((name_of(words[-1]), turn.scope), turn)
        return turn.context_for(shown, words, options)

    def end(
        self, record: TurnRecord, messages: Sequence[BaseMessage], answer: BaseMessage | None
    ) -> tuple[AgentTurn, TurnRecord]:
        """Save the answer, and what was said if the model was never asked."""
        turn = self.of(record)
        if record["save"]:
            words = words_in(messages, record)
            turn.say([word for word in words if str(word.id) not in turn.saved])
        known = answer is not None and answer.id is not None and answer.id == record["answer"]
        # An answer to words that somebody took out of the state is no exchange.
        unasked = record["words"] and turn.saved.keys().isdisjoint(record["words"])
        if known or unasked or not record["save"]:
            answer = None
        turn.end(answer)
        ended: TurnRecord = {**self.now(record, messages), "open": False}
        return turn, {**ended, "answer": answer.id if answer else record["answer"]}

    def now(self, record: TurnRecord, messages: Sequence[BaseMessage]) -> TurnRecord:
        """Return the record with what is known of the turn by now."""
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
        for oldest in list(self._turns)[:-MOST_TURNS]:
            self._turns.pop(oldest, None)
        return turn
