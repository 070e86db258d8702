"""`KronvexMemoryMiddleware`: gives an agent of `create_agent` a memory across threads."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
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
from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime
from typing_extensions import NotRequired

from langchain_kronvex.core.errors import InvalidInput, MemoryClosed
from langchain_kronvex.core.validation import check_flag, checked_names
from langchain_kronvex.langchain.chat_turn import DEGRADED_EVENT
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.memory.recall_context import ContextOptions, OnFailure
from langchain_kronvex.memory.scope_from_config import check_memory, scope_from
from langchain_kronvex.middleware.agent_messages import answer_in, identified
from langchain_kronvex.middleware.agent_turns import AgentTurn, AgentTurns
from langchain_kronvex.middleware.model_request import remembering
from langchain_kronvex.middleware.turn_state import TurnRecord


class MemoryState(AgentState[Any]):
    """The agent's state with the ids of the turn; it never contains memories."""

    kronvex_turn: NotRequired[Annotated[TurnRecord | None, PrivateStateAttr]]


class KronvexMemoryMiddleware(AgentMiddleware[MemoryState, Any]):
    r"""Recalls memories for the user's message, and saves the exchange.

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
        memory_type: Recall only this type.
        this_session_only: Recall only from the current session.
        on_error: `degrade` (the agent continues without memories), or `raise`.
        remember: Save the exchanges; if False, the agent only recalls.

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
        memory_type: str | None = None,
        this_session_only: bool = False,
        on_error: OnFailure = "degrade",
        remember: bool = True,
    ) -> None:
        super().__init__()
        self.memory = check_memory(memory)
        self._options = ContextOptions(
            user_id=user_id, session_id=session_id, top_k=top_k, max_tokens=max_tokens,
            memory_type=memory_type, this_session_only=this_session_only, on_error=on_error,
        )  # fmt: skip
        self._remember = check_flag(remember, "remember")
        self._turns = AgentTurns(memory, on_error)

    # -- hooks ---------------------------------------------------------------------------------

    def before_agent(
        self, state: MemoryState, runtime: Runtime[Any], config: RunnableConfig | None = None
    ) -> dict[str, Any]:
        """Begin the turn; in an async agent this runs in a thread."""
        fixed, earlier, save = self._options, state.get("kronvex_turn"), self._saves(config)
        record = None
        with self._degrading():
            scope = scope_from(config, fixed.user_id, fixed.session_id, runtime.context)
            record = self._turns.begin(identified(state["messages"]), scope, earlier, save=save)
        return {"kronvex_turn": record}

    def wrap_model_call(
        self,
        request: "ModelRequest[Any]",
        handler: "Callable[[ModelRequest[Any]], ModelResponse[Any]]",
    ) -> "ModelCallResult[Any]":
        """Save the user's message, and add memories to the request."""
        remembering, record = self._before_model(request)
        with self._turns.calling(record, request.state):
            return handler(remembering)

    async def awrap_model_call(
        self,
        request: "ModelRequest[Any]",
        handler: "Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]",
    ) -> "ModelCallResult[Any]":
        """Async version of `wrap_model_call`."""
        remembering, record = await self.memory.engine.threads.read(self._before_model, request)
        with self._turns.calling(record, request.state):
            return await handler(remembering)

    def wrap_tool_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """Leave the user's message out of what the tool recalls."""
        with self._turns.under_way(request.state):
            return handler(request)

    async def awrap_tool_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """Async version of `wrap_tool_call`."""
        with self._turns.under_way(request.state):
            return await handler(request)

    def after_agent(
        self, state: MemoryState, runtime: Runtime[Any], config: RunnableConfig | None = None
    ) -> dict[str, Any] | None:
        """Save the answer."""
        turn, update = self._end(state)
        if turn and turn.report_once():
            dispatch_custom_event(DEGRADED_EVENT, {}, config=config)
        return update

    async def aafter_agent(
        self, state: MemoryState, runtime: Runtime[Any], config: RunnableConfig | None = None
    ) -> dict[str, Any] | None:
        """Async version of `after_agent`."""
        turn, update = await self.memory.engine.threads.run(self._end, state)
        if turn and turn.report_once():
            await adispatch_custom_event(DEGRADED_EVENT, {}, config=config)
        return update

    # -- the turn ------------------------------------------------------------------------------

    @contextmanager
    def _degrading(self) -> Iterator[None]:
        """Let the agent continue after a failure, unless `on_error` is `raise`."""
        try:
            yield
        except (InvalidInput, MemoryClosed):  # a mistake in the program
            raise
        except Exception as error:
            if self._options.on_error == "raise":
                raise
            self.memory.engine.degraded.report(error)

    def _before_model(
        self, request: "ModelRequest[Any]"
    ) -> tuple["ModelRequest[Any]", TurnRecord | None]:
        """Return the request with the context, and the record of the turn."""
        with self._degrading():
            said, shown = identified(request.state["messages"]), identified(request.messages)
            if record := self._turns.open(request.state, said):
                context = self._turns.before_model(record, said, shown, self._options)
                return remembering(request, context), record
        return remembering(request, ""), None

    def _end(self, state: MemoryState) -> tuple[AgentTurn | None, dict[str, Any] | None]:
        with self._degrading():
            messages = identified(state["messages"])
            answer = answer_in(messages, state.get("structured_response"))
            return self._turns.end(state, messages, answer)
        return None, None

    def _saves(self, config: RunnableConfig | None) -> bool:
        named_here = self._options.session_id is not None
        return self._remember and (named_here or not _runs_as_tool(config))


def _runs_as_tool(config: RunnableConfig | None) -> bool:
    """Return whether this agent was called by a tool of another agent, in the same thread."""
    namespace = str((config or {}).get("configurable", {}).get("checkpoint_ns", ""))
    callers = namespace.split("|")[:-1]
    return any(caller.partition(":")[0] == "tools" for caller in callers)
