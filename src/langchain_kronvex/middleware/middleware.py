"""`KronvexMemoryMiddleware`: gives an agent of `create_agent` a memory across threads."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import Annotated, Any

from langchain.agents.middleware.types import (
    AgentMiddleware,
    AgentState,
    ModelCallResult,
    ModelRequest,
    ModelResponse,
    PrivateStateAttr,
)
from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime
from typing_extensions import NotRequired

from langchain_kronvex.core.records import Scope
from langchain_kronvex.core.types import MemoryTypes, OrderBy
from langchain_kronvex.core.validation import check_flag, checked_names
from langchain_kronvex.langchain.chat_turn import DEGRADED_EVENT
from langchain_kronvex.memory.engine import OnFailure
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.memory.recalling.recall_context import ContextOptions
from langchain_kronvex.memory.recalling.recaller import open_turn
from langchain_kronvex.memory.scope_from_config import check_memory, scope_from
from langchain_kronvex.memory.waking import Consolidator, check_consolidator
from langchain_kronvex.middleware.agent_messages import (
    answer_in,
    identified,
    question_in,
    words_of_user,
)
from langchain_kronvex.middleware.agent_turns import (
    MODEL_CALLS,
    AgentTurn,
    ModelCalls,
    TurnRecord,
    beginning,
    heard_of,
    name_of,
    scope_of,
    words_in,
)
from langchain_kronvex.middleware.model_request import remembering

MAX_TURNS = 1000


class MemoryState(AgentState[Any]):
    """The agent's state with the ids of the turn; it never contains memories."""

    kronvex_turn: NotRequired[Annotated[TurnRecord | None, PrivateStateAttr]]


