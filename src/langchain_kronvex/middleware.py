"""`KronvexMemoryMiddleware`: gives an agent of `create_agent` a memory that outlives the thread.

Needs the extra: `pip install "langchain-kronvex[agents]"`.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.messages import SystemMessage
from langchain_core.runnables import RunnableConfig

from langchain_kronvex import checks
from langchain_kronvex.agent_messages import answer_in, with_memories
from langchain_kronvex.agent_turns import AgentTurn, AgentTurns, TurnRecord
from langchain_kronvex.errors import InvalidInput, MissingExtra
from langchain_kronvex.memory import KronvexMemory
from langchain_kronvex.plans import Plan, arun, run
from langchain_kronvex.scopes import agent_scope
from langchain_kronvex.turns import DEGRADED_EVENT, ContextOptions, OnFailure
from langchain_kronvex.types import Scope

try:
    from langchain.agents.middleware.types import (
        AgentMiddleware,
        AgentState,
        ModelRequest,
        ModelResponse,
        PrivateStateAttr,
    )
    from langgraph.runtime import Runtime
    from typing_extensions import NotRequired
except ImportError as error:
    raise MissingExtra(
        'The middleware needs LangChain\'s agents: pip install "langchain-kronvex[agents]"'
    ) from error


T = TypeVar("T")
_Begun = tuple[AgentTurn | None, TurnRecord | None]
_NO_TURN: _Begun = (None, None)


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

    What is recalled goes into the system message of the model request: where `{memory_context}`
    or `<memory_context>` stands, or else into a block at its end. It never enters the agent's
    state, so it is never saved back. It is recalled once a turn, from all sessions of the user,
    without what the request's messages show already.

    The user's words are saved before the model runs, the final answer (or the structured output,
    as JSON) after it. An interrupted turn that is resumed, also by another process, is saved
    once. An agent that runs as a tool of another recalls but does not save, since its input is
    not the user's words, unless `session_id` is given here. Agents that share a conversation as
    nodes of one graph should share one middleware object.

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
        """Save the user's words."""
        turn, record = run(self._guarded(self._begin(state, runtime, config), _NO_TURN))
        self._tell(turn, config)
        return {"kronvex_turn": record}

    async def abefore_agent(
        self, state: MemoryState, runtime: Runtime[Any], config: RunnableConfig | None = None
    ) -> dict[str, Any]:
        """Twin of `before_agent`."""
        begins = self._guarded(self._begin(state, runtime, config), _NO_TURN)
        turn, record = await arun(begins)
        await self._atell(turn, config)
        return {"kronvex_turn": record}

    def wrap_model_call(
        self,
        request: "ModelRequest[Any]",
        handler: "Callable[[ModelRequest[Any]], ModelResponse[Any]]",
    ) -> "ModelResponse[Any]":
        """Show the model what was recalled."""
        return handler(run(self._guarded(self._showing(request), request)))

    async def awrap_model_call(
        self,
        request: "ModelRequest[Any]",
        handler: "Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]",
    ) -> "ModelResponse[Any]":
        """Twin of `wrap_model_call`."""
        return await handler(await arun(self._guarded(self._showing(request), request)))

    def after_agent(
        self, state: MemoryState, runtime: Runtime[Any], config: RunnableConfig | None = None
    ) -> None:
        """Save the answer."""
        turn = run(self._guarded(self._end(state, config), None))
        self._tell(turn, config)

    async def aafter_agent(
        self, state: MemoryState, runtime: Runtime[Any], config: RunnableConfig | None = None
    ) -> None:
        """Twin of `after_agent`."""
        turn = await arun(self._guarded(self._end(state, config), None))
        await self._atell(turn, config)

    def _tell(self, turn: AgentTurn | None, config: RunnableConfig | None) -> None:
        if turn and turn.to_be_told():
            dispatch_custom_event(DEGRADED_EVENT, {}, config=config)

    async def _atell(self, turn: AgentTurn | None, config: RunnableConfig | None) -> None:
        if turn and turn.to_be_told():
            await adispatch_custom_event(DEGRADED_EVENT, {}, config=config)

    # -- the turn ------------------------------------------------------------------------------

    def _guarded(self, plan: Plan[T], otherwise: T) -> Plan[T]:
        """Do what a plan says; when it fails, the agent goes on, unless failures are to raise."""
        try:
            return (yield from plan)
        except InvalidInput:  # a mistake in the program
            raise
        except Exception as error:
            if self._options.on_error == "raise":
                raise
            self.memory.report_degraded(error)
            return otherwise

    def _begin(
        self, state: MemoryState, runtime: Runtime[Any], config: RunnableConfig | None
    ) -> Plan[_Begun]:
        fixed = self._fixed
        scope = agent_scope(config, runtime.context, fixed.user_id, fixed.session_id)
        earlier, save = state.get("kronvex_turn"), self._saves(config)
        begun = yield from self._turns.begin(state["messages"], scope, earlier, save=save)
        return begun or _NO_TURN

    def _showing(self, request: "ModelRequest[Any]") -> Plan["ModelRequest[Any]"]:
        record: TurnRecord | None = request.state.get("kronvex_turn")  # type: ignore[assignment]
        if record is None:  # nothing was said, or the turn was begun without this middleware
            return _with(request, "")
        turn = self._turns.of(record)
        context = yield from turn.context_for(request.messages, self._options)
        return _with(request, context)

    def _end(self, state: MemoryState, config: RunnableConfig | None) -> Plan[AgentTurn | None]:
        record = state.get("kronvex_turn")
        if record is None:
            return None
        turn, answer = self._turns.of(record), None
        if self._saves(config):
            answer = answer_in(state["messages"], state.get("structured_response"))
        yield from turn.end(answer)
        return turn

    def _saves(self, config: RunnableConfig | None) -> bool:
        named_here = self._fixed.session_id is not None
        return self._remember and (named_here or not _runs_as_tool(config))


def _runs_as_tool(config: RunnableConfig | None) -> bool:
    """Tell whether this agent was called by a tool of another, in that one's thread."""
    namespace = str((config or {}).get("configurable", {}).get("checkpoint_ns", ""))
    callers = namespace.split("|")[:-1]
    return any(caller.partition(":")[0] == "tools" for caller in callers)


def _with(request: "ModelRequest[Any]", context: str) -> "ModelRequest[Any]":
    if hasattr(request, "system_message"):
        system = with_memories(request.system_message, context)
        return request.override(system_message=system)
    # LangChain 1.0 had a text there.
    text = with_memories(SystemMessage(request.system_prompt or ""), context)
    return request.override(system_prompt=text.text if text else None)  # type: ignore[call-arg]
