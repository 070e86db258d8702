"""`KronvexMemoryMiddleware`: gives an agent of `create_agent` a memory that outlives the thread.

Needs the extra: `pip install "langchain-kronvex[agents]"`.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.runnables import RunnableConfig

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import InvalidInput, MissingExtra
from langchain_kronvex.core.types import Scope
from langchain_kronvex.langchain.chat_turn import DEGRADED_EVENT
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.memory.recall_context import ContextOptions, OnFailure
from langchain_kronvex.memory.scope_from_config import agent_scope
from langchain_kronvex.middleware.agent_messages import answer_in
from langchain_kronvex.middleware.agent_turns import AgentTurn, AgentTurns
from langchain_kronvex.middleware.model_request import remembering
from langchain_kronvex.middleware.turn_state import TurnRecord

try:
    from langchain.agents.middleware import types as middleware_types
    from langchain.agents.middleware.types import (
        AgentMiddleware,
        AgentState,
        ModelCallResult,
        ModelRequest,
        ModelResponse,
        PrivateStateAttr,
    )
    from langgraph.runtime import Runtime
    from langgraph.types import Command
    from typing_extensions import NotRequired
except ImportError as error:
    raise MissingExtra(
        'The middleware needs LangChain\'s agents: pip install "langchain-kronvex[agents]"'
    ) from error


ExtendedModelResponse: Any = getattr(middleware_types, "ExtendedModelResponse", None)
# (LangChain 1.0 has none; there the state learns only at the end what was saved.)


class MemoryState(AgentState[Any]):
    """What the middleware adds to the agent's state: ids of the turn, and no memory."""

    kronvex_turn: NotRequired[Annotated[TurnRecord | None, PrivateStateAttr]]