class KronvexMemoryMiddleware(AgentMiddleware[MemoryState, Any]):
    r"""Recalls memories for the user's message, and saves the exchange.

    Examples:
        >>> from langchain.agents import create_agent
        >>> from langchain_core.language_models import FakeListChatModel
        >>> memory = KronvexMemory("sqlite://")
        >>> remembering = KronvexMemoryMiddleware(memory=memory)
        >>> agent = create_agent(FakeListChatModel(responses=["Noted."]), middleware=[remembering])
        >>> config = {"configurable": {"user_id": "ana", "thread_id": "monday"}}
        >>> _ = agent.invoke({"messages": "I am allergic to peanuts."}, config)
        >>> memory.memories(user_id="ana")[0].content
        'User: I am allergic to peanuts.\nAssistant: Noted.'

    The memories are added to the system message of the model request: in place of
    `{memory_context}` or `<memory_context>`, or else in a block at its end. This also works if
    another middleware replaces the message, as `dynamic_prompt` does. They never enter the agent's
    state, so they are never saved back. They are recalled once a turn, from all sessions of the
    user; memories that repeat the request's messages are left out.

    The user's message is saved before the model runs, and the final answer (or the structured
    output, as JSON) after it. Both are saved as they are in the state at that time, whatever the
    order of the middleware. So messages are saved as `PIIMiddleware` has redacted them, and
    messages that it blocks, or that never reach the model because of another failure, are not
    saved. Changes of an `after_agent` hook to the answer are saved if the memory comes before that
    middleware in the list.

    An edited message, with the id of the original, starts a new turn. An interrupted turn that is
    resumed, also by another process, is saved once. Without a message of the user, nothing is
    recalled or saved. An agent that runs as a tool of another agent recalls but does not save,
    because its input does not come from the user, unless `session_id` is given here. Agents that
    share a conversation as nodes of one graph should share one middleware object.

    The user and the session are named by the constructor, else by the run's context (attribute or
    key), else by `config["configurable"]`, where `thread_id` also names the session.

    Args:
        memory: The memory that stores everything.
        user_id: The user, for every run.
        session_id: The session, for every run; without a `user_id`, also the user.
        top_k: At most this many memories.
        max_tokens: Leave out the least similar until the context has about this many tokens.
        profile_tokens: Put the user's profile (`KronvexMemory.profile`), cut to about this many
            tokens, before the recalled memories. Nothing is said twice.
        memory_type: Recall only this type, or these types.
        threshold: The lowest similarity, from 0 to 1.
        include_shared: Also recall the agent-level memories (stored with neither id).
        filter: Conditions on the metadata; see `KronvexMemory.recall`.
        since: Only what was said at or after this moment, an aware datetime.
        until: Only what was said before this moment, an aware datetime.
        order_by: `confidence`, where an update comes before what it updates, or `similarity`.
        this_session_only: Recall only from the current session.
        on_error: `degrade` (the agent continues without memories), or `raise`.
        remember: Save the exchanges; if False, the agent only recalls.
        consolidator: Derives what is known of the user from what was said, in the background, after
            each turn: a `KronvexConsolidator` of this memory.

    Raises:
        InvalidInput: an option does not fit.
        ScopeRequired: when the agent runs, if nothing names a user or a session.
    """

    state_schema = MemoryState

    @checked_names
    def __init__(
        self,
        *,
        memory: KronvexMemory,
        user_id: str | None = None,
        session_id: str | None = None,
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
        this_session_only: bool = False,
        on_error: OnFailure = "degrade",
        remember: bool = True,
        consolidator: Consolidator | None = None,
    ) -> None:
        super().__init__()
        self.memory = check_memory(memory)
        self._options = ContextOptions(
            user_id=user_id, session_id=session_id, top_k=top_k, max_tokens=max_tokens,
            profile_tokens=profile_tokens, memory_type=memory_type, threshold=threshold,
            include_shared=include_shared,
            order_by=order_by, filter=filter, since=since, until=until,
            this_session_only=this_session_only, on_error=on_error,
        )  # fmt: skip
        self._remember = check_flag(remember, "remember")
        self._consolidator = check_consolidator(consolidator, self.memory)
        # Those of this process; the turns of others are restored from their records.
        self._turns: dict[tuple[str, Scope], AgentTurn] = {}

    # -- hooks ---------------------------------------------------------------------------------

    def before_agent(
        self, state: MemoryState, runtime: Runtime[Any], config: RunnableConfig | None = None
    ) -> dict[str, Any]:
        """Begin the turn; in an async agent this runs in a thread."""
        fixed, record = self._options, None
        with self.memory.engine.degraded.going_on(self._options.on_error):
            scope = scope_from(config, fixed.user_id, fixed.session_id, runtime.context)
            earlier, save = state.get("kronvex_turn"), self._saves(config)
            begun = beginning(identified(state["messages"]), scope, earlier, save=save)
            if begun:
                record, fresh = begun
                self._begin(record, earlier, fresh)
        return {"kronvex_turn": record}

    def wrap_model_call(
        self,
        request: "ModelRequest[Any]",
        handler: "Callable[[ModelRequest[Any]], ModelResponse[Any]]",
    ) -> "ModelCallResult[Any]":
        """Save the user's message, and add memories to the request."""
        remembering, record = self._before_model(request)
        with self._calling(record, request.state):
            return handler(remembering)

    async def awrap_model_call(
        self,
        request: "ModelRequest[Any]",
        handler: "Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]",
    ) -> "ModelCallResult[Any]":
        """Async version of `wrap_model_call`."""
        remembering, record = await self.memory.engine.threads.read(self._before_model, request)
        with self._calling(record, request.state):
            return await handler(remembering)

    def wrap_tool_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """Leave the user's message out of what the tool recalls."""
        with _under_way(request.state, request.state.get("kronvex_turn")):
            return handler(request)

    async def awrap_tool_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """Async version of `wrap_tool_call`."""
        with _under_way(request.state, request.state.get("kronvex_turn")):
            return await handler(request)

    def after_agent(
        self, state: MemoryState, runtime: Runtime[Any], config: RunnableConfig | None = None
    ) -> dict[str, Any] | None:
        """Save the answer."""
        turn, update = self._end(state)
        if turn and turn.degraded:
            dispatch_custom_event(DEGRADED_EVENT, {}, config=config)
        return update

    async def aafter_agent(
        self, state: MemoryState, runtime: Runtime[Any], config: RunnableConfig | None = None
    ) -> dict[str, Any] | None:
        """Async version of `after_agent`."""
        turn, update = await self.memory.engine.threads.run(self._end, state)
        if turn and turn.degraded:
            await adispatch_custom_event(DEGRADED_EVENT, {}, config=config)
        return update

    # -- the turn ------------------------------------------------------------------------------

    def _begin(self, record: TurnRecord, earlier: TurnRecord | None, fresh: bool) -> None:
        """Note that a turn begins or continues; `fresh` if it has a message that is new."""
        turn = self._turns.get((record["id"], scope_of(record)))
        edited = fresh and earlier is not None and record["words"][-1] in earlier["heard"]
        # After an erasure, messages that were saved before may have to be saved again.
        if turn is None or edited or turn.erasures != self.memory.engine.erasures:
            saved = turn.saved if turn and not fresh else {}
            turn = self._new_turn(record, fresh=fresh, saved=saved)
        turn.again = not fresh and earlier is not None and not earlier["open"]

    def _turn_of(self, record: TurnRecord) -> AgentTurn:
        """Return the turn of a record, which another process may have begun."""
        return self._turns.get((record["id"], scope_of(record))) or self._new_turn(record)

    def _new_turn(
        self, record: TurnRecord, *, fresh: bool = False, saved: dict[str, str] | None = None
    ) -> AgentTurn:
        turn = AgentTurn(
            self.memory, scope_of(record), self._options.on_error, new=[], saved=saved or {},
            fresh=fresh, erasures=self.memory.engine.erasures,
            consolidator=self._consolidator,
        )  # fmt: skip
        self._turns[record["id"], turn.scope] = turn
        for oldest in list(self._turns)[:-MAX_TURNS]:
            self._turns.pop(oldest, None)
        return turn

    def _open(self, state: Any, messages: Sequence[BaseMessage]) -> TurnRecord | None:
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
        self._turn_of(record).again = True
        return record

    def _before_model(
        self, request: "ModelRequest[Any]"
    ) -> tuple["ModelRequest[Any]", TurnRecord | None]:
        """Save the user's messages as they are now, perhaps redacted, and recall the context.

        Returns:
            The request with the context, and the record of the turn.
        """
        with self.memory.engine.degraded.going_on(self._options.on_error):
            messages, shown = identified(request.state["messages"]), identified(request.messages)
            if record := self._open(request.state, messages):
                turn, words = self._turn_of(record), words_in(messages, record)
                if record["save"]:
                    turn.say(words)
                if words:  # another agent of the same conversation sees the present text
                    self._turns.setdefault((name_of(words[-1]), turn.scope), turn)
                return remembering(request, turn.context_for(shown, words, self._options)), record
        return remembering(request, ""), None

    @contextmanager
    def _calling(self, record: TurnRecord | None, state: Any) -> Iterator[None]:
        """Surround a call of the model in a turn, and note whether it succeeds."""
        calls, turn = ModelCalls(), self._turn_of(record) if record else None
        if turn:
            turn.spoken = False
        MODEL_CALLS.set(calls)
        try:
            with _under_way(state, record):
                yield
        finally:
            MODEL_CALLS.set(None)
        if turn:
            turn.spoken = not calls.failed

    def _end(self, state: MemoryState) -> tuple[AgentTurn | None, dict[str, Any] | None]:
        """Save the answer, and the user's messages if the model was never called.

        Returns:
            The turn and the update of the agent's state, if a turn has ended.
        """
        record = state.get("kronvex_turn")
        with self.memory.engine.degraded.going_on(self._options.on_error):
            if record is None or not (record["open"] or self._turn_of(record).spoken is not None):
                return None, None
            messages, turn = identified(state["messages"]), self._turn_of(record)
            if record["save"]:
                words = words_in(messages, record)
                turn.say([word for word in words if str(word.id) not in turn.saved])
            # If the user's messages were removed from the state, the answer is not saved either.
            # After a failure, what ends the turn was not said by the model.
            unasked = record["words"] and turn.saved.keys().isdisjoint(record["words"])
            unsaid = unasked or turn.spoken is False or not record["save"]
            answer = answer_in(messages, state.get("structured_response"))
            turn.end(None if unsaid else answer, messages)
            heard = heard_of(words_of_user(messages), record["heard"])
            return turn, {"kronvex_turn": {**record, "open": False, "heard": heard}}
        return None, None

    def _saves(self, config: RunnableConfig | None) -> bool:
        named_here = self._options.session_id is not None
        return self._remember and (named_here or not _runs_as_tool(config))


def _under_way(state: Any, record: TurnRecord | None) -> AbstractContextManager[None]:
    """Surround what is called during a turn, so that it does not recall the turn itself."""
    return open_turn(words_in(identified(state["messages"]), record) if record else ())


def _runs_as_tool(config: RunnableConfig | None) -> bool:
    """Return whether this agent was called by a tool of another agent, in the same thread."""
    namespace = str((config or {}).get("configurable", {}).get("checkpoint_ns", ""))
    callers = namespace.split("|")[:-1]
    return any(caller.partition(":")[0] == "tools" for caller in callers)
