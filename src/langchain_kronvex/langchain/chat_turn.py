"""One turn of a chat, which is a user's message and its answer: loads, recalls and saves.

Memory must not break the chat. If something fails, the turn continues with what is available; the
failure is logged once, counted in `stats` and passed to `on_error`. Saving is tried again in the
background, in order.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from langchain_core.messages import BaseMessage

from langchain_kronvex.core.errors import ConfigurationError, MemoryClosed, StoreBusy
from langchain_kronvex.core.messages import query_of, visible_texts
from langchain_kronvex.core.records import Scope
from langchain_kronvex.core.types import MemoryContext
from langchain_kronvex.langchain.answers import Answer
from langchain_kronvex.memory.chat_log import ChatLog
from langchain_kronvex.memory.engine import OnFailure
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.memory.recalling.recall_context import ContextOptions, recall_context
from langchain_kronvex.memory.waking import Consolidator

DEGRADED_EVENT = "kronvex_memory_degraded"
NOT_RECOGNISED = (
    "The chain's output holds no answer that with_memory recognises, so none was saved. If it is a "
    "dict, name the key of the answer: with_memory(..., output_messages_key=...)."
)


@dataclass(slots=True)
class Turn:
    """A turn in progress.

    Attributes:
        history: The session's messages before this turn.
        context: The recalled context.
        degraded: Whether something failed.
        new: The user's messages of this turn.
        exchange: The id of the remembered exchange, which the answer completes.
        consolidator: Is told when the turn is saved.
    """

    memory: KronvexMemory
    scope: Scope
    on_error: OnFailure
    new: list[BaseMessage]
    history: list[BaseMessage] = field(default_factory=list)
    context: MemoryContext = field(default_factory=MemoryContext)
    degraded: bool = False
    exchange: str | None = None
    consolidator: Consolidator | None = None

    @property
    def words(self) -> list[BaseMessage]:
        """The user's messages that are saved: all but system messages."""
        return [message for message in self.new if message.type != "system"]

    @property
    def session_id(self) -> str:
        """The session; without one, the session with the name of the user."""
        return self.scope.session_id or self.scope.owner

    def prepare(
        self, *, load_history: bool, max_messages: int | None, options: ContextOptions
    ) -> None:
        """Load the history, then recall the context.

        Doing both at once in two threads was measured to be slower.
        """
        if load_history:
            with self.memory.engine.degraded.going_on(self.on_error, self._degrade):
                self.history = self.memory.load_messages(
                    self.session_id, user_id=self.scope.user_id, max_messages=max_messages
                )
        shown = visible_texts([*self.history, *self.new])
        self.recall(query_of(self.new), shown, options)

    def recall(self, query: str, already_shown: Collection[str], options: ContextOptions) -> None:
        """Recall the context."""
        self.context = recall_context(
            self.memory, query, self.scope, options, already_shown, self._degrade
        )
        self.degraded |= self.context.degraded

    def save(self, messages: Sequence[BaseMessage], *, ends: bool = False) -> None:
        """Save messages of this turn, so that they are on disk once this returns.

        If the store is too slow or fails, saving continues in the background. `ends` says that the
        turn has no more messages.
        """
        try:
            saving = self._submit(messages, ends)
            if saving:
                saving.result(self.memory.engine.patience_seconds)
        except Exception as error:  # noqa: BLE001 - the chat goes on
            self._saving_failed(error)

    async def asave(self, messages: Sequence[BaseMessage], *, ends: bool = False) -> None:
        """Async version of `save`; no thread waits for the disk."""
        engine = self.memory.engine
        if engine.before_save.function is None and engine.writer.has_room:  # then it never waits
            saving = self.submit(messages, ends=ends)
        else:
            saving = await engine.threads.run(self.submit, messages, ends=ends)
        await self.wait_for(saving)

    def submit(self, messages: Sequence[BaseMessage], *, ends: bool = False) -> Future[None] | None:
        """Hand messages over to be saved; the result is for `wait_for`."""
        try:
            return self._submit(messages, ends)
        except Exception as error:  # noqa: BLE001 - the chat goes on
            self._saving_failed(error)
            return None

    async def wait_for(self, saving: Future[None] | None) -> None:
        """Wait until messages that were handed over are on disk, within the same bounds."""
        if saving is None:
            return
        waiting = asyncio.wrap_future(saving)
        waiting.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.wait([waiting], timeout=self.memory.engine.patience_seconds)
        try:
            saving.result(0)
        except Exception as error:  # noqa: BLE001 - the chat goes on
            self._saving_failed(error)

    def _submit(self, messages: Sequence[BaseMessage], ends: bool) -> Future[None] | None:
        if not messages:
            if ends:
                self._wake()
            return None
        engine = self.memory.engine
        stored = engine.before_save.messages(messages)  # here: it is not tried again if it fails
        return engine.writer.submit(self.scope, lambda: self._saved(stored, ends))

    def _saved(self, messages: Sequence[BaseMessage], ends: bool) -> None:
        self._write(messages)
        if ends:
            self._wake()

    def _wake(self) -> None:
        """Tell the consolidator that the turn is saved; no failure of it reaches the turn."""
        try:
            if self.consolidator is not None:
                self.consolidator.wake(self.scope.owner)
        except Exception as error:  # noqa: BLE001 - the chat goes on
            self.memory.engine.writer.report(error)

    def _saving_failed(self, error: Exception) -> None:
        if isinstance(error, concurrent.futures.CancelledError):
            return  # the user has been forgotten in the meantime
        if isinstance(error, concurrent.futures.TimeoutError):
            limit = f"{self.memory.engine.patience_seconds:g} s"
            error = StoreBusy(f"Saving took over {limit}; it continues in the background.")
        self._degrade(error)

    def answer_of(self, answer: Answer) -> list[BaseMessage]:
        """Return the messages of an answer; report it if there should be some, but are not."""
        said = answer.messages([*self.history, *self.new])
        if answer.is_missing:
            self._degrade(ConfigurationError(NOT_RECOGNISED))
        return said

    def _write(self, messages: Sequence[BaseMessage]) -> None:
        log = ChatLog.of(self.memory.engine, self.session_id, self.scope.user_id)
        self.exchange = log.save(messages, remember=True, reply_to=self.exchange)

    def _degrade(self, error: Exception) -> None:
        """Report the first failure of the turn; raise it if that is wanted.

        A closed memory is a mistake in the program, and no failure.
        """
        if self.on_error == "raise" or isinstance(error, MemoryClosed):
            raise error
        if not self.degraded:
            self.memory.engine.degraded.report(error)
        self.degraded = True
