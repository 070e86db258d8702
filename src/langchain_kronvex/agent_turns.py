"""The turns of agents: begun before the first model call, ended after the last, told apart by ids.

What must outlive an interrupt is in the agent's state: ids, never memories. What was recalled is
kept in this process alone, and recalled anew where it is missing.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from langchain_core.messages import BaseMessage
from typing_extensions import TypedDict

from langchain_kronvex.agent_messages import new_words, question_in, shown_texts
from langchain_kronvex.memory import KronvexMemory
from langchain_kronvex.messages import text_of
from langchain_kronvex.plans import Plan
from langchain_kronvex.turns import ContextOptions, OnFailure, Turn
from langchain_kronvex.types import MemoryContext, Scope

MOST_TURNS = 1000
# A turn may rest for days at an interrupt, while memories are forgotten elsewhere.
CONTEXT_SECONDS = 300.0


class TurnRecord(TypedDict):
    """What an agent's state holds of a turn.

    Attributes:
        id: Of the user's message, and what it says.
        user_id: Whose turn it is.
        session_id: The conversation.
        exchange: Id of the exchange that the answer completes, if it is known.
        saved: Ids of the messages of the user that were saved and are not answered yet.
    """

    id: str
    user_id: str | None
    session_id: str | None
    exchange: str | None
    saved: list[str]


@dataclass(slots=True)
class AgentTurn(Turn):
    """A turn of an agent under way."""

    begun: bool = False
    _recalled_at: float | None = None
    _answer_id: str | None = None

    def begin(self, words: Sequence[BaseMessage]) -> Plan[None]:
        """Save what the user said, once."""
        if not self.begun:
            self.begun = True
            yield from self.save(words)

    def context_for(self, messages: Sequence[BaseMessage], options: ContextOptions) -> Plan[str]:
        """Return the context of the turn, recalled for the first model call of it."""
        now = time.monotonic()
        if self._recalled_at is None or now - self._recalled_at > CONTEXT_SECONDS:
            self._recalled_at = now
            question = question_in(messages)
            query = text_of(question) if question else ""
            yield from self.recall(query, shown_texts(messages), options)
        return self.context.context

    def end(self, answer: BaseMessage | None) -> Plan[None]:
        """Save the answer, once, and let go of the context."""
        self.context, self._recalled_at = MemoryContext(), None
        if answer is not None and (answer.id is None or answer.id != self._answer_id):
            self._answer_id = answer.id
            yield from self.save([answer])


@dataclass(frozen=True, slots=True)
class AgentTurns:
    """The turns under way in this process; others are made again from their records."""

    memory: KronvexMemory
    on_error: OnFailure
    _turns: dict[tuple[str, Scope, int], AgentTurn] = field(default_factory=dict)

    def begin(
        self,
        messages: Sequence[BaseMessage],
        scope: Scope,
        earlier: TurnRecord | None,
        *,
        save: bool,
    ) -> Plan[tuple[AgentTurn, TurnRecord] | None]:
        """Begin the turn that the user's last message asks for, and save what is new.

        Without any message of the user there is no turn.

        Args:
            messages: The agent's messages.
            scope: Whose turn it is.
            earlier: The record of the turn before this one, in the same conversation.
            save: Whether to save at all.
        """
        saved, exchange = _known(earlier, scope)
        words = new_words(messages)
        unsaved = [word for word in words if word.id not in saved]
        question = question_in(messages)
        if question is None:
            return None
        name = _name(question)
        turn = self._turn(name, scope, None if unsaved else exchange)
        if save:
            yield from turn.begin(unsaved)
        return turn, TurnRecord(
            id=name,
            user_id=scope.user_id,
            session_id=scope.session_id,
            exchange=turn.exchange,
            saved=[word.id for word in words if word.id] if save else [],
        )

    def of(self, record: TurnRecord) -> AgentTurn:
        """Return the turn of a record, also one begun in another process."""
        scope = Scope(record["user_id"], record["session_id"])
        return self._turn(record["id"], scope, record["exchange"])

    def _turn(self, name: str, scope: Scope, exchange: str | None) -> AgentTurn:
        begun = AgentTurn(self.memory, scope, self.on_error, new=[], exchange=exchange)
        # After anything was forgotten, what was recalled before is shown no more.
        turn = self._turns.setdefault((name, scope, self.memory.erasures), begun)
        for oldest in list(self._turns)[:-MOST_TURNS]:
            self._turns.pop(oldest, None)
        return turn


def _known(earlier: TurnRecord | None, scope: Scope) -> tuple[list[str], str | None]:
    """Return what the record of an unanswered turn says was saved, and as which exchange."""
    if not earlier or Scope(earlier["user_id"], earlier["session_id"]) != scope:
        return [], None
    return earlier["saved"], earlier["exchange"]


def _name(question: BaseMessage) -> str:
    return hashlib.sha256(f"{question.id}\n{text_of(question)}".encode()).hexdigest()
