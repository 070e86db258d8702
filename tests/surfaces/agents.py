"""Agents for the tests: a scripted model that can call tools, and ways to run an agent."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from pydantic import Field

from langchain_kronvex import KronvexMemory
from langchain_kronvex.middleware import KronvexMemoryMiddleware

from .models import FakeModel
from .runs import ASYNC_CONFIG_COMES_ALONG

Agent = Any
AgentCall = Callable[..., Awaitable[dict[str, Any]]]
_numbers = itertools.count()


class AgentModel(FakeModel):
    """A `FakeModel` with bound tools, which it records."""

    bound: list[Any] = Field(default_factory=list)

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        self.bound.append(tools)
        return self


def calls(tool: str, text: str = "", **args: Any) -> AIMessage:
    """A message of the model that calls a tool."""
    call = {"name": tool, "args": args, "id": f"call-{next(_numbers)}"}
    return AIMessage(text, tool_calls=[call])


def agent_of(model: FakeModel, memory: KronvexMemory, *more: Any, **options: Any) -> Agent:
    """An agent with a memory, followed by more middleware."""
    remembering = KronvexMemoryMiddleware(memory=memory)
    return create_agent(model, middleware=[remembering, *more], **options)


def asking(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def config_of(user_id: str = "ana", thread_id: str = "chat") -> Any:
    return {"configurable": {"user_id": user_id, "thread_id": thread_id}}


async def invoke(agent: Agent, given: Any, config: Any = None, **options: Any) -> Any:
    return agent.invoke(given, config or config_of(), **options)


async def ainvoke(agent: Agent, given: Any, config: Any = None, **options: Any) -> Any:
    return await agent.ainvoke(given, config or config_of(), **options)


async def stream(agent: Agent, given: Any, config: Any = None, **options: Any) -> Any:
    states = agent.stream(given, config or config_of(), stream_mode="values", **options)
    return list(states)[-1]


async def astream(agent: Agent, given: Any, config: Any = None, **options: Any) -> Any:
    states = agent.astream(given, config or config_of(), stream_mode="values", **options)
    return [state async for state in states][-1]


every_way = pytest.mark.parametrize("call", [invoke, ainvoke, stream, astream])
sync_and_async = pytest.mark.parametrize("call", [invoke, ainvoke])
# LangGraph interrupts async runs, and streams tokens out of them, only since Python 3.11.
can_be_interrupted = pytest.mark.parametrize(
    "call", [invoke, ainvoke, stream, astream] if ASYNC_CONFIG_COMES_ALONG else [invoke, stream]
)
