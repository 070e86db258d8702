"""`KronvexMemoryMiddleware` with answers that are replaced, or that are not the model's."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    ModelCallLimitMiddleware,
    ToolCallLimitMiddleware,
    wrap_model_call,
)
from langchain.agents.middleware.types import ModelResponse
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage
from langchain_core.tools import ToolException, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from conftest import OpenMemory
from langchain_kronvex import KronvexMemory, with_memory
from langchain_kronvex.middleware import KronvexMemoryMiddleware
from langchain_kronvex.tools import create_memory_tools

from .agents import (
    AgentCall,
    AgentModel,
    agent_of,
    asking,
    calls,
    config_of,
    sync_and_async,
)
from .models import ModelDown
from .runs import remembered, said
from .test_middleware_edits import FORKS_ASK_AGAIN

QUESTION = "How do I get to Rome?"
TRAIN, BUS = "Take the 9:00 train.", "Take the bus."
ASKED = {"messages": [HumanMessage(QUESTION, id="q1")]}
REPLACED = [f"human: {QUESTION}", f"ai: {BUS}"]
MEMORY = [f"User: {QUESTION}\nAssistant: {BUS}"]
forks = pytest.mark.skipif(not FORKS_ASK_AGAIN, reason="takes the answer from where it was forked")
restarts = pytest.mark.parametrize("restarted", [False, True])


def asked_before(agent: Any) -> Any:
    """The config of the last state before the model was called."""
    states = agent.get_state_history(config_of())
    asked = next(state for state in states if state.next == ("model",))
    return {"configurable": {**asked.config["configurable"], "user_id": "ana"}}


def assert_replaced(memory: KronvexMemory) -> None:
    assert said(memory) == REPLACED
    assert remembered(memory) == MEMORY
    found = memory.recall("the 9:00 train", user_id="ana")
    assert [memory.content for memory in found] == MEMORY


# -- asked again -------------------------------------------------------------------------------


@forks
@sync_and_async
@restarts
async def test_an_answer_is_replaced_when_the_agent_goes_on_from_before_it(
    open_memory: OpenMemory, call: AgentCall, restarted: bool
) -> None:
    memory, saver = open_memory(), InMemorySaver()
    agent = agent_of(AgentModel(replies=[TRAIN, BUS]), memory, checkpointer=saver)
    await call(agent, ASKED)
    memory.recall("the 9:00 train", user_id="ana")  # the words are in the index
    if restarted:
        memory = open_memory()
        agent = agent_of(AgentModel(replies=[BUS]), memory, checkpointer=saver)

    await call(agent, None, asked_before(agent))

    assert_replaced(memory)


@sync_and_async
@restarts
async def test_an_answer_removed_from_the_state_is_replaced(
    open_memory: OpenMemory, call: AgentCall, restarted: bool
) -> None:
    memory, saver = open_memory(), InMemorySaver()
    agent = agent_of(AgentModel(replies=[TRAIN, BUS]), memory, checkpointer=saver)
    state = await call(agent, ASKED)
    if restarted:
        memory = open_memory()
        agent = agent_of(AgentModel(replies=[BUS]), memory, checkpointer=saver)

    await call(agent, {"messages": [RemoveMessage(state["messages"][-1].id)]})

    assert_replaced(memory)


@forks
async def test_an_agent_sent_straight_back_to_its_model_replaces_the_answer(
    memory: KronvexMemory,
) -> None:
    agent = agent_of(AgentModel(replies=[TRAIN, BUS]), memory, checkpointer=InMemorySaver())
    answer = agent.invoke(ASKED, config_of())["messages"][-1]

    removed = {"messages": [RemoveMessage(answer.id)]}
    place = "KronvexMemoryMiddleware.before_agent"
    config = agent.update_state(config_of(), removed, as_node=place)
    agent.invoke(None, {"configurable": {**config["configurable"], "user_id": "ana"}})

    assert_replaced(memory)


@sync_and_async
async def test_the_same_message_sent_again_without_a_saver_replaces_the_answer(
    memory: KronvexMemory, call: AgentCall
) -> None:
    agent = agent_of(AgentModel(replies=[TRAIN, BUS]), memory)

    for _ in range(2):
        await call(agent, ASKED)

    assert_replaced(memory)


@sync_and_async
@restarts
async def test_the_same_message_sent_again_is_remembered_with_its_last_answer(
    open_memory: OpenMemory, call: AgentCall, restarted: bool
) -> None:
    memory, saver = open_memory(), InMemorySaver()
    agent = agent_of(AgentModel(replies=[TRAIN, BUS]), memory, checkpointer=saver)
    await call(agent, ASKED)
    if restarted:
        memory = open_memory()
        agent = agent_of(AgentModel(replies=[BUS]), memory, checkpointer=saver)

    await call(agent, ASKED)

    assert said(memory) == [f"human: {QUESTION}", f"ai: {TRAIN}", f"ai: {BUS}"]  # as in the state
    assert remembered(memory) == MEMORY


@forks
def test_an_earlier_answer_is_replaced_in_its_place(memory: KronvexMemory) -> None:
    model = AgentModel(replies=[TRAIN, "Bring a coat.", BUS])
    agent = agent_of(model, memory, checkpointer=InMemorySaver())
    agent.invoke(ASKED, config_of())
    before = asked_before(agent)
    agent.invoke(asking("What do I wear?"), config_of())

    agent.invoke(None, before)

    assert said(memory) == [*REPLACED, "human: What do I wear?", "ai: Bring a coat."]
    assert remembered(memory) == [*MEMORY, "User: What do I wear?\nAssistant: Bring a coat."]


@forks
def test_the_answer_of_a_turn_with_tools_is_replaced(memory: KronvexMemory) -> None:
    @tool
    def timetable() -> str:
        """Look up trains."""
        return "9:00"

    model = AgentModel(replies=[calls("timetable", "Let me see."), TRAIN, BUS])
    agent = agent_of(model, memory, tools=[timetable], checkpointer=InMemorySaver())
    agent.invoke(ASKED, config_of())

    agent.invoke(None, asked_before(agent))

    assert_replaced(memory)


@forks
@restarts
def test_of_several_answers_only_that_which_left_the_state_is_replaced(
    open_memory: OpenMemory, restarted: bool
) -> None:
    memory, saver = open_memory(), InMemorySaver()

    def graph(memory: KronvexMemory, *replies: str) -> Any:
        remembering = KronvexMemoryMiddleware(memory=memory)
        built = StateGraph(MessagesState)
        for name, reply in zip(("first", "second"), replies, strict=True):
            agent = create_agent(AgentModel(replies=[reply]), middleware=[remembering])
            built.add_node(name, agent)
        built.add_edge(START, "first")
        built.add_edge("first", "second")
        return built.compile(checkpointer=saver)

    graph(memory, "Rome is far.", TRAIN).invoke(ASKED, config_of())
    again = graph(open_memory() if restarted else memory, "Rome is far.", BUS)
    states = again.get_state_history(config_of())
    before = next(state.config for state in states if state.next == ("second",))
    again.invoke(None, {"configurable": {**before["configurable"], "user_id": "ana"}})

    assert said(memory) == [f"human: {QUESTION}", "ai: Rome is far.", f"ai: {BUS}"]
    assert remembered(memory) == [f"User: {QUESTION}\nAssistant: Rome is far. {BUS}"]


def test_a_picture_without_words_can_be_answered_again(memory: KronvexMemory) -> None:
    picture = HumanMessage([{"type": "image", "url": "https://example.org/rome.png"}], id="p")
    agent = agent_of(AgentModel(replies=[TRAIN, BUS]), memory)

    for _ in range(2):
        agent.invoke({"messages": [picture]}, config_of())

    assert said(memory) == ["human: ", f"ai: {BUS}"]
    assert remembered(memory) == [f"Assistant: {BUS}"]


def test_a_pinned_exchange_is_replaced_and_stays_pinned(memory: KronvexMemory) -> None:
    agent = agent_of(AgentModel(replies=[TRAIN, BUS]), memory)
    agent.invoke(ASKED, config_of())
    [exchange] = memory.memories(user_id="ana")
    memory.update(exchange.id, pinned=True, metadata={"from": "me"})

    agent.invoke(ASKED, config_of())

    [replaced] = memory.memories(user_id="ana")
    assert (replaced.content, replaced.pinned) == (MEMORY[0], True)
    assert replaced.metadata == {"from": "me"}


# -- what other middleware writes --------------------------------------------------------------


def retrying(**options: Any) -> Any:
    from langchain.agents.middleware import ModelRetryMiddleware  # new in LangChain 1.1

    return ModelRetryMiddleware(max_retries=1, initial_delay=0, jitter=False, **options)


@sync_and_async
@pytest.mark.parametrize("first", [True, False], ids=["memory first", "last"])
@pytest.mark.parametrize("failure", ["continue", lambda error: "Sorry, try again later."])
async def test_the_notice_of_a_failed_model_is_not_remembered(
    memory: KronvexMemory, call: AgentCall, first: bool, failure: Any
) -> None:
    pytest.importorskip("langchain.agents.middleware.model_retry")
    remembering: Any = KronvexMemoryMiddleware(memory=memory)
    retry = retrying(on_failure=failure)
    middleware = [remembering, retry] if first else [retry, remembering]
    model = AgentModel(replies=[ModelDown("gone"), ModelDown("gone"), TRAIN])
    agent = create_agent(model, middleware=middleware, checkpointer=InMemorySaver())

    state = await call(agent, asking("Hi."))
    assert state["messages"][-1].type == "ai"
    assert said(memory) == ["human: Hi."]
    assert remembered(memory) == ["User: Hi."]
    await call(agent, ASKED)

    assert said(memory) == ["human: Hi.", f"human: {QUESTION}", f"ai: {TRAIN}"]
    assert remembered(memory) == ["User: Hi.", f"User: {QUESTION}\nAssistant: {TRAIN}"]


@sync_and_async
@pytest.mark.parametrize("first", [True, False], ids=["memory first", "last"])
async def test_a_model_that_answers_after_a_failure_is_remembered(
    memory: KronvexMemory, call: AgentCall, first: bool
) -> None:
    pytest.importorskip("langchain.agents.middleware.model_retry")
    remembering: Any = KronvexMemoryMiddleware(memory=memory)
    middleware = [remembering, retrying()] if first else [retrying(), remembering]
    agent = create_agent(AgentModel(replies=[ModelDown("gone"), BUS]), middleware=middleware)

    await call(agent, ASKED)

    assert_replaced(memory)


@pytest.mark.parametrize("first", [True, False], ids=["memory first", "last"])
def test_an_answer_rewritten_by_a_middleware_is_remembered(
    memory: KronvexMemory, first: bool
) -> None:
    @wrap_model_call
    def shouts(request: Any, handler: Any) -> Any:
        answer = handler(request).result[0]
        return ModelResponse(result=[AIMessage(answer.text.upper())])

    remembering: Any = KronvexMemoryMiddleware(memory=memory)
    middleware = [remembering, shouts] if first else [shouts, remembering]
    create_agent(AgentModel(replies=[BUS]), middleware=middleware).invoke(ASKED, config_of())

    assert remembered(memory) == [f"User: {QUESTION}\nAssistant: {BUS.upper()}"]


LIMITS = [
    ModelCallLimitMiddleware(run_limit=1, exit_behavior="end"),
    ModelCallLimitMiddleware(thread_limit=1, exit_behavior="end"),
    ToolCallLimitMiddleware(run_limit=0, exit_behavior="end"),
    ToolCallLimitMiddleware(tool_name="timetable", run_limit=0, exit_behavior="end"),
]


@sync_and_async
@pytest.mark.parametrize("limit", LIMITS, ids=["run", "thread", "tools", "one tool"])
async def test_the_notice_of_a_limit_is_not_remembered(
    memory: KronvexMemory, call: AgentCall, limit: Any
) -> None:
    @tool
    def timetable() -> str:
        """Look up trains."""
        return "9:00"

    model = AgentModel(replies=[calls("timetable", "Let me see."), BUS])
    saver = InMemorySaver()
    agent = agent_of(model, memory, limit, tools=[timetable], checkpointer=saver)

    state = await call(agent, ASKED)

    assert "limit" in state["messages"][-1].text
    assert said(memory) == [f"human: {QUESTION}"]
    assert remembered(memory) == [f"User: {QUESTION}"]


@sync_and_async
async def test_a_chain_around_an_agent_does_not_remember_a_notice(
    memory: KronvexMemory, call: AgentCall
) -> None:
    limit = ModelCallLimitMiddleware(run_limit=0, exit_behavior="end")
    agent: Any = create_agent(AgentModel(), middleware=[limit])
    chain = with_memory(agent, memory, input_messages_key="messages", history_messages_key=None)

    await call(chain, {"messages": [HumanMessage("Hi.")]}, config_of())

    assert said(memory) == ["human: Hi."]
    assert remembered(memory) == ["User: Hi."]


def test_a_limit_reached_before_the_model_is_called_is_not_an_answer(
    memory: KronvexMemory,
) -> None:
    limit = ModelCallLimitMiddleware(thread_limit=1, exit_behavior="end")
    model = AgentModel(replies=[BUS])
    agent = agent_of(model, memory, limit, checkpointer=InMemorySaver())

    agent.invoke(ASKED, config_of())
    agent.invoke(asking("And back?"), config_of())

    assert said(memory) == [*REPLACED, "human: And back?"]
    assert remembered(memory) == ["User: And back?", *MEMORY]


def test_the_error_of_a_tool_that_ends_the_turn_is_not_an_answer(memory: KronvexMemory) -> None:
    @tool(return_direct=True)
    def timetable() -> str:
        """Look up trains."""
        raise ToolException("The line is dead.")

    timetable.handle_tool_error = True
    model = AgentModel(replies=[calls("timetable", "Let me see.")])

    state = agent_of(model, memory, tools=[timetable]).invoke(ASKED, config_of())

    assert state["messages"][-1].text == "The line is dead."
    assert remembered(memory) == [f"User: {QUESTION}"]


@pytest.mark.parametrize(
    "text", ["Model call limits exceeded: that is what the log says.", "Tool call limit reached: 3"]
)
def test_a_model_that_says_what_a_notice_says_is_remembered(
    memory: KronvexMemory, text: str
) -> None:
    agent_of(AgentModel(replies=[text]), memory).invoke(ASKED, config_of())

    assert remembered(memory) == [f"User: {QUESTION}\nAssistant: {text}"]


# -- the turn under way ------------------------------------------------------------------------


@sync_and_async
async def test_a_tool_does_not_find_the_question_it_is_asked_for(
    tea_lover: KronvexMemory, call: AgentCall
) -> None:
    _, recall, _ = create_memory_tools(tea_lover)
    found: list[str] = []

    @tool
    def search(query: str) -> str:
        """Search the memories in the program's own way."""
        found.extend(memory.content for memory in tea_lover.recall(query, user_id="ana"))
        return "done"

    @tool
    async def asearch(query: str) -> str:
        """Search the memories in the program's own way."""
        found.extend(memory.content for memory in await tea_lover.arecall(query, user_id="ana"))
        return "done"

    mine = search if call.__name__ == "invoke" else asearch
    question = "Which tea do I prefer?"
    both = AIMessage(
        "",
        tool_calls=[
            {"name": "recall", "args": {"query": question}, "id": "1"},
            {"name": mine.name, "args": {"query": question}, "id": "2"},
        ],
    )
    model = AgentModel(replies=[both, "Tea."])
    agent = agent_of(model, tea_lover, tools=[recall, mine])

    state = await call(agent, asking(question))

    [told] = [m.text for m in state["messages"] if m.type == "tool" and m.name == "recall"]
    assert "Ana prefers tea." in told
    assert question not in told
    assert found == ["Ana prefers tea."]
    later = [memory.content for memory in tea_lover.recall(question, user_id="ana")]
    assert f"User: {question}\nAssistant: Tea." in later
