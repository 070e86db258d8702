"""`KronvexMemoryMiddleware` in agents of `create_agent`: recalling and saving."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, fields
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware.types import ModelRequest
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel

from langchain_kronvex import InvalidInput, KronvexMemory, ScopeRequired
from langchain_kronvex.middleware import KronvexMemoryMiddleware

from .agents import (
    AgentCall,
    AgentModel,
    agent_of,
    ainvoke,
    asking,
    calls,
    config_of,
    every_way,
    invoke,
    sync_and_async,
)
from .conftest import Faults
from .models import echo
from .runs import remembered, said

TAKES_SYSTEM_MESSAGES = "system_message" in {field.name for field in fields(ModelRequest)}
LINE = "[semantic, 2026-04-28] Ana prefers tea."
ASKED = asking("tea or coffee?")
EXCHANGE = "User: tea or coffee?\nAssistant: Tea."


@every_way
async def test_the_model_gets_the_memories_and_the_exchange_is_saved(
    tea_lover: KronvexMemory, call: AgentCall
) -> None:
    model = AgentModel(replies=["Tea."])

    state = await call(agent_of(model, tea_lover), ASKED)

    assert model.prompts == [
        [SystemMessage(LINE), HumanMessage("tea or coffee?", id=any_id(state))]
    ]
    assert [(m.type, m.text) for m in state["messages"]] == [
        ("human", "tea or coffee?"), ("ai", "Tea."),
    ]  # fmt: skip
    assert set(state) <= {"messages", "kronvex_turn"}  # ids, which LangGraph shows in a stream
    assert said(tea_lover) == ["human: tea or coffee?", "ai: Tea."]
    assert remembered(tea_lover) == ["Ana prefers tea.", EXCHANGE]


def any_id(state: Any) -> Any:
    return state["messages"][0].id


@every_way
async def test_memories_never_enter_the_state_or_a_checkpoint(
    tea_lover: KronvexMemory, call: AgentCall
) -> None:
    saver = InMemorySaver()
    agent = agent_of(AgentModel(replies=[echo]), tea_lover, checkpointer=saver)

    for text in ("tea or coffee?", "And now?"):
        state = await call(agent, asking(text))

    assert "Ana prefers" not in repr(state)
    stored = repr([saver.storage, saver.writes, saver.blobs])
    assert "And now?" in stored  # the test can read the stored state
    assert "Ana prefers" not in stored
    assert "Ana prefers" not in repr(said(tea_lover))


@sync_and_async
async def test_a_new_thread_recalls_messages_of_another_thread(
    memory: KronvexMemory, call: AgentCall
) -> None:
    model = AgentModel(replies=["Noted.", "You may not."])
    agent = agent_of(model, memory, checkpointer=InMemorySaver())

    await call(agent, asking("I am allergic to peanuts."), config_of(thread_id="monday"))
    await call(agent, asking("May I eat peanuts?"), config_of(thread_id="tuesday"))

    assert "User: I am allergic to peanuts. Assistant: Noted." in model.prompts[1][0].text
    assert len(model.prompts[1]) == 2


CACHED = {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
BLOCK = {"type": "text", "text": f"\n\n{LINE}"}


PLACES: list[tuple[Any, Any]] = [
    (None, LINE),
    ("Be brief.", [{"type": "text", "text": "Be brief."}, BLOCK]),
    (SystemMessage("Be brief."), [{"type": "text", "text": "Be brief."}, BLOCK]),
    (SystemMessage([CACHED]), [CACHED, BLOCK]),
    ("Known: {memory_context}!", f"Known: {LINE}!"),
    ("Known: <memory_context>!", f"Known: {LINE}!"),
    (
        "<memory_context>{memory_context}</memory_context>",
        f"<memory_context>{LINE}</memory_context>",
    ),
    (
        SystemMessage([CACHED, {"type": "text", "text": "{memory_context}"}]),
        [CACHED, {"type": "text", "text": LINE}],
    ),
    (SystemMessage(["{memory_context}", CACHED]), [LINE, CACHED]),
]
if not TAKES_SYSTEM_MESSAGES:  # LangChain 1.0 only accepted texts
    PLACES = [
        (given, SystemMessage(shown).text)
        for given, shown in PLACES
        if not isinstance(given, SystemMessage)
    ]


@sync_and_async
@pytest.mark.parametrize(("given", "shown"), PLACES)
async def test_the_context_is_added_to_any_system_message(
    tea_lover: KronvexMemory, call: AgentCall, given: Any, shown: Any
) -> None:
    model = AgentModel(replies=["Tea."])

    await call(agent_of(model, tea_lover, system_prompt=given), ASKED)

    assert model.prompts[0][0].content == shown
    assert [message.type for message in model.prompts[0]] == ["system", "human"]


@pytest.mark.parametrize(
    ("given", "shown"),
    [(None, None), ("Be brief.", "Be brief."), ("Known: {memory_context}!", "Known: !")],
)
def test_without_memories_nothing_is_added(memory: KronvexMemory, given: Any, shown: Any) -> None:
    model = AgentModel(replies=["Tea."])

    agent_of(model, memory, system_prompt=given).invoke(ASKED, config_of())

    systems = [m.content for m in model.prompts[0] if m.type == "system"]
    assert systems == ([] if shown is None else [shown])


def test_a_placeholder_in_a_memory_is_not_filled(memory: KronvexMemory) -> None:
    memory.remember("Tea is {memory_context} to me.", user_id="ana", memory_type="fact")
    model = AgentModel()

    agent_of(model, memory, system_prompt="Known: {memory_context}").invoke(ASKED, config_of())

    assert model.prompts[0][0].text.count("{memory_context}") == 1


# -- what the messages show already ------------------------------------------------------------


@tool
def kettle(cups: int) -> str:
    """Boil water."""
    return f"{cups} cups are ready"


@tool(return_direct=True)
def menu() -> str:
    """Show the menu."""
    return "Tea, coffee, water"


class Drink(BaseModel):
    name: str
    cups: int = 1


STRUCTURED = {"tools": [], "response_format": ToolStrategy(Drink)}
TURNS = [
    pytest.param([AIMessage("Tea.")], {}, "Tea.", id="plain"),
    pytest.param(
        [calls("kettle", "I boil water.", cups=2), AIMessage("Tea.")],
        {"tools": [kettle]}, "Tea.", id="tool",
    ),
    pytest.param([calls("menu")], {"tools": [menu]}, "Tea, coffee, water", id="direct"),
    pytest.param(
        [calls("Drink", "Here:", name="thé", cups=2)], STRUCTURED,
        '{"name": "thé", "cups": 2}', id="structured",
    ),
    pytest.param(
        [calls("Drink", name=[]), calls("Drink", name="tea", cups=3)], STRUCTURED,
        '{"name": "tea", "cups": 3}', id="structured at the second try",
    ),
    pytest.param(
        [AIMessage('{"name": "tea", "cups": 2}')], {"response_format": ProviderStrategy(Drink)},
        '{"name": "tea", "cups": 2}', id="structured by the provider",
    ),
]  # fmt: skip


@sync_and_async
@pytest.mark.parametrize(("replies", "options", "answer"), TURNS)
async def test_the_users_message_and_the_final_answer_are_saved_and_not_recalled(
    memory: KronvexMemory, call: AgentCall, replies: Any, options: Any, answer: str
) -> None:
    model = AgentModel(replies=[*replies, "Fine."])
    agent = agent_of(model, memory, checkpointer=InMemorySaver(), **options)

    await call(agent, ASKED)

    assert remembered(memory) == [f"User: tea or coffee?\nAssistant: {answer}"]
    assert said(memory) == ["human: tea or coffee?", f"ai: {answer}"]
    assert not memory.load_messages("chat", user_id="ana")[-1].tool_calls  # type: ignore[attr-defined]

    model.replies[:] = [*replies, *replies]
    model.prompts.clear()
    await call(agent, asking("tea or coffee, once more?"))
    assert {message.type for message in model.prompts[0]} & {"system"} == set()

    model.prompts.clear()
    await call(agent, asking("tea or coffee?"), config_of(thread_id="another"))
    assert "once more" in model.prompts[0][0].text


@sync_and_async
async def test_one_turn_recalls_once_however_often_the_model_is_called(
    tea_lover: KronvexMemory, call: AgentCall, faults: Faults
) -> None:
    faults.fail("recall", times=0)  # counts
    model = AgentModel(replies=[calls("kettle", cups=1), calls("kettle", cups=2), "Tea."])

    await call(agent_of(model, tea_lover, tools=[kettle]), ASKED)

    assert [prompt[0].text for prompt in model.prompts] == [LINE] * 3
    assert faults.calls == 1


@sync_and_async
async def test_memories_forgotten_by_a_tool_are_no_longer_shown(
    tea_lover: KronvexMemory, call: AgentCall
) -> None:
    @tool
    def forget_all() -> str:
        """Forget."""
        return str(tea_lover.forget(user_id="ana"))

    model = AgentModel(replies=[calls("forget_all"), "Done."])

    await call(agent_of(model, tea_lover, tools=[forget_all]), ASKED)

    assert [prompt[0].type for prompt in model.prompts] == ["system", "human"]


def test_a_history_passed_by_the_caller_is_not_saved_again(memory: KronvexMemory) -> None:
    agent = agent_of(AgentModel(replies=[echo]), memory)
    history = [HumanMessage("Hi."), AIMessage("Hello."), HumanMessage("tea"), HumanMessage("now")]

    agent.invoke({"messages": history}, config_of())

    assert said(memory) == ["human: tea", "human: now", "ai: You said: now"]
    assert remembered(memory) == ["User: now\nAssistant: You said: now", "User: tea"]


# -- users and sessions ------------------------------------------------------------------------


@dataclass
class Context:
    user_id: str | None = None
    session_id: str | None = None


@sync_and_async
@pytest.mark.parametrize(
    ("fixed", "context", "configurable", "owner", "session"),
    [
        ({"user_id": "ana", "session_id": "s"}, Context("b", "t"), {"user_id": "c"}, "ana", "s"),
        ({"user_id": "ana"}, None, {"session_id": "s", "thread_id": "t"}, "ana", "s"),
        ({}, Context("ana", "s"), {"user_id": "b", "thread_id": "t"}, "ana", "s"),
        ({}, {"user_id": "ana"}, {"user_id": "b", "thread_id": "t"}, "ana", "t"),
        ({}, Context("ana"), {"session_id": "s", "thread_id": "t"}, "ana", "s"),
        ({}, None, {"user_id": "ana", "thread_id": 7}, "ana", "7"),
        ({}, None, {"user_id": "ana"}, "ana", "ana"),
        ({}, None, {"thread_id": "t"}, "t", "t"),
        ({}, {}, {"session_id": "s"}, "s", "s"),
    ],
)
async def test_ids_come_from_the_constructor_the_context_or_the_config(
    memory: KronvexMemory,
    call: AgentCall,
    fixed: Any,
    context: Any,
    configurable: Any,
    owner: str,
    session: str,
) -> None:
    remembering = KronvexMemoryMiddleware(memory=memory, **fixed)
    agent = create_agent(
        AgentModel(), middleware=[remembering], context_schema=Context if context else None
    )

    await call(agent, asking("Hello"), {"configurable": configurable}, context=context)

    (exchange,) = memory.memories(user_id=owner)
    assert exchange.content == "User: Hello\nAssistant: Fine."
    messages = memory.load_messages(session, user_id=exchange.user_id)
    assert [message.text for message in messages] == ["Hello", "Fine."]


@sync_and_async
async def test_without_any_id_the_agent_does_not_run(
    memory: KronvexMemory, call: AgentCall
) -> None:
    model = AgentModel()

    with pytest.raises(ScopeRequired, match="user_id"):
        await call(agent_of(model, memory), asking("Hello"), {"configurable": {"x": 1}})
    with pytest.raises(InvalidInput, match="user_id is blank"):
        await call(agent_of(model, memory), asking("Hello"), config_of(" "))

    assert model.prompts == []


async def test_concurrent_users_see_their_own_memories(memory: KronvexMemory) -> None:
    users = [f"user-{number}" for number in range(8)]
    for user in users:
        memory.remember(f"The secret of {user} is a tea.", user_id=user, memory_type="fact")
    model = AgentModel(replies=[calls("kettle", cups=1)])
    model.replies[:] = [lambda p: echo(p) if p[-1].type == "human" else "?"]
    agent = agent_of(model, memory, checkpointer=InMemorySaver())

    async def talk(user: str) -> None:
        for turn in range(3):
            await ainvoke(
                agent, asking(f"What tea do I like, {user}, {turn}?"), config_of(user, user)
            )
            await asyncio.to_thread(
                agent.invoke, asking(f"Which tea, {user}, {turn}?"), config_of(user, user + "-sync")
            )

    await asyncio.gather(*map(talk, users))

    assert len(model.prompts) == 48
    for prompt in model.prompts:
        (mine,) = {user for user in users if user in prompt[-1].text}
        assert f"secret of {mine} " in prompt[0].text
        assert not [user for user in users if user != mine and user in repr(prompt)]
    for user in users:
        assert len(memory.memories(user_id=user)) == 7


# -- options -----------------------------------------------------------------------------------


def test_options_limit_the_context(memory: KronvexMemory) -> None:
    for number in range(9):
        memory.remember(f"Ana drank tea number {number}.", user_id="ana", memory_type="fact")
    memory.remember("Ana sells tea.", user_id="ana", memory_type="semantic")

    def shown(**options: Any) -> list[str]:
        model = AgentModel()
        remembering = KronvexMemoryMiddleware(memory=memory, remember=False, **options)
        create_agent(model, middleware=[remembering]).invoke(ASKED, config_of())
        return model.prompts[0][0].text.splitlines()

    assert len(shown()) == 8
    assert len(shown(top_k=3)) == 3
    assert len(shown(max_tokens=25)) == 2
    assert [line[-14:] for line in shown(memory_type="semantic")] == ["Ana sells tea."]
    assert len(memory.memories(user_id="ana")) == 10  # `remember=False` saved nothing
    assert said(memory) == []


@pytest.mark.parametrize(
    "options",
    [{"top_k": 0}, {"max_tokens": 0}, {"memory_type": "dream"}, {"on_error": "hide"},
     {"user_id": ""}, {"session_id": "\0"}],
)  # fmt: skip
def test_an_invalid_option_raises_at_once(memory: KronvexMemory, options: Any) -> None:
    with pytest.raises(InvalidInput, match=next(iter(options))):
        KronvexMemoryMiddleware(memory=memory, **options)


async def test_a_history_and_an_agent_share_one_session(memory: KronvexMemory) -> None:
    """A history and an agent with the same session have the same messages."""
    await invoke(agent_of(AgentModel(replies=["Noted."]), memory), asking("I like mate."))

    history = memory.chat_history("chat", user_id="ana")

    assert [message.text for message in history.messages] == ["I like mate.", "Noted."]