class KronvexMemoryMiddleware(AgentMiddleware[MemoryState, Any]):
    r"""Recalls for the user's message, and saves the exchange.

    >>> from langchain.agents import create_agent
    >>> from langchain_core.language_models import FakeListChatModel
    >>> memory = KronvexMemory("sqlite://")
    >>> remembering = KronvexMemoryMiddleware(memory=memory)
    >>> agent = create_agent(FakeListChatModel(responses=["Noted."]), middleware=[remembering])
    >>> whose = {"configurable": {"user_id": "ana", "thread_id": "monday"}}
    >>> _ = agent.invoke({"messages": "I am allergic to peanuts."}, whose)
    >>> memory.memories(user_id="ana")[0].content
    'User: I am allergic to peanuts.\nAssistant: Noted.'

    What is recalled goes into the system message of the model request: where `{memory_context}` or
    `<memory_context>` stands, or else into a block at its end; also when another middleware
    replaces the message, as `dynamic_prompt` does. It never enters the agent's state, so it is
    never saved back. It is recalled once a turn, from all sessions of the user, without what the
    request's messages show already.

    The user's words are saved before the model runs, the final answer (or the structured output, as
    JSON) after it; both as the state has them then, whatever the order of the middleware. So what
    `PIIMiddleware` redacts is kept redacted, and words that it blocks, or that never came to the
    model because of another failure, are not kept. (What an `after_agent` hook makes of the answer
    is seen if the memory stands before it in the list.) A message that is edited, with its id, is a
    turn of its own. An interrupted turn that is resumed, also by another process, is saved once.
    Without a message of the user nothing is recalled or saved. An agent that runs as a tool of
    another recalls but does not save, since its input is not the user's words, unless `session_id`
    is given here. Agents that share a conversation as nodes of one graph should share one
    middleware object.

    Whose memory: `user_id` and `session_id` of the constructor, else of the run's context
    (attribute or key), else of `config["configurable"]`, whose `thread_id` also names the session.

    Args:
        memory: Where it all is kept.
        user_id: Whose memory, for every run.
        session_id: Which session, for every run.
        top_k: At most this many memories.
        max_tokens: Leave out the least similar until the context has about this many tokens.
        memory_type: Recall only this type.
        on_error: `degrade` (the agent goes on without), or `raise`.
        remember: Save the exchanges; without it the agent only recalls.

    Raises:
        InvalidInput: an option does not fit.
        ScopeRequired: when the agent runs, and nothing names a user or a session.
    """

    state_schema = MemoryState

    def __init__(
        self,
        *,
        memory: KronvexMemory,
        user_id: str | None = None,
        session_id: str | None = None,
        top_k: int = 8,
        max_tokens: int | None = None,
        memory_type: str | None = None,
        on_error: OnFailure = "degrade",
        remember: bool = True,
    ) -> None:
        super().__init__()
        if on_error not in ("degrade", "raise"):
            raise InvalidInput(f"on_error must be 'degrade' or 'raise', not {on_error!r}.")
        checks.check_count(top_k, "top_k", least=1)
        if max_tokens is not None:
            checks.check_count(max_tokens, "max_tokens", least=1)
        if memory_type is not None:
            checks.check_type(memory_type)
        self.memory = memory
        self._fixed = Scope.of(user_id, session_id)
        self._options = ContextOptions(
            top_k=top_k, max_tokens=max_tokens, memory_type=memory_type, on_error=on_error
        )
        self._remember = remember
        self._turns = AgentTurns(memory, on_error)

    # -- hooks, in both colours ----------------------------------------------------------------

    def before_agent(
        self, state: MemoryState, runtime: Runtime[Any], config: RunnableConfig | None = None
    ) -> dict[str, Any]:
        """Begin the turn."""
        return {"kronvex_turn": self._begin(state, runtime, config)}

    async def abefore_agent(
        self, state: MemoryState, runtime: Runtime[Any], config: RunnableConfig | None = None
    ) -> dict[str, Any]:
        """Async version of `before_agent`."""
        return {"kronvex_turn": self._begin(state, runtime, config)}

    def wrap_model_call(
        self,
        request: "ModelRequest[Any]",
        handler: "Callable[[ModelRequest[Any]], ModelResponse[Any]]",
    ) -> "ModelCallResult[Any]":
        """Save the user's words, and show the model what was recalled."""
        remembering, record = self._before_model(request)
        return _noting(handler(remembering), record)

    async def awrap_model_call(
        self,
        request: "ModelRequest[Any]",
        handler: "Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]",
    ) -> "ModelCallResult[Any]":
        """Async version of `wrap_model_call`."""
        remembering, record = await self.memory.engine.threads.run(self._before_model, request)
        return _noting(await handler(remembering), record)

    def after_agent(
        self, state: MemoryState, runtime: Runtime[Any], config: RunnableConfig | None = None
    ) -> dict[str, Any] | None:
        """Save the answer."""
        turn, update = self._end(state)
        if turn and turn.to_be_told():
            dispatch_custom_event(DEGRADED_EVENT, {}, config=config)
        return update

    async def aafter_agent(
        self, state: MemoryState, runtime: Runtime[Any], config: RunnableConfig | None = None
    ) -> dict[str, Any] | None:
        """Async version of `after_agent`."""
        turn, update = await self.memory.engine.threads.run(self._end, state)
        if turn and turn.to_be_told():
            await adispatch_custom_event(DEGRADED_EVENT, {}, config=config)
        return update

    # -- the turn ------------------------------------------------------------------------------

    @contextmanager
    def _going_on(self) -> Iterator[None]:
        """Let the agent go on when something fails, unless failures are to raise."""
        try:
            yield
        except InvalidInput:  # a mistake in the program
            raise
        except Exception as error:
            if self._options.on_error == "raise":
                raise
            self.memory.engine.degraded.report(error)

    def _begin(
        self, state: MemoryState, runtime: Runtime[Any], config: RunnableConfig | None
    ) -> TurnRecord | None:
        fixed, earlier, save = self._fixed, state.get("kronvex_turn"), self._saves(config)
        with self._going_on():
            scope = agent_scope(config, runtime.context, fixed.user_id, fixed.session_id)
            return self._turns.begin(state["messages"], scope, earlier, save=save)
        return None

    def _before_model(
        self, request: "ModelRequest[Any]"
    ) -> tuple["ModelRequest[Any]", TurnRecord | None]:
        """Return the request with the context, and the turn's record if it has changed."""
        with self._going_on():
            record = _open_turn(request.state)
            if record is not None:
                said, shown, options = request.state["messages"], request.messages, self._options
                context = self._turns.before_model(record, said, shown, options)
                now = self._turns.now(record, said)
                return remembering(request, context), (now if now != record else None)
        return remembering(request, ""), None

    def _end(self, state: MemoryState) -> tuple[AgentTurn | None, dict[str, Any] | None]:
        with self._going_on():
            record, messages = _open_turn(state), state["messages"]
            if record is not None:
                answer = answer_in(messages, state.get("structured_response"))
                turn, ended = self._turns.end(record, messages, answer)
                return turn, {"kronvex_turn": ended}
        return None, None

    def _saves(self, config: RunnableConfig | None) -> bool:
        named_here = self._fixed.session_id is not None
        return self._remember and (named_here or not _runs_as_tool(config))


def _open_turn(state: Any) -> TurnRecord | None:
    """Return the record of the turn under way; none if nothing was said, or if another middleware
    went past the beginning of ours.
    """
    record: TurnRecord | None = state.get("kronvex_turn")
    return record if record and record["open"] else None


def _noting(response: "ModelResponse[Any]", record: TurnRecord | None) -> "ModelCallResult[Any]":
    """Put the record into the agent's state together with what the model said."""
    if record is None or ExtendedModelResponse is None or not isinstance(response, ModelResponse):
        return response
    noted: ModelCallResult[Any] = ExtendedModelResponse(
        response, Command(update={"kronvex_turn": record})
    )
    return noted


def _runs_as_tool(config: RunnableConfig | None) -> bool:
    """Tell whether this agent was called by a tool of another, in that one's thread."""
    namespace = str((config or {}).get("configurable", {}).get("checkpoint_ns", ""))
    callers = namespace.split("|")[:-1]
    return any(caller.partition(":")[0] == "tools" for caller in callers)
