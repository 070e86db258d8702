"""What `with_memory` saves of a stream: what was said, whatever the chunks look like."""

from __future__ import annotations

import operator
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    ToolMessage,
)
from langchain_core.output_parsers import JsonOutputParser
from langchain_core.runnables import (
    AddableDict,
    RunnableGenerator,
    RunnableLambda,
    RunnablePassthrough,
)
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

from langchain_kronvex import ConfigurationError, KronvexMemory, with_memory

from .agents import AgentModel, calls
from .conftest import EventLog
from .models import FakeModel
from .runs import (
    ANA,
    Call,
    ainvoke,
    astream,
    each_in_one_way,
    invoke,
    remembered,
    said,
    stream,
    sync_and_async,
)

Logged = Callable[[], list[str]]
ASKED = {"messages": [HumanMessage("Bus or train?")]}
QUESTION = "human: Bus or train?"
TURN = [QUESTION, "ai: ", "tool: The bus.", "ai: Take the bus."]
MODES: list[Any] = [
    "values", "updates", "messages", "custom", "checkpoints", "tasks", "debug",
    ["messages"], ["updates", "messages"], ["values", "custom"], ["debug", "tasks", "checkpoints"],
]  # fmt: skip


@tool
def timetable(place: str) -> str:
    """Look up what leaves next."""
    get_stream_writer()({"progress": 0.5})
    return "The bus."


def agent(**options: Any) -> Any:
    model = AgentModel(replies=[calls("timetable", place="home"), "Take the bus."])
    return create_agent(model, tools=[timetable], **options)


@pytest.fixture
def warnings_logged(warnings_logged: Logged) -> Logged:
    """The warnings, without the one that an agent has no place for memories."""
    return lambda: [line for line in warnings_logged() if "no place" not in line]


def over_messages(chain: Any, memory: KronvexMemory, **options: Any) -> Any:
    return with_memory(
        chain, memory, input_messages_key="messages", history_messages_key=None, **options
    )


async def chunks_of(
    chain: Any, value: Any, asynchronous: bool, config: Any = ANA, **options: Any
) -> list[Any]:
    if asynchronous:
        return [chunk async for chunk in chain.astream(value, config, **options)]
    return list(chain.stream(value, config, **options))


both = pytest.mark.parametrize("asynchronous", [False, True])


# -- graphs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize(
    ("asynchronous", "subgraphs", "version"),
    [(False, False, "v1"), (True, True, "v2"), (False, True, "v2")],
)
async def test_an_agent_is_saved_and_streamed_the_same_in_every_mode(
    memory: KronvexMemory,
    warnings_logged: Logged,
    asynchronous: bool,
    mode: Any,
    subgraphs: bool,
    version: str,
) -> None:
    options = {"stream_mode": mode, "subgraphs": subgraphs, "version": version}
    alone = await chunks_of(agent(), ASKED, asynchronous, **options)

    chunks = await chunks_of(over_messages(agent(), memory), ASKED, asynchronous, **options)

    assert [shape(chunk) for chunk in chunks] == [shape(chunk) for chunk in alone]
    assert said(memory) == TURN
    assert remembered(memory) == ["User: Bus or train?\nAssistant: Take the bus."]
    assert warnings_logged() == []


def shape(chunk: Any) -> Any:
    """What a chunk looks like, without ids and times."""
    if isinstance(chunk, tuple | list):
        return type(chunk), [shape(each) for each in chunk]
    if isinstance(chunk, dict):
        return sorted(chunk)
    return chunk if chunk in (mode for mode in MODES if isinstance(mode, str)) else type(chunk)


@pytest.mark.parametrize("call", [invoke, ainvoke, stream, astream])
async def test_an_agent_without_options_is_saved_like_an_invoked_one(
    memory: KronvexMemory, call: Call
) -> None:
    if call in (stream, astream):
        await chunks_of(over_messages(agent(), memory), ASKED, call is astream)
    else:
        await call(over_messages(agent(), memory), ASKED)

    assert said(memory) == TURN


@pytest.mark.parametrize("options", [
    {"stream_mode": "updates"}, {"stream_mode": ["updates", "custom"]}, {"version": "v2"},
    {"stream_mode": "messages"},
], ids=str)  # fmt: skip
def test_an_agent_invoked_with_other_modes(memory: KronvexMemory, options: Any) -> None:
    over_messages(agent(), memory).invoke(ASKED, ANA, **options)

    assert said(memory) == TURN


