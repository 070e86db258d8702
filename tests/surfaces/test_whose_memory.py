"""One rule for every surface that reads: whose memories, of which sessions, and not this turn's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.graph import START, MessagesState, StateGraph

from inside import open_turn
from langchain_kronvex import (
    KronvexError,
    KronvexMemory,
    KronvexMemoryContext,
    KronvexRetriever,
    ScopeRequired,
    with_memory,
)
from langchain_kronvex.tools import create_memory_tools

from .models import FakeModel
from .runs import ainvoke, ids, invoke

Read = Callable[..., Awaitable[str]]


def retriever(memory: KronvexMemory, k: int, **options: Any) -> Runnable[Any, Any]:
    found = KronvexRetriever(memory=memory, k=k, **options)
    return found | (lambda documents: "\n".join(each.page_content for each in documents))


def context_step(memory: KronvexMemory, k: int, **options: Any) -> Runnable[Any, Any]:
    return KronvexMemoryContext(memory=memory, top_k=k, **options)


def recall_tool(memory: KronvexMemory, k: int, **options: Any) -> Runnable[Any, Any]:
    _, recall, _ = create_memory_tools(memory, **options)
    return (lambda query: {"query": query, "limit": k}) | recall


every_surface = pytest.mark.parametrize("surface", [retriever, context_step, recall_tool])
both_ways = pytest.mark.parametrize("call", [invoke, ainvoke])


@pytest.fixture
def teas(memory: KronvexMemory) -> KronvexMemory:
    """A memory with memories about tea, of Ana in two sessions, of Bob, and of `monday` itself."""
    memory.remember("Ana drinks green tea.", user_id="ana", session_id="monday")
    memory.remember("Ana keeps tea in a tin.", user_id="ana", session_id="tuesday")
    memory.remember("Bob hates tea.", user_id="bob", session_id="monday")
    memory.remember("Monday is for tea.", session_id="monday")
    return memory


def named(found: str) -> set[str]:
    words = {"green": "ana/monday", "tin": "ana/tuesday", "Bob": "bob", "Monday is": "monday"}
    return {whose for word, whose in words.items() if word in found}


ANA = {"ana/monday", "ana/tuesday"}


Case = tuple[dict[str, str], dict[str, str], set[str]]
ALL_SESSIONS: list[Case] = [
    ({"user_id": "ana"}, {"session_id": "monday"}, ANA),
    ({"user_id": "ana"}, {"thread_id": "monday"}, ANA),
    ({"user_id": "ana", "session_id": "monday"}, {}, ANA),
    ({}, {"user_id": "ana", "session_id": "tuesday"}, ANA),
    ({}, {"user_id": "ana", "thread_id": "tuesday"}, ANA),
    ({}, {"thread_id": "monday"}, {"monday"}),
    ({"user_id": "ana"}, {"user_id": "bob", "session_id": "monday"}, ANA),
    ({"session_id": "monday"}, {"user_id": "ana"}, {"monday"}),
    ({"session_id": "monday"}, {"user_id": "bob", "session_id": "monday"}, {"monday"}),
    ({"session_id": "monday"}, {"user_id": "bob", "thread_id": "tuesday"}, {"monday"}),
]


@every_surface
@both_ways
async def test_all_sessions_of_the_user_whom_the_constructor_or_else_the_run_names(
    teas: KronvexMemory, surface: Any, call: Any
) -> None:
    for fixed, configurable, whose in ALL_SESSIONS:
        found = await call(surface(teas, 5, **fixed), "tea", {"configurable": configurable})
        assert named(found) == whose, (fixed, configurable)


THIS_SESSION: list[Case] = [
    ({"user_id": "ana"}, {"session_id": "monday"}, {"ana/monday"}),
    ({"user_id": "ana", "session_id": "tuesday"}, {"session_id": "monday"}, {"ana/tuesday"}),
    ({}, {"user_id": "ana", "thread_id": "tuesday"}, {"ana/tuesday"}),
    ({}, {"session_id": "monday"}, {"monday"}),
    ({"session_id": "monday"}, {"user_id": "ana"}, {"monday"}),
]


@every_surface
@both_ways
async def test_this_session_only(teas: KronvexMemory, surface: Any, call: Any) -> None:
    for fixed, configurable, whose in THIS_SESSION:
        chain = surface(teas, 5, this_session_only=True, **fixed)
        found = await call(chain, "tea", {"configurable": configurable})
        assert named(found) == whose, (fixed, configurable)


@every_surface
@both_ways
async def test_this_session_only_needs_a_session(
    teas: KronvexMemory, surface: Any, call: Any
) -> None:
    chain = surface(teas, 5, this_session_only=True)

    with pytest.raises(ScopeRequired, match="this_session_only needs a session_id"):
        await call(chain, "tea", {"configurable": {"user_id": "ana"}})


def test_the_tools_leave_memories_of_other_sessions_alone(teas: KronvexMemory) -> None:
    _, _, forget = create_memory_tools(teas, user_id="ana", this_session_only=True)
    green = next(m for m in teas.memories(user_id="ana") if "green" in m.content)

    assert forget.invoke({"id": green.id}, ids("ana", "tuesday")) != "Forgotten."
    assert forget.invoke({"id": green.id}, ids("ana", "monday")) == "Forgotten."


# -- the turn under way ------------------------------------------------------------------------

QUESTION = "What is my blood type?"


@every_surface
@both_ways
async def test_the_question_of_this_turn_does_not_find_itself(
    memory: KronvexMemory, surface: Any, call: Any
) -> None:
    memory.remember("My blood type is O.", user_id="ana")
    memory.remember("Ana gave blood in May.", user_id="ana")
    memory.remember(f"Ben asked: {QUESTION}", user_id="ana")
    chain = surface(memory, 3, user_id="ana")
    words = [HumanMessage(QUESTION)]
    memory.save_messages(words, "today", user_id="ana")

    with open_turn(words):
        found = await call(chain, QUESTION)
        again = await call(chain, "Which blood type?")
    later = await call(surface(memory, 4, user_id="ana"), QUESTION)

    for each in (found, again):
        assert "User: " not in each
        assert "type is O" in each
        assert "in May" in each  # as many as were asked for
        assert "Ben asked" in each
    assert f"User: {QUESTION}" in later


@every_surface
async def test_an_earlier_turn_with_the_same_question_is_found(
    memory: KronvexMemory, surface: Any
) -> None:
    memory.save_exchange(QUESTION, "You told me: O.", user_id="ana", session_id="may")
    words = [HumanMessage(QUESTION)]
    memory.save_messages(words, "today", user_id="ana")

    with open_turn(words):
        found = surface(memory, 2, user_id="ana").invoke(QUESTION)

    assert "You told me: O." in found
    assert found.count("User: ") == 1


def test_what_a_function_of_the_chain_recalls_leaves_the_turn_out_too(
    memory: KronvexMemory,
) -> None:
    memory.remember("My blood type is O.", user_id="ana")
    words = [HumanMessage(QUESTION), HumanMessage("And my blood pressure?")]
    memory.save_messages(words, "today", user_id="ana")

    with open_turn(words):
        found = memory.recall("blood type pressure", user_id="ana", top_k=1)
        none = memory.recall("blood pressure", user_id="ana", session_id="today")

    assert [each.content for each in found] == ["My blood type is O."]
    assert none == []


def test_a_chat_can_recall_from_this_session_only(teas: KronvexMemory) -> None:
    model = FakeModel()
    chain = with_memory(model, teas, user_id="ana", this_session_only=True)

    chain.invoke("Where is the tea?", {"configurable": {"thread_id": "tuesday"}})
    with pytest.raises(ScopeRequired, match="this_session_only"):
        chain.invoke("Where is the tea?")

    assert named(model.shown) == {"ana/tuesday"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"memory": "sqlite://"}, "memory: .*KronvexMemory"),
        ({"k": 3}, "no option 'k'; did you mean 'top_k'?"),
        ({"input_key": "question"}, "did you mean 'input_messages_key'?"),
        ({"this_session_only": "no"}, "this_session_only: .*boolean"),
        ({"user_id": 7}, "user_id"),
    ],
)
def test_a_wrong_option_is_reported_when_the_chain_is_made(
    memory: KronvexMemory, options: Any, says: str
) -> None:
    with pytest.raises(KronvexError, match=says) as caught:
        with_memory(FakeModel(), **{"memory": memory, **options})
    assert "validation error" not in str(caught.value)


def test_a_fixed_session_of_a_chat_is_no_users(memory: KronvexMemory) -> None:
    chain = with_memory(FakeModel(), memory, session_id="desk")

    chain.invoke("I drink tea.", ids("bob", "monday"))

    assert memory.memories(user_id="bob") == []
    assert [each.user_id for each in memory.memories(session_id="desk")] == [None]


@both_ways
async def test_in_a_node_of_a_graph_its_context_names_the_user(
    teas: KronvexMemory, call: Any
) -> None:
    found: list[str] = []

    async def node(state: MessagesState, config: RunnableConfig) -> None:
        for surface in (retriever, context_step, recall_tool):
            found.append(await call(surface(teas, 5), "tea", config))

    graph = StateGraph(MessagesState, context_schema=dict)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    config: Any = {"configurable": {"user_id": "bob", "thread_id": "t"}}
    await graph.compile().ainvoke({"messages": []}, config, context={"user_id": "ana"})

    assert [named(each) for each in found] == [ANA, ANA, ANA]
