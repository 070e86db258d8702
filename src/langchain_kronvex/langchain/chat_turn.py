"""One turn of a chat: what the model is shown before, what is saved before and after.

Memory must not break the chat. What fails here degrades: the turn goes on with what there is,
the failure is logged once, counted in `stats` and told to `on_error`; saving is tried again in
the background, in order.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from langchain_core.messages import BaseMessage

from langchain_kronvex.core.errors import InvalidInput, StoreBusy
from langchain_kronvex.core.messages import query_of, visible_texts
from langchain_kronvex.core.types import MemoryContext, Scope
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.memory.recall_context import ContextOptions, OnFailure, recall_context

DEGRADED_EVENT = "kronvex_memory_degraded"
# How long a turn waits for its own words to be on disk before it goes on without.
PATIENCE_SECONDS = 1.0


@dataclass(slots=True)
class Turn:
    """A turn under way.

    Attributes:
        history: The session's messages before this turn.
        context: What was recalled.
        degraded: Some of it failed.
        new: The user's messages of this turn.
        exchange: Id of what is remembered of this turn, which an answer completes.
    """

    memory: KronvexMemory
    scope: Scope
    on_error: OnFailure
    new: list[BaseMessage]
    history: list[BaseMessage] = field(default_factory=list)
    context: MemoryContext = field(default_factory=MemoryContext)
    degraded: bool = False
    exchange: str | None = None
    _told: bool = False

    @property
    def session_id(self) -> str:
        """The conversation; without a session the user has one of their own name."""
        return self.scope.session_id or self.scope.owner

    def prepare(
        self, *, load_history: bool, max_messages: int | None, options: ContextOptions
    ) -> None:
        """Load the history, recall the context, save the user's words: one after the other, since
        doing two of them at once in two threads was measured to be slower.
        """
        if load_history:
            try:
                self.history = self.memory.load_messages(
                    self.session_id, user_id=self.scope.user_id, max_messages=max_messages
                )
            except InvalidInput:  # a mistake in the program
                raise
            except Exception as error:  # noqa: BLE001 - the chat goes on
                self._degrade(error)
        shown = visible_texts([*self.history, *self.new])
        self.recall(query_of(self.new), shown, options)
        self.save([message for message in self.new if message.type != "system"])

    def recall(self, query: str, already_shown: Collection[str], options: ContextOptions) -> None:
        """Recall the context among all sessions of the user."""
        everything_of_user = Scope(user_id=self.scope.owner)
        self.context = recall_context(
            self.memory, query, everything_of_user, options, already_shown
        )
        self.degraded |= self.context.degraded

    def save(self, messages: Sequence[BaseMessage]) -> None:
        """Save messages of this turn: on disk when this returns, unless the store is held up;
        then it goes on being tried in the background.
        """
        if not messages:
            return
        try:
            saving = self.memory.engine.writer.submit(self.scope, lambda: self._write(messages))
            saving.result(PATIENCE_SECONDS)
        except concurrent.futures.CancelledError:
            return  # the user was forgotten meanwhile
        except concurrent.futures.TimeoutError:
            self._degrade(_held_up(PATIENCE_SECONDS))
        except Exception as error:  # noqa: BLE001 - the chat goes on
            self._degrade(error)

    def to_be_told(self) -> bool:
        """Tell, once, whether something failed that the caller has not been told of."""
        news = self.degraded and not self._told
        self._told |= news
        return news

    def _write(self, messages: Sequence[BaseMessage]) -> None:
        self.exchange = self.memory.save_messages(
            messages,
            self.session_id,
            user_id=self.scope.user_id,
            reply_to=self.exchange,
        )

    def _degrade(self, error: Exception) -> None:
        if self.on_error == "raise":
            raise error
        self.degraded = True
        self.memory.engine.degraded.report(error)


def _held_up(seconds: float) -> StoreBusy:
    return StoreBusy(
        f"The store did not take the turn within {seconds:g} s; it is being tried again in the "
        "background."
    )
