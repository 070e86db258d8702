"""`KronvexMemoryMiddleware` through interrupts, retries, restarts, sub-agents and summaries."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    HumanInTheLoopMiddleware,
    SummarizationMiddleware,
    before_model,
    wrap_model_call,
)
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command

from conftest import OpenMemory
from langchain_kronvex import KronvexMemory
from langchain_kronvex.middleware import KronvexMemoryMiddleware

from .agents import (
    Agent,
    AgentCall,
    AgentModel,
    agent_of,
    asking,
    calls,
    can_be_interrupted,
    config_of,
    sync_and_async,
)
from .models import FakeModel, ModelDown, echo
from .runs import ASYNC_CONFIG_COMES_ALONG, remembered, said

APPROVED = Command(resume={"decisions": [{"type": "approve"}]})
REJECTED = Command(resume={"decisions": [{"type": "reject", "message": "No."}]})
EXCHANGE = ["human: Order tea.", "ai: Ordered."]


@tool
def order(what: str) -> str:
    """Order something."""
    return f"{what} is on its way"


def careful_agent(memory: KronvexMemory, saver: InMemorySaver, model: FakeModel) -> Agent:
    asks_first = HumanInTheLoopMiddleware(interrupt_on={"order": True})
    return agent_of(model, memory, asks_first, tools=[order], checkpointer=saver)


@can_be_interrupted
@pytest.mark.parametrize("decision", [APPROVED, REJECTED], ids=["approve", "reject"])
async def test_a_turn_that_waits_for_a_human_is_saved_once(
    tea_lover: KronvexMemory, call: AgentCall, decision: Any
) -> None:
    model = AgentModel(replies=[calls("order", what="tea"), "Ordered."])
    agent = careful_agent(tea_lover, InMemorySaver(), model)

    await call(agent, asking("Order tea."))
    assert said(tea_lover) == ["human: Order tea."]  # safe while it waits
    await call(agent, decision)

    assert said(tea_lover) == EXCHANGE
    assert remembered(tea_lover) == ["Ana prefers tea.", "User: Order tea.\nAssistant: Ordered."]
    assert [prompt[0].text[-16:] for prompt in model.prompts] == ["Ana prefers tea."] * 2


@can_be_interrupted
async def test_a_turn_resumed_by_another_process_is_saved_once(
    open_memory: OpenMemory, call: AgentCall
) -> None:
    saver, memory = InMemorySaver(), open_memory()
    memory.remember("Ana prefers tea.", user_id="ana", memory_type="semantic")
    begun = AgentModel(replies=[calls("order", what="tea")])
    await call(careful_agent(memory, saver, begun), asking("Order tea."))
    memory.close()

    memory, resumed = open_memory(), AgentModel(replies=["Ordered."])
    memory.remember("Ben prefers tea.", user_id="ben", memory_type="semantic")
    agent = careful_agent(memory, saver, resumed)
    await call(agent, APPROVED, config_of("ben"))  # Ben only approves

    assert "Ana prefers tea." in resumed.prompts[0][0].text
    assert "Ben" not in repr(resumed.prompts)
    assert said(memory) == EXCHANGE
    assert remembered(memory)[1:] == ["User: Order tea.\nAssistant: Ordered."]
    assert said(memory, "ben") == []


@sync_and_async
async def test_after_a_failure_the_turn_continues_and_is_saved_once(
    memory: KronvexMemory, call: AgentCall
) -> None:
    model = AgentModel(replies=[ModelDown("gone"), "Hello."])
    agent = agent_of(model, memory, checkpointer=InMemorySaver())

    with pytest.raises(ModelDown):
        await call(agent, asking("Hi."))
    assert said(memory) == ["human: Hi."]
    await call(agent, None)

    assert said(memory) == ["human: Hi.", "ai: Hello."]
    assert remembered(memory) == ["User: Hi.\nAssistant: Hello."]


@sync_and_async
@pytest.mark.parametrize("restarted", [False, True])
async def test_after_a_failure_only_the_next_message_is_new(
    open_memory: OpenMemory, call: AgentCall, restarted: bool
) -> None:
    memory, saver = open_memory(), InMemorySaver()
    model = AgentModel(replies=[ModelDown("gone"), "Hello."])
    agent = agent_of(model, memory, checkpointer=saver)
    with pytest.raises(ModelDown):
        await call(agent, asking("Hi."))

    if restarted:
        memory = open_memory()
        agent = agent_of(model, memory, checkpointer=saver)
    await call(agent, asking("Are you there?"))

    assert said(memory) == ["human: Hi.", "human: Are you there?", "ai: Hello."]


def test_a_retried_model_is_one_turn(memory: KronvexMemory) -> None:
    @wrap_model_call
    def twice(request: Any, handler: Any) -> Any:
        try:
            return handler(request)
        except ModelDown:
            return handler(request)

    for around in (True, False):
        model = AgentModel(replies=[ModelDown("gone"), "Hello."])
        remembering = KronvexMemoryMiddleware(memory=memory)
        middleware = [twice, remembering] if around else [remembering, twice]
        thread = f"thread-{around}"
        create_agent(model, middleware=middleware).invoke(
            asking("Hi."), config_of(thread_id=thread)
        )

        assert said(memory, "ana", thread) == ["human: Hi.", "ai: Hello."]


def test_an_agent_retried_with_the_same_message_saves_it_once(memory: KronvexMemory) -> None:
    model = AgentModel(replies=[ModelDown("gone"), "Hello."])
    agent = agent_of(model, memory).with_retry(stop_after_attempt=2, wait_exponential_jitter=False)

    agent.invoke({"messages": [HumanMessage("Hi.", id="1")]}, config_of())

    assert said(memory) == ["human: Hi.", "ai: Hello."]
    assert remembered(memory) == ["User: Hi.\nAssistant: Hello."]


def test_a_repeated_message_is_a_new_turn(memory: KronvexMemory) -> None:
    agent = agent_of(AgentModel(replies=["Hello."]), memory, checkpointer=InMemorySaver())

    for _ in range(2):
        agent.invoke(asking("Hi."), config_of())

    assert said(memory) == ["human: Hi.", "ai: Hello."] * 2


@can_be_interrupted
@pytest.mark.parametrize("failing", [True, False])
async def test_an_answer_is_saved_with_its_question_after_other_turns(
    open_memory: OpenMemory, call: AgentCall, failing: bool
) -> None:
    saver, memory = InMemorySaver(), open_memory()
    failures = [ModelDown("gone")] if failing else []
    replies = [calls("order", what="tea"), *failures, "Ordered."]
    model = AgentModel(replies=replies)
    await call(careful_agent(memory, saver, model), asking("Order tea."))
    meanwhile = [HumanMessage("Is it raining?"), AIMessage("Yes.")]
    memory.save_messages(meanwhile, "chat", user_id="ana")

    if failing:
        with pytest.raises(ModelDown):
            await call(careful_agent(open_memory(), saver, model), APPROVED)
    again = {"messages": []} if failing else APPROVED
    await call(careful_agent(open_memory(), saver, model), again)

    assert remembered(memory) == [
        "User: Is it raining?\nAssistant: Yes.", "User: Order tea.\nAssistant: Ordered.",
    ]  # fmt: skip


# -- restarts ----------------------------------------------------------------------------------

TALK = """
import sys
sys.path.insert(0, sys.argv[2])
from surfaces.agents import AgentModel, agent_of, asking, config_of
from langchain_kronvex import KronvexMemory
memory = KronvexMemory(sys.argv[1])
agent = agent_of(AgentModel(replies=["Noted."]), memory)
agent.invoke(asking("I am allergic to peanuts."), config_of(thread_id="monday"))
import os
os._exit(1)
"""


@pytest.mark.slow
@sync_and_async
async def test_messages_of_a_killed_process_are_recalled(
    store_url: str, open_memory: OpenMemory, call: AgentCall
) -> None:
    tests = str(Path(__file__).parents[1])
    died = subprocess.run(
        [sys.executable, "-c", TALK, store_url, tests], capture_output=True, timeout=60
    )
    assert died.returncode == 1, died.stderr

    model = AgentModel()
    await call(agent_of(model, open_memory()), asking("Peanuts?"), config_of(thread_id="tuesday"))

    assert "User: I am allergic to peanuts. Assistant: Noted." in model.prompts[0][0].text


# -- agents within agents ----------------------------------------------------------------------


def delegating(child: Agent, *, hand_on: bool) -> BaseTool:
    """A tool that calls an agent, with its own config or with the current one."""

    def research(question: str, config: RunnableConfig) -> str:
        state = child.invoke(asking(question), config if hand_on else None)
        return str(state["messages"][-1].text)

    async def aresearch(question: str, config: RunnableConfig) -> str:
        state = await child.ainvoke(asking(question), config if hand_on else None)
        return str(state["messages"][-1].text)

    return StructuredTool.from_function(
        research, aresearch, name="research", description="Ask a colleague."
    )


@sync_and_async
@pytest.mark.parametrize("saver", [InMemorySaver, lambda: None], ids=["saver", "no saver"])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("hand_on", [True, False] if ASYNC_CONFIG_COMES_ALONG else [True])
async def test_an_agent_used_as_a_tool_recalls_and_saves_nothing(
    tea_lover: KronvexMemory,
    call: AgentCall,
    saver: Callable[[], Any],
    shared: bool,
    hand_on: bool,
) -> None:
    remembering = KronvexMemoryMiddleware(memory=tea_lover)
    own = remembering if shared else KronvexMemoryMiddleware(memory=tea_lover)
    below = AgentModel(replies=["Assam tea."])
    child = create_agent(below, middleware=[own])
    model = AgentModel(replies=[calls("research", question="Which tea is best?"), "Assam."])
    tools = [delegating(child, hand_on=hand_on)]
    agent = create_agent(model, tools=tools, middleware=[remembering], checkpointer=saver())

    await call(agent, asking("Find me a tea."))

    assert "Ana prefers tea." in below.prompts[0][0].text
    assert said(tea_lover) == ["human: Find me a tea.", "ai: Assam."]
    assert remembered(tea_lover)[1:] == ["User: Find me a tea.\nAssistant: Assam."]
    assert {session.session_id for session in tea_lover.sessions()} == {"chat", None}


@sync_and_async
async def test_an_agent_used_as_a_tool_saves_to_a_given_session(
    memory: KronvexMemory, call: AgentCall
) -> None:
    own = KronvexMemoryMiddleware(memory=memory, user_id="researcher", session_id="notes")
    child = create_agent(AgentModel(replies=["Assam tea."]), middleware=[own])
    model = AgentModel(replies=[calls("research", question="Which tea is best?"), "Assam."])

    await call(
        agent_of(model, memory, tools=[delegating(child, hand_on=True)]), asking("Find me a tea.")
    )

    assert said(memory) == ["human: Find me a tea.", "ai: Assam."]
    assert said(memory, "researcher", "notes") == ["human: Which tea is best?", "ai: Assam tea."]


@sync_and_async
async def test_agents_that_are_nodes_of_one_graph_share_the_turn(
    tea_lover: KronvexMemory, call: AgentCall
) -> None:
    remembering = KronvexMemoryMiddleware(memory=tea_lover)
    models = [AgentModel(replies=["Tea?"]), AgentModel(replies=["Assam."])]
    graph = StateGraph(MessagesState)
    for name, model in zip(("first", "second"), models, strict=True):
        graph.add_node(name, create_agent(model, middleware=[remembering]))
    graph.add_edge(START, "first")
    graph.add_edge("first", "second")

    await call(graph.compile(), asking("Which tea?"))

    assert all("Ana prefers tea." in model.prompts[0][0].text for model in models)
    assert said(tea_lover) == ["human: Which tea?", "ai: Tea?", "ai: Assam."]
    assert remembered(tea_lover)[1:] == ["User: Which tea?\nAssistant: Tea? Assam."]


@sync_and_async
async def test_an_agent_that_adds_nothing_saves_nothing(
    memory: KronvexMemory, call: AgentCall
) -> None:
    @before_model(can_jump_to=["end"])
    def leave(state: Any, runtime: Any) -> dict[str, Any]:
        return {"jump_to": "end"}

    remembering = KronvexMemoryMiddleware(memory=memory)
    graph = StateGraph(MessagesState)
    graph.add_node("first", create_agent(AgentModel(), middleware=[remembering]))
    graph.add_node("second", create_agent(AgentModel(), middleware=[remembering, leave]))
    graph.add_edge(START, "first")
    graph.add_edge("first", "second")

    await call(graph.compile(), asking("Hi."))

    assert said(memory) == ["human: Hi.", "ai: Fine."]


# -- beside a summary --------------------------------------------------------------------------


def shortening(*, after: int, keep: int) -> SummarizationMiddleware:
    """Summarise at this number of messages."""
    options: dict[str, Any] = {"trigger": ("messages", after), "keep": ("messages", keep)}
    if "trigger" not in inspect.signature(SummarizationMiddleware).parameters:  # LangChain 1.0
        options = {"max_tokens_before_summary": after, "messages_to_keep": keep}
        options["token_counter"] = len
    return SummarizationMiddleware(model=FakeModel(replies=["They talked."]), **options)


@sync_and_async
async def test_summarised_messages_are_still_recalled(
    memory: KronvexMemory, call: AgentCall
) -> None:
    shortens = shortening(after=5, keep=1)
    model = AgentModel(replies=["Noted."])
    agent = agent_of(model, memory, shortens, checkpointer=InMemorySaver())

    for text in ("My cat is called Pixel.", "It rains.", "What is my cat called?"):
        await call(agent, asking(text))

    system, summary, question = model.prompts[2]
    assert "They talked." in summary.text
    assert question.text == "What is my cat called?"
    assert "User: My cat is called Pixel. Assistant: Noted." in system.text
    assert said(memory)[-2:] == ["human: What is my cat called?", "ai: Noted."]
    assert len(said(memory)) == 6
    assert not [content for content in remembered(memory) if "They talked" in content]


@sync_and_async
async def test_a_turn_summarised_while_it_runs_is_saved_in_full(
    memory: KronvexMemory, call: AgentCall
) -> None:
    shortens = shortening(after=4, keep=2)
    replies = [calls("order", what="tea"), calls("order", what="cake"), "Ordered."]
    agent = agent_of(AgentModel(replies=replies), memory, shortens, tools=[order])

    state = await call(agent, asking("Order tea."))

    assert "They talked." in state["messages"][0].text
    assert said(memory) == EXCHANGE


# -- streams -----------------------------------------------------------------------------------


async def test_tokens_are_streamed_and_the_turn_is_saved(tea_lover: KronvexMemory) -> None:
    model = AgentModel(replies=[calls("order", what="tea"), "It is on its way."])
    agent = agent_of(model, tea_lover, tools=[order])

    given = asking("Order tea.")
    chunks = [chunk for chunk, _ in agent.stream(given, config_of(), stream_mode="messages")]
    model.prompts.clear()
    streamed = agent.astream(given, config_of(thread_id="two"), stream_mode="messages")
    achunks = [chunk async for chunk, _ in streamed]

    for streamed_chunks in (chunks, achunks) if ASYNC_CONFIG_COMES_ALONG else (chunks,):
        words = [m.text for m in streamed_chunks if m.type in ("AIMessageChunk", "ai") and m.text]
        assert words[:5] == ["It ", "is ", "on ", "its ", "way."]
        assert "Ana prefers" not in repr(streamed_chunks)
    for thread in ("chat", "two"):
        assert said(tea_lover, "ana", thread) == ["human: Order tea.", "ai: It is on its way."]


async def test_a_stream_closed_early_keeps_the_users_message(memory: KronvexMemory) -> None:
    agent = agent_of(AgentModel(replies=["It is on its way."]), memory)

    stream = agent.stream(asking("Order tea."), config_of(), stream_mode="messages")
    next(stream)
    stream.close()
    astream = agent.astream(asking("Order."), config_of(thread_id="two"), stream_mode="messages")
    await anext(astream)
    await astream.aclose()

    assert memory.flush(10)
    assert said(memory)[0] == "human: Order tea."
    assert said(memory, "ana", "two")[0] == "human: Order."


def test_an_empty_answer_is_not_saved(memory: KronvexMemory) -> None:
    agent_of(AgentModel(replies=[AIMessage("")]), memory).invoke(asking("Hi."), config_of())

    assert said(memory) == ["human: Hi."]
    assert remembered(memory) == ["User: Hi."]


def test_a_picture_without_text_gets_the_profile_and_is_saved(tea_lover: KronvexMemory) -> None:
    picture = HumanMessage([{"type": "image", "url": "https://example.org/tea.png"}])
    model = AgentModel(replies=["A cup."])

    agent_of(model, tea_lover).invoke({"messages": [picture]}, config_of())

    assert model.prompts[0][0].text == "[semantic, 2026-04-28] Ana prefers tea."
    assert said(tea_lover) == ["human: ", "ai: A cup."]
    assert "Assistant: A cup." in remembered(tea_lover)


def test_an_answer_that_repeats_the_context_is_saved(tea_lover: KronvexMemory) -> None:
    model = AgentModel(replies=[lambda prompt: f"I know: {prompt[0].text}", echo])

    agent_of(model, tea_lover).invoke(asking("tea or coffee?"), config_of())

    assert said(tea_lover)[1] == "ai: I know: [semantic, 2026-04-28] Ana prefers tea."
