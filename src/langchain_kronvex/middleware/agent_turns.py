"""The turns of agents: begun before the first model call, ended after the last, known by ids.

Everything that must survive an interrupt is in the agent's state, as a record of the turn: ids and
digests, never memories. What else a turn needs is kept in this process, and looked up in the store
if it is missing.

A message of the user is identified by its id. Its text may change, because a middleware redacts it
or the user edits it. Therefore a digest of every text of a message is recorded.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.tracers.context import register_configure_hook
from typing_extensions import TypedDict

from langchain_kronvex.core.errors import StoreBusy
from langchain_kronvex.core.messages import answer_in, text_of
from langchain_kronvex.core.records import Scope
from langchain_kronvex.core.types import MemoryContext
from langchain_kronvex.langchain.chat_turn import Turn
from langchain_kronvex.memory.chat_log import ChatLog, read_all
from langchain_kronvex.memory.recalling.recall_context import ContextOptions
from langchain_kronvex.middleware.agent_messages import (
    digest,
    new_words,
    question_in,
    shown_texts,
    words_of_user,
)

if TYPE_CHECKING:
    from langchain_kronvex.core.records import Record

# A turn may be interrupted for days, while memories are forgotten elsewhere.
CONTEXT_SECONDS = 300.0
MAX_HEARD = 100  # messages of the user; edits of older ones are not noticed
_MAX_TEXTS = 4  # of one message
LOOK_BACK = 200  # messages and memories that a turn of another process may have saved


class TurnRecord(TypedDict):
    """The record of a turn in an agent's state.

    Attributes:
        id: Made from the id and the text of the user's message.
        user_id: The user.
        session_id: The session.
        save: Whether the turn is saved.
        open: Whether the turn has begun and not ended.
        words: The ids of the user's messages in this turn.
        heard: The digests of each user message's texts, as of the start and end of turns.
    """

    id: str
    user_id: str | None
    session_id: str | None
    save: bool
    open: bool
    words: list[str]
    heard: dict[str, list[str]]


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
        self, messages: Sequence[BaseMessage], words: Sequence[BaseMessage], options: ContextOptions
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
            self.save([answer], ends=True)

    def _not_stored(self, words: list[BaseMessage]) -> list[BaseMessage]:
        """Return the messages that are not stored yet; look up the exchange of stored ones."""
        stored = self.memory.engine.before_save.message
        try:
            there = {
                name_of(message)
                for _, message in read_all(self._log().records("message", limit=LOOK_BACK))
            }
            names = [name_of(stored(word)) for word in words]
            if names[-1] in there and (exchange := self._exchange_of(words[-1])):
                self.exchange = exchange.id
        except Exception as error:  # noqa: BLE001 - twice is better than never
            self._degrade(error)
            return words
        return [word for word, name in zip(words, names, strict=True) if name not in there]

    def _write(self, messages: Sequence[BaseMessage]) -> None:
        question = question_in(self._state)
        if question is None or not isinstance(messages[0], AIMessage):
            Turn._write(self, messages)
            return
        latest = read_all(self._log().records("message", limit=LOOK_BACK))
        replies = list(takewhile(lambda said: said[1].id != question.id, latest))[::-1]
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
        present = {message.id for message in self._state}
        before = answer_in(exchange.content, exchange.search_text or "")
        stays: list[str] = []
        gone: list[Record] = []
        for record, message in replies:
            text = text_of(message)
            if isinstance(message, AIMessage) and text and text in before:
                if message.id not in present:
                    gone.append(record)
                elif not self.again:
                    stays.append(text)
        whole = " ".join([*stays, text_of(answer)])
        self.exchange = self._log().correct_answer(exchange, gone, answer, whole)

    def _exchange_of(self, question: BaseMessage) -> Record | None:
        """Return the exchange that a question began, if it is still remembered."""
        words = text_of(self.memory.engine.before_save.message(question))
        for record in self._log().records("memory", limit=LOOK_BACK):
            asked = record.search_text and record.search_text == words
            if record.id == self.exchange if self.exchange else asked:
                return record
        return None

    def _log(self) -> ChatLog:
        return ChatLog.of(self.memory.engine, self.session_id, self.scope.user_id)


class ModelCalls(BaseCallbackHandler):
    """Notes whether the last call of a model failed, even if another middleware hides it."""

    run_inline = True
    failed = False

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        """Note a success."""
        self.failed = False

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        """Note a failure."""
        self.failed = True


MODEL_CALLS = ContextVar[ModelCalls | None]("kronvex_model_calls", default=None)
register_configure_hook(MODEL_CALLS, inheritable=True)


# -- records -----------------------------------------------------------------------------------


def beginning(
    messages: Sequence[BaseMessage], scope: Scope, earlier: TurnRecord | None, *, save: bool
) -> tuple[TurnRecord, bool] | None:
    """Return the record of the turn of these messages, and whether a message of it is new.

    None if the user said nothing. If no message is new or edited, an earlier turn continues.

    New messages are those since the last answer that are not in the record, or else edited ones.
    Messages of a turn that never reached the model are not used by a later turn, because they may
    have been blocked.

    Args:
        messages: The agent's messages.
        scope: The user and the session.
        earlier: The record of the previous turn of the thread.
        save: Whether the turn should be saved.
    """
    theirs = earlier is not None and scope_of(earlier) != scope
    known = earlier["heard"] if earlier else {}
    before = earlier["words"] if earlier and not theirs else []
    unanswered = earlier["words"] if earlier and earlier["open"] else []
    words, lately = words_of_user(messages), {word.id for word in new_words(messages)}
    unheard = [word for word in words if word.id in lately and str(word.id) not in known]
    # A message that changed while the user sent a new one was not edited by the user.
    changed = [w for w in words if w.id not in unanswered and _changed(w, known)]
    edited = [] if unheard else changed
    fresh = unheard or edited
    said = fresh or [word for word in words if word.id in before] or words
    if not said:  # the user said nothing, or it was replaced by a summary
        return (earlier, False) if earlier and unanswered and before else None
    forgotten = {str(word.id) for word in edited}
    heard = {id_: texts for id_, texts in known.items() if id_ not in forgotten}
    record = TurnRecord(
        id=name_of(said[-1]),
        user_id=scope.user_id,
        session_id=scope.session_id,
        save=save,
        open=True,
        words=[str(word.id) for word in fresh] or before,
        heard=heard_of(words, heard),
    )
    return record, bool(fresh)


def scope_of(record: TurnRecord) -> Scope:
    """Return the scope of a turn."""
    return Scope(record["user_id"], record["session_id"])


def words_in(messages: Sequence[BaseMessage], record: TurnRecord) -> list[BaseMessage]:
    """Return the user's messages of a turn, from these messages."""
    return [word for word in words_of_user(messages) if word.id in record["words"]]


def heard_of(words: Sequence[BaseMessage], heard: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the digests of the user's messages, including those of their present texts."""
    return {
        str(word.id): _with(heard.get(str(word.id), []), digest(word))
        for word in words[-MAX_HEARD:]
    }


def name_of(question: BaseMessage) -> str:
    """Return the id of the turn that a message starts."""
    return hashlib.sha256(f"{question.id}\n{text_of(question)}".encode()).hexdigest()


def _changed(word: BaseMessage, known: dict[str, list[str]]) -> bool:
    return str(word.id) in known and digest(word) not in known[str(word.id)]


def _with(texts: list[str], text: str) -> list[str]:
    return texts if text in texts else [*texts, text][-_MAX_TEXTS:]
