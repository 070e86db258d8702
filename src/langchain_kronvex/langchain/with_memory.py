"""`with_memory`: gives a chain its history and recalled memories, and saves each exchange."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any

from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.runnables import Runnable, RunnableConfig, RunnableSerializable
from langchain_core.runnables.base import coerce_to_runnable
from pydantic import ConfigDict

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import ConfigurationError, InvalidInput
from langchain_kronvex.core.types import MemoryTypes, OrderBy
from langchain_kronvex.langchain.answers import Answer
from langchain_kronvex.langchain.chat_turn import DEGRADED_EVENT, Turn
from langchain_kronvex.langchain.prompts import (
    as_messages,
    as_text,
    fill,
    input_of,
    with_context,
    with_place,
)
from langchain_kronvex.memory.engine import OnFailure
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.memory.recalling.recall_context import ContextOptions
from langchain_kronvex.memory.recalling.recaller import open_turn
from langchain_kronvex.memory.scope_from_config import scope_from
from langchain_kronvex.memory.waking import Consolidator, check_consolidator


class ChainWithMemory(ContextOptions, RunnableSerializable[Any, Any]):
    """The chain that `with_memory` returns; see there."""

    chain: Runnable[Any, Any]
    memory: KronvexMemory
    input_messages_key: str
    history_messages_key: str | None
    context_key: str
    output_messages_key: str
    max_messages: int | None
    consolidator: Consolidator | None = None

    model_config = ConfigDict(extra="forbid")

    def check_options(self) -> None:
        """Raise `InvalidInput` if values do not fit, or do not fit together."""
        super().check_options()
        checks.check_optional_count(self.max_messages, "max_messages", least=1)
        if len({self.input_messages_key, self.history_messages_key, self.context_key}) < 3:
            raise InvalidInput("The input, the history and the context need a key each.")

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Run one turn."""
        return self._call_with_config(self._turn, input, config, **kwargs)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Async version of `invoke`."""
        return await self._acall_with_config(self._aturn, input, config, **kwargs)

    def stream(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[Any]:
        """Run one turn and stream the chain's output, which is saved even if the stream breaks."""
        yield from self._transform_stream_with_config(
            iter([input]), self._stream_turn, config, **kwargs
        )

    async def astream(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[Any]:
        """Async version of `stream`."""

        async def inputs() -> AsyncIterator[Any]:
            yield input

        streamed = self._atransform_stream_with_config(
            inputs(), self._astream_turn, config, **kwargs
        )
        try:
            async for chunk in streamed:
                yield chunk
        finally:  # if closed early, save now and not at the next garbage collection
            await streamed.aclose()  # type: ignore[attr-defined]

    def _turn(self, value: Any, run_manager: Any, config: RunnableConfig, **kwargs: Any) -> Any:
        with self._open(value, config) as (turn, filled, answer):
            output = self.chain.invoke(filled, config, **kwargs)
            answer.hear(output)
        return _marked(output, turn)

    async def _aturn(
        self, value: Any, run_manager: Any, config: RunnableConfig, **kwargs: Any
    ) -> Any:
        async with self._aopen(value, config) as (turn, filled, answer):
            output = await self.chain.ainvoke(filled, config, **kwargs)
            answer.hear(output)
        return _marked(output, turn)

    def _stream_turn(
        self, inputs: Iterator[Any], run_manager: Any, config: RunnableConfig, **kwargs: Any
    ) -> Iterator[Any]:
        with self._open(next(inputs), config) as (_, filled, answer):
            for chunk in self.chain.stream(filled, config, **kwargs):
                answer.hear(chunk)
                yield chunk

    async def _astream_turn(
        self, inputs: AsyncIterator[Any], run_manager: Any, config: RunnableConfig, **kwargs: Any
    ) -> AsyncIterator[Any]:
        async with self._aopen(await anext(inputs), config) as (_, filled, answer):
            async for chunk in self.chain.astream(filled, config, **kwargs):
                answer.hear(chunk)
                yield chunk

    @contextmanager
    def _open(self, value: Any, config: RunnableConfig) -> Iterator[tuple[Turn, Any, Answer]]:
        """Save the user's message before the chain runs, and what it says however it ends."""
        turn = self._opened(value, config)
        with open_turn(turn.words):
            filled = self._filled(value, turn)
            turn.save(turn.words)
            answer = self._listening(filled, config)
            try:
                yield turn, filled, answer
            finally:
                turn.save(turn.answer_of(answer), ends=True)
                if turn.degraded:
                    dispatch_custom_event(DEGRADED_EVENT, {}, config=config)

    @asynccontextmanager
    async def _aopen(
        self, value: Any, config: RunnableConfig
    ) -> AsyncIterator[tuple[Turn, Any, Answer]]:
        turn = self._opened(value, config)
        with open_turn(turn.words):
            filled, saving = await self.memory.engine.threads.read(self._begun, value, turn)
            await turn.wait_for(saving)
            answer = self._listening(filled, config)
            try:
                yield turn, filled, answer
            finally:
                await turn.asave(turn.answer_of(answer), ends=True)
                if turn.degraded:
                    await adispatch_custom_event(DEGRADED_EVENT, {}, config=config)

    def _opened(self, value: Any, config: RunnableConfig) -> Turn:
        said = input_of(value, self.input_messages_key) if isinstance(value, Mapping) else value
        return Turn(
            memory=self.memory,
            scope=scope_from(config, self.user_id, self.session_id),
            on_error=self.on_error,
            new=as_messages(said),
            consolidator=self.consolidator,
        )

    def _begun(self, value: Any, turn: Turn) -> tuple[Any, Future[None] | None]:
        """Fill the input and hand over the user's words: all of an async turn's start."""
        return self._filled(value, turn), turn.submit(turn.words)

    def _filled(self, value: Any, turn: Turn) -> Any:
        """Load and recall; return the chain's input: a dict with two more keys, or a prompt."""
        turn.prepare(
            load_history=self.history_messages_key is not None,
            max_messages=self.max_messages,
            options=self,
        )
        context = turn.context.context
        if isinstance(value, Mapping):
            history = {self.history_messages_key: turn.history} if self.history_messages_key else {}
            said = fill(turn.new, context)  # perhaps with a placeholder in a system message
            new = {self.input_messages_key: said} if said != turn.new else {}
            return {**value, **new, **history, self.context_key: context}
        if _takes_text(self.chain):
            return as_text(turn.history, turn.new, context)
        return with_context(turn.history, turn.new, context)

    def _listening(self, filled: Any, config: RunnableConfig) -> Answer:
        is_graph = hasattr(self.chain, "stream_mode")  # only graphs have this attribute
        answer = Answer(self.output_messages_key, filled, is_graph=is_graph)
        callbacks: Any = config["callbacks"]  # of this run alone
        callbacks.add_handler(answer, inherit=False)
        return answer


@checks.checked_names
def with_memory(
    chain: Any,
    memory: KronvexMemory,
    *,
    input_messages_key: str = "input",
    history_messages_key: str | None = "chat_history",
    context_key: str = "memory_context",
    output_messages_key: str = "output",
    top_k: int = 8,
    max_tokens: int | None = None,
    profile_tokens: int | None = None,
    memory_type: MemoryTypes = None,
    threshold: float = 0.0,
    include_shared: bool = False,
    order_by: OrderBy = "confidence",
    filter: Mapping[str, Any] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    max_messages: int | None = None,
    user_id: str | None = None,
    session_id: str | None = None,
    this_session_only: bool = False,
    on_error: OnFailure = "degrade",
    name: str | None = None,
    consolidator: Consolidator | None = None,
) -> Runnable[Any, Any]:
    """Give a chain a memory: history, recall and saving around every call, sync or async.

    The chain takes a dict (two keys are added), messages (the context is added in a system
    message, then the history, then the input), or text (all of these become one text). The user
    and the session are taken from `config["configurable"]`: `user_id`, `session_id` (or
    `thread_id`), or both. The history is that of the session; the context is recalled from all
    sessions of the user, unless `this_session_only` is set.

    The user's message is saved before the chain runs, and the answer after it. If the stream is
    closed early or the model fails, the part of the answer that was produced is saved. An answer is
    text, a message or messages, or what a dict or the state of a graph holds under
    `output_messages_key` or a usual key, such as `answer` or `messages`; of a stream, in every
    `stream_mode`. If none is recognised, none is saved, and the turn is degraded. Put retries
    and fallbacks inside (`with_memory(chain.with_retry(), memory)`): outside, each try would be a
    turn of its own.

    Args:
        chain: Any Runnable, or anything that LangChain can turn into one.
        memory: The memory that stores everything.
        input_messages_key: The key of the user's message in a dict.
        history_messages_key: The key under which a dict gets the session's messages; None for
            chains that keep their own history.
        context_key: The key under which a dict gets the context.
        output_messages_key: The key of the answer, for a chain that returns a dict.
        top_k: At most this many memories in the context.
        max_tokens: Leave out the least similar memories until the context has about this many
            tokens.
        profile_tokens: Put the user's profile (`KronvexMemory.profile`), cut to about this many
            tokens, before the recalled memories. Nothing is said twice.
        memory_type: Recall only this type, or these types.
        threshold: The lowest similarity, from 0 to 1.
        include_shared: Also recall the agent-level memories (stored with neither id).
        filter: Conditions on the metadata; see `KronvexMemory.recall`.
        since: Only what was said at or after this moment, an aware datetime.
        until: Only what was said before this moment, an aware datetime.
        order_by: `confidence`, where an update comes before what it updates, or `similarity`.
        max_messages: The history is the last whole turns that hold at most this many messages; a
            turn is a user's message and its answer.
        user_id: The user, for every call.
        session_id: The session, for every call; without a `user_id`, also the user.
        this_session_only: Recall only from the current session.
        on_error: `degrade` (the chain continues without its memory), or `raise`.
        name: The name in traces.
        consolidator: Derives what is known of the user from what was said, in the background, after
            each turn: a `KronvexConsolidator` of this memory.

    Raises:
        InvalidInput: the consolidator works on another memory.
        ConfigurationError: the chain or the value of an option does not fit.
        MemoryClosed: when the chain runs, if the memory has been closed.
    """
    check_consolidator(consolidator, memory)
    try:
        return ChainWithMemory(
            chain=with_place(coerce_to_runnable(chain), context_key), memory=memory,
            consolidator=consolidator, name=name or "with_memory", max_messages=max_messages,
            input_messages_key=input_messages_key, history_messages_key=history_messages_key,
            context_key=context_key, output_messages_key=output_messages_key, user_id=user_id,
            session_id=session_id, top_k=top_k, max_tokens=max_tokens,
            profile_tokens=profile_tokens, memory_type=memory_type, threshold=threshold,
            include_shared=include_shared, order_by=order_by, filter=filter, since=since,
            until=until, this_session_only=this_session_only, on_error=on_error,
        )  # fmt: skip
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"with_memory: {error}") from error


def _marked(output: Any, turn: Turn) -> Any:
    is_dict = turn.degraded and isinstance(output, Mapping)
    return {**output, "memory_degraded": True} if is_dict else output


def _takes_text(chain: Runnable[Any, Any]) -> bool:
    try:
        return chain.InputType in (str, "str")
    except TypeError:  # LangChain cannot infer the type
        return False