@pytest.mark.parametrize("mode", ["updates", "messages", ["messages", "updates"]], ids=str)
@both
async def test_modes_that_were_bound_to_the_graph(
    memory: KronvexMemory, mode: Any, asynchronous: bool
) -> None:
    bound = agent().bind(stream_mode=mode)

    chunks = await chunks_of(over_messages(bound, memory), ASKED, asynchronous)

    alone = await chunks_of(agent().bind(stream_mode=mode), ASKED, asynchronous)
    assert [shape(chunk) for chunk in chunks] == [shape(chunk) for chunk in alone]
    assert said(memory) == TURN


@pytest.mark.parametrize("mode", ["messages", "updates", "values", ["messages", "updates"]])
@both
async def test_a_graph_inside_a_function(
    memory: KronvexMemory, mode: Any, asynchronous: bool
) -> None:
    """Nothing shows that it is a graph but its chunks."""

    def run(inputs: Iterator[Any]) -> Iterator[Any]:
        yield from agent().stream(next(inputs), stream_mode=mode)

    async def arun(inputs: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for chunk in agent().astream(await anext(inputs), stream_mode=mode):
            yield chunk

    chain = over_messages(RunnableGenerator(run, arun), memory)

    await chunks_of(chain, ASKED, asynchronous)

    assert said(memory) == TURN


async def test_the_events_of_an_agent(memory: KronvexMemory) -> None:
    chain = over_messages(agent(), memory)

    events = [event async for event in chain.astream_events(ASKED, ANA, version="v2")]

    assert events[-1]["event"] == "on_chain_end"
    assert said(memory) == TURN


@pytest.mark.parametrize("mode", ["messages", "updates", ["messages", "values"]], ids=str)
@both
async def test_an_agent_with_a_thread_of_its_own(
    memory: KronvexMemory, mode: Any, asynchronous: bool
) -> None:
    """Its state holds earlier turns too."""
    model = AgentModel(replies=["One.", "Two."])
    chain = over_messages(create_agent(model, checkpointer=InMemorySaver()), memory)
    config: Any = {"configurable": {"user_id": "ana", "session_id": "chat", "thread_id": "chat"}}

    for text in ("First?", "Second?"):
        value = {"messages": [HumanMessage(text)]}
        await chunks_of(chain, value, asynchronous, config, stream_mode=mode)

    assert said(memory) == ["human: First?", "ai: One.", "human: Second?", "ai: Two."]


class Question(TypedDict, total=False):
    """The state of a graph that answers from documents."""

    question: str
    context: list[Document]
    grade: str
    answer: str


def graph_over_documents(model: FakeModel, *, key: str = "answer", broken: bool = False) -> Any:
    def retrieve(state: Question) -> Any:
        return {"context": [Document("Buses leave at nine.")]}

    def grade(state: Question) -> Any:
        return {"grade": FakeModel(replies=['{"relevant": "yes"}']).invoke("?").text}

    def generate(state: Question) -> Any:
        return {key: model.invoke(state["question"]).text}

    class State(Question, total=False):
        reply: str
        verdict: str

    graph = StateGraph(State)
    nodes = {"retrieve": retrieve, "grading": grade, "generate": generate}
    for name, node in nodes.items():
        graph.add_node(name, node)
    for start, end in zip([START, *nodes], [*nodes, END], strict=True):
        graph.add_edge(start, end)
    return graph.compile()


@pytest.mark.parametrize("mode", MODES, ids=str)
@both
async def test_only_the_answer_of_a_graph_over_documents_is_saved(
    memory: KronvexMemory, asynchronous: bool, mode: Any
) -> None:
    graph = graph_over_documents(FakeModel(replies=["Take the bus."]))
    chain = with_memory(graph, memory, input_messages_key="question")

    await chunks_of(chain, {"question": "Bus or train?"}, asynchronous, stream_mode=mode)

    assert said(memory) == [QUESTION, "ai: Take the bus."]


@pytest.mark.parametrize("mode", [*MODES, None], ids=str)
def test_an_answer_under_an_unusual_key_is_missed_aloud(
    memory: KronvexMemory, warnings_logged: Logged, event_log: EventLog, mode: Any
) -> None:
    config: Any = {**ANA, "callbacks": [event_log]}
    graph = graph_over_documents(FakeModel(replies=["Take the bus."]), key="verdict")
    chain = with_memory(graph, memory, input_messages_key="question")

    if mode is None:
        assert chain.invoke({"question": "Bus or train?"}, config)["memory_degraded"]
    else:
        list(chain.stream({"question": "Bus or train?"}, config, stream_mode=mode))

    assert said(memory) == [QUESTION]
    assert remembered(memory) == ["User: Bus or train?"]
    (warning,) = warnings_logged()
    assert "output_messages_key" in warning
    assert "bus" not in warning
    assert memory.stats().degraded == 1
    assert [name for name, _ in event_log.events] == ["kronvex_memory_degraded"]


def test_an_unusual_key_can_be_named(memory: KronvexMemory) -> None:
    graph = graph_over_documents(FakeModel(replies=["Take the bus."]), key="verdict")
    chain = with_memory(graph, memory, input_messages_key="question", output_messages_key="verdict")

    list(chain.stream({"question": "Bus or train?"}, ANA, stream_mode="debug"))

    assert said(memory) == [QUESTION, "ai: Take the bus."]


def test_a_missed_answer_raises_if_wanted(memory: KronvexMemory) -> None:
    graph = graph_over_documents(FakeModel(), key="verdict")
    chain = with_memory(graph, memory, input_messages_key="question", on_error="raise")

    with pytest.raises(ConfigurationError, match="output_messages_key"):
        chain.invoke({"question": "Bus or train?"}, ANA)


@pytest.mark.parametrize("mode", ["messages", ["messages", "updates"], ["messages", "values"]])
@both
async def test_a_stream_of_an_agent_that_is_closed_early(
    memory: KronvexMemory, mode: Any, asynchronous: bool
) -> None:
    chain = over_messages(agent(), memory)
    heard = ""

    def ends(chunk: Any) -> bool:
        nonlocal heard
        data = chunk[1] if isinstance(chunk[0], str) else chunk
        if isinstance(data, tuple) and isinstance(data[0], AIMessageChunk):
            heard += data[0].text
        return heard.startswith("Take the")

    if asynchronous:
        astreamed = chain.astream(ASKED, ANA, stream_mode=mode)
        async for chunk in astreamed:
            if ends(chunk):
                break
        await astreamed.aclose()
    else:
        streamed = chain.stream(ASKED, ANA, stream_mode=mode)
        for chunk in streamed:
            if ends(chunk):
                break
        streamed.close()

    assert said(memory) == [*TURN[:3], "ai: Take the "]
    assert memory.stats().degraded == 0


def test_an_agent_that_another_agent_uses_as_a_tool_is_not_quoted(memory: KronvexMemory) -> None:
    expert = create_agent(AgentModel(replies=["Secret thoughts."]), name="expert")

    @tool
    def ask(question: str) -> str:
        """Ask the expert."""
        expert.invoke({"messages": [HumanMessage(question)]})
        return "The bus."

    model = AgentModel(replies=[calls("ask", question="?"), "Take the bus."])
    chain = over_messages(create_agent(model, tools=[ask]), memory)

    list(chain.stream(ASKED, ANA, stream_mode="messages", subgraphs=True))

    assert said(memory) == TURN


def test_a_graph_of_agents_is_saved_like_an_invoked_one(memory: KronvexMemory) -> None:
    for mode in MODES:
        graph = StateGraph(MessagesState)
        graph.add_node("expert", agent())
        graph.add_edge(START, "expert")
        config: Any = {"configurable": {"user_id": "ana", "session_id": str(mode)}}
        chain = over_messages(graph.compile(), memory)
        list(chain.stream(ASKED, config, stream_mode=mode, subgraphs=True))
        assert said(memory, session=str(mode)) == TURN


def test_a_chain_with_memory_is_a_node_of_a_graph(memory: KronvexMemory) -> None:
    graph = StateGraph(MessagesState)
    graph.add_node("node", over_messages(agent(), memory))
    graph.add_edge(START, "node")

    output = list(graph.compile().stream(ASKED, ANA, stream_mode="values"))[-1]

    assert [message.text for message in output["messages"]][-1] == "Take the bus."
    assert said(memory) == TURN


class Listed(TypedDict):
    """A state whose messages get no ids."""

    messages: Annotated[list[Any], operator.add]


@pytest.mark.parametrize("mode", MODES, ids=str)
@both
async def test_messages_without_ids_are_saved_once(
    memory: KronvexMemory, mode: Any, asynchronous: bool
) -> None:
    def first(state: Listed) -> Any:
        return {"messages": [{"role": "assistant", "content": "Let me look."}]}

    def second(state: Listed) -> Any:
        return {"messages": [AIMessage("Take the bus.")]}

    graph = StateGraph(Listed)
    graph.add_sequence([first, second])
    graph.add_edge(START, "first")
    chain = over_messages(graph.compile(), memory)

    await chunks_of(chain, ASKED, asynchronous, stream_mode=mode)

    assert said(memory) == [QUESTION, "ai: Let me look.", "ai: Take the bus."]


def test_a_question_to_the_user_is_not_a_missing_answer(
    memory: KronvexMemory, warnings_logged: Logged
) -> None:
    def ask(state: Question) -> Any:
        return {"answer": interrupt("Which town?")}

    graph = StateGraph(Question)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    config: Any = {"configurable": {"user_id": "ana", "session_id": "chat", "thread_id": "chat"}}
    chain = with_memory(
        graph.compile(checkpointer=InMemorySaver()), memory, input_messages_key="question"
    )

    for mode in ("values", "updates", ["messages", "updates"]):
        list(chain.stream({"question": "Bus or train?"}, config, stream_mode=mode))
    chain.invoke({"question": "Bus or train?"}, config)

    assert said(memory) == [QUESTION] * 4
    assert warnings_logged() == []


# -- other chains -------------------------------------------------------------------------------


DOCUMENTS = [Document("Buses leave at nine.")]
SPOKEN = [QUESTION, "ai: Take the bus."]


@pytest.mark.parametrize(
    ("chunks", "saved"),
    [
        (["Take ", "the bus."], SPOKEN),
        (["Take ", "the bus.", {"sources": ["timetable"]}], SPOKEN),
        (["Take ", "the bus.", {"answer": "Take the bus.", "sources": []}], SPOKEN),
        (["Take ", "the bus.", None], SPOKEN),
        (["Take ", None, "the bus."], SPOKEN),
        ([AIMessageChunk("Take "), AIMessageChunk("the bus.")], SPOKEN),
        ([AIMessageChunk("Take "), AIMessageChunk("the bus."), AIMessage("Take the bus.")], SPOKEN),
        ([AIMessageChunk("Take ", id="1"), AIMessage("Take the bus.", id="1")], SPOKEN),
        ([AIMessageChunk("Take the bus."), {"usage": 7}, None], SPOKEN),
        ([AIMessageChunk("Look.", id="1"), AIMessageChunk("Take it.", id="2")],
         [QUESTION, "ai: Look.", "ai: Take it."]),
        ([AIMessageChunk("Take ", id="lc_run--1"), AIMessageChunk("the bus.", id="r_1")], SPOKEN),
        ([AIMessage("", tool_calls=[calls("t").tool_calls[0]]), ToolMessage("x", tool_call_id="c"),
          AIMessage("Take the bus.")], [QUESTION, "ai: ", "tool: x", "ai: Take the bus."]),
        ([AIMessage("Take the bus."), RemoveMessage(id="7")], SPOKEN),
        ([AIMessage("No.", id="7"), RemoveMessage(id="7"), AIMessage("Take the bus.")], SPOKEN),
        ([AIMessage("No.", id="7"), AIMessage("Take the bus.", id="7")], SPOKEN),
        ([{"answer": "Take "}, {"answer": "the bus."}], SPOKEN),
        ([{"answer": "Take "}, {"answer": "Take the bus."}], SPOKEN),
        ([{"context": DOCUMENTS}, {"answer": "Take "}, {"answer": "the bus."}], SPOKEN),
        ([{"token": "Take "}, {"token": "the bus."}], SPOKEN),
        ([AddableDict(answer="Take "), AddableDict(answer="the bus.")], SPOKEN),
        ([AddableDict(answer="1"), AddableDict(answer="1")], [QUESTION, "ai: 11"]),
        ([AddableDict(answer=AIMessageChunk("Take ")), AddableDict(answer=AIMessageChunk("it."))],
         [QUESTION, "ai: Take it."]),
        ([{"model": {"messages": [AIMessage("Take the bus.", id="1")]}}, {"end": None}], SPOKEN),
        ([{"role": "assistant", "content": "Take the bus."}], SPOKEN),
        ([["Take"], ["the bus"]], [QUESTION, 'ai: ["Take", "the bus"]']),
        ([(AIMessageChunk("Yes."), {"lc_source": "tool_selection"}),
          (AIMessageChunk("Take the bus."), {})], SPOKEN),
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
@both
async def test_what_is_said_in_a_stream(
    memory: KronvexMemory,
    warnings_logged: Logged,
    chunks: list[Any],
    saved: list[str],
    asynchronous: bool,
) -> None:
    def run(inputs: Iterator[Any]) -> Iterator[Any]:
        next(inputs)
        yield from chunks

    async def arun(inputs: AsyncIterator[Any]) -> AsyncIterator[Any]:
        await anext(inputs)
        for chunk in chunks:
            yield chunk

    chain = with_memory(RunnableGenerator(run, arun), memory)

    assert await chunks_of(chain, {"input": "Bus or train?"}, asynchronous) == chunks
    assert said(memory) == saved
    assert warnings_logged() == []


@pytest.mark.parametrize(
    "chunks",
    [
        [{"step": 1, "docs": DOCUMENTS}],
        [{"context": DOCUMENTS}],
        [DOCUMENTS],
        [("custom", {"progress": 1})],
        [("debug", {"type": "task", "step": 1, "payload": {}})],
        [{"type": "custom", "ns": (), "data": "halfway"}],
        [{"input": "Bus or train?", "memory_context": ""}],
        [object()],
    ],
    ids=lambda value: str(value).partition(" at 0x")[0][:60],
)
def test_what_is_not_recognised_is_not_saved_and_said_once(
    memory: KronvexMemory, warnings_logged: Logged, chunks: list[Any]
) -> None:
    def run(inputs: Iterator[Any]) -> Iterator[Any]:
        next(inputs)
        yield from chunks

    list(with_memory(RunnableGenerator(run), memory).stream({"input": "Bus or train?"}, ANA))

    assert said(memory) == [QUESTION]
    assert len(warnings_logged()) == 1
    assert memory.stats().degraded == 1


RAG: dict[str, Any] = {"input": "Bus or train?", "context": DOCUMENTS, "answer": "Take the bus."}


ANSWERED: list[dict[str, Any]] = [
    RAG,
    {"question": "Bus or train?", "documents": DOCUMENTS, "generation": "Take the bus."},
    {"query": "Bus or train?", "result": "Take the bus.", "source_documents": DOCUMENTS},
    {"output_text": AIMessage("Take the bus."), "input_documents": DOCUMENTS},
    {"input": "Bus or train?", "memory_context": "", "own": "Take the bus."},
    {"answer": {"text": "Take the bus.", "citations": [1]}, "context": ["Buses."]},
    {"messages": [("human", "Bus or train?"), ("ai", "Take the bus.")], "context": DOCUMENTS},
]


@each_in_one_way("output", ANSWERED)
async def test_the_answer_in_a_dict_of_other_things(
    memory: KronvexMemory, call: Call, output: dict[str, Any]
) -> None:
    await call(with_memory(RunnableLambda(lambda _: output), memory), {"input": "Bus or train?"})

    assert said(memory) == SPOKEN
    assert memory.stats().degraded == 0


@sync_and_async
async def test_a_chain_that_adds_its_answer_to_what_it_was_given(
    tea_lover: KronvexMemory, call: Call
) -> None:
    model = FakeModel(replies=["Take the bus."])
    adding = RunnablePassthrough.assign(reply=RunnableLambda(lambda d: d["input"]) | model)

    for _ in range(2):
        await call(with_memory(adding, tea_lover), {"input": "Bus or train?"})

    assert said(tea_lover) == SPOKEN * 2
    assert not [text for text in remembered(tea_lover) if "[semantic" in text]


async def test_partial_lists_of_a_json_parser_replace_each_other(memory: KronvexMemory) -> None:
    model = FakeModel(replies=['[{"go": "by bus"}, {"go": "by train"}]'])

    list(with_memory(model | JsonOutputParser(), memory).stream("Bus or train?", ANA))

    assert said(memory) == [QUESTION, 'ai: [{"go": "by bus"}, {"go": "by train"}]']


@pytest.mark.parametrize("call", [invoke, ainvoke])
async def test_an_agent_that_changes_the_prompt_it_returns(
    memory: KronvexMemory, call: Call
) -> None:
    def redacting(messages: list[BaseMessage]) -> list[BaseMessage]:
        shown = [m.model_copy(update={"content": "***"}) for m in messages]
        return [*shown, AIMessage("Noted.")]

    chain = with_memory(RunnableLambda(redacting), memory)
    for text in ("My code is 7.", "It is 8."):
        await call(chain, [HumanMessage(text)])

    assert said(memory) == ["human: My code is 7.", "ai: Noted.", "human: It is 8.", "ai: Noted."]


@pytest.mark.parametrize("call", [invoke, ainvoke])
async def test_a_dict_says_that_memory_was_missing(
    memory: KronvexMemory, faults: Any, call: Call
) -> None:
    faults.fail("recall")

    output = await call(with_memory({"answer": FakeModel()}, memory), "Bus or train?")

    assert output["memory_degraded"] is True
    assert output["answer"].text == "Fine."
