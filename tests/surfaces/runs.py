"""Ways to call a chain: sync, async, as a stream and in a batch."""

from __future__ import annotations

import itertools
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import pytest
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable

from langchain_kronvex import KronvexMemory

Chain = Runnable[Any, Any]
Call = Callable[..., Awaitable[Any]]
ANA: Any = {"configurable": {"user_id": "ana", "session_id": "chat"}}

# LangChain hands the config of an async run to what its functions call only since Python 3.11,
# where asyncio lets it; before that it has to be passed on by hand.
ASYNC_CONFIG_COMES_ALONG = sys.version_info >= (3, 11)


def ids(user_id: str, session_id: str = "chat") -> Any:
    return {"configurable": {"user_id": user_id, "session_id": session_id}}


def joined(chunks: list[Any]) -> Any:
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk
    return whole


async def invoke(chain: Chain, value: Any, config: Any = ANA) -> Any:
    return chain.invoke(value, config)


async def ainvoke(chain: Chain, value: Any, config: Any = ANA) -> Any:
    return await chain.ainvoke(value, config)


async def stream(chain: Chain, value: Any, config: Any = ANA) -> Any:
    return joined(list(chain.stream(value, config)))


async def astream(chain: Chain, value: Any, config: Any = ANA) -> Any:
    return joined([chunk async for chunk in chain.astream(value, config)])


async def batch(chain: Chain, value: Any, config: Any = ANA) -> Any:
    return chain.batch([value], config)[0]


async def abatch(chain: Chain, value: Any, config: Any = ANA) -> Any:
    return (await chain.abatch([value], config))[0]


async def transform(chain: Chain, value: Any, config: Any = ANA) -> Any:
    return joined(list(chain.transform(iter([value]), config)))


async def atransform(chain: Chain, value: Any, config: Any = ANA) -> Any:
    async def values() -> AsyncIterator[Any]:
        yield value

    return joined([chunk async for chunk in chain.atransform(values(), config)])


async def astream_events(chain: Chain, value: Any, config: Any = ANA) -> Any:
    events = [event async for event in chain.astream_events(value, config, version="v2")]
    return events[-1]["data"]["output"]


CALLS = [invoke, ainvoke, stream, astream, batch, abatch, transform, atransform, astream_events]
every_way = pytest.mark.parametrize("call", CALLS)
# One way of each colour: the tests of `every_way` show that the others are like them.
sync_and_async = pytest.mark.parametrize("call", [invoke, astream])


def each_in_one_way(name: str, cases: Iterable[Any]) -> pytest.MarkDecorator:
    """Give a test each case once; the four ways to call a chain take turns."""
    ways = itertools.cycle([invoke, ainvoke, stream, astream])
    return pytest.mark.parametrize(("call", name), list(zip(ways, cases, strict=False)))


def said(memory: KronvexMemory, user_id: str | None = "ana", session: str = "chat") -> list[str]:
    """The texts of a session, each with its type in front."""
    messages: list[BaseMessage] = memory.load_messages(session, user_id=user_id)
    return [f"{message.type}: {message.text}" for message in messages]


def remembered(memory: KronvexMemory, user_id: str = "ana") -> list[str]:
    """The memories of a user, sorted."""
    return sorted(found.content for found in memory.memories(user_id=user_id))
