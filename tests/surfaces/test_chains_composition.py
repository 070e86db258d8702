"""`with_memory` in larger chains: bound, configured, retried, piped, nested."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import (
    Runnable,
    RunnableBranch,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
)

from langchain_kronvex import KronvexMemory, ScopeRequired, with_memory

from .models import FakeModel, ModelDown, echo
from .runs import (
    ANA,
    ASYNC_CONFIG_COMES_ALONG,
    Call,
    ainvoke,
    every_way,
    ids,
    invoke,
    remembered,
    said,
    sync_and_async,
)

PROMPT = ChatPromptTemplate.from_messages(
    [
        ("system", "Known: {memory_context}"),
        MessagesPlaceholder("chat_history"),
        ("human", "{input}"),
    ]
)
EXCHANGE = ["human: Hello", "ai: You said: Hello"]


def talker(memory: KronvexMemory, **options: Any) -> Runnable[Any, Any]:
    return with_memory(PROMPT | FakeModel(replies=[echo]), memory, **options)


@sync_and_async
async def test_steps_before_and_after(memory: KronvexMemory, call: Call) -> None:
    front = RunnableLambda(lambda text: {"input": text})
    chain = front | talker(memory) | StrOutputParser() | RunnableLambda(str.upper)

    assert await call(chain, "Hello") == "YOU SAID: HELLO"
    assert said(memory) == EXCHANGE


@every_way
async def test_a_nested_chain_takes_the_scope_from_the_config(
    memory: KronvexMemory, call: Call
) -> None:
    parallel: Runnable[Any, Any] = RunnableParallel(answer=talker(memory), asked=lambda d: d)
    chain = RunnablePassthrough.assign(lang=lambda _: "en") | parallel | (lambda d: d["answer"])

    await call(chain, {"input": "Hello"})

    assert said(memory) == EXCHANGE


async def test_inside_a_function_the_chain_takes_the_scope_of_the_outer_run(
    memory: KronvexMemory,
) -> None:
    inner = talker(memory)

    def step(text: str) -> str:
        return str(inner.invoke({"input": text}).text)

    async def astep(text: str) -> str:
        return str((await inner.ainvoke({"input": text})).text)

    chain = RunnableLambda(step, astep)

    chain.invoke("Hello", ANA)
    assert said(memory) == EXCHANGE

    if ASYNC_CONFIG_COMES_ALONG:
        await chain.ainvoke("Bye", ANA)
        assert said(memory) == [*EXCHANGE, "human: Bye", "ai: You said: Bye"]


@sync_and_async
async def test_a_bound_config(memory: KronvexMemory, call: Call) -> None:
    chain = talker(memory).with_config(configurable={"user_id": "ana", "session_id": "chat"})

    await call(chain, {"input": "Hello"}, None)

    assert said(memory) == EXCHANGE


@pytest.mark.parametrize("call", [invoke, ainvoke])  # LangChain does not retry streams
async def test_a_retry_inside_saves_the_turn_once(memory: KronvexMemory, call: Call) -> None:
    model = FakeModel(replies=[ModelDown(), ModelDown(), "Here I am."])
    retried = (PROMPT | model).with_retry(
        stop_after_attempt=3, wait_exponential_jitter=False, retry_if_exception_type=(ModelDown,)
    )
    await call(with_memory(retried, memory), {"input": "Hello?"})

    assert said(memory) == ["human: Hello?", "ai: Here I am."]


@sync_and_async
async def test_a_fallback_inside_saves_the_turn_once(memory: KronvexMemory, call: Call) -> None:
    down, up = FakeModel(replies=[ModelDown()]), FakeModel(replies=["From the other one."])
    chain = with_memory(PROMPT | down.with_fallbacks([up]), memory)

    await call(chain, {"input": "Hello?"})

    assert said(memory) == ["human: Hello?", "ai: From the other one."]


@sync_and_async
async def test_a_fallback_outside_answers(memory: KronvexMemory, call: Call) -> None:
    down = with_memory(PROMPT | FakeModel(replies=[ModelDown()]), memory)
    up = PROMPT.partial(chat_history=[], memory_context="") | FakeModel(replies=["From above."])

    output = await call(down.with_fallbacks([up]), {"input": "Hello?"})

    assert output.text == "From above."
    assert said(memory) == ["human: Hello?"]


class Bound(FakeModel):
    """Records the arguments that were bound to it."""

    bound: list[Any] = []  # noqa: RUF012 - a pydantic field

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Any:
        self.bound.append((stop, kwargs.get("temperature")))
        return super()._generate(messages, stop, run_manager, **kwargs)


async def test_bound_arguments_reach_the_chain(memory: KronvexMemory) -> None:
    model = Bound()
    chain = with_memory(model, memory).bind(stop=["\n"], temperature=0.5)

    chain.invoke("Hello", ANA)
    await chain.ainvoke("Hello", ANA)

    assert model.bound == [(["\n"], 0.5)] * 2
    assert len(said(memory)) == 4


def test_listeners_and_types_keep_working(memory: KronvexMemory) -> None:
    ended: list[Any] = []
    chain = talker(memory).with_listeners(on_end=lambda run: ended.append(run.name))

    chain.invoke({"input": "Hello"}, ANA)

    assert ended == ["with_memory"]
    assert said(memory) == EXCHANGE


def test_in_a_branch(memory: KronvexMemory) -> None:
    branch = RunnableBranch((lambda d: "?" in d["input"], talker(memory)), lambda d: "silent")

    assert branch.invoke({"input": "Hello"}, ANA) == "silent"
    branch.invoke({"input": "Hello?"}, ANA)

    assert said(memory) == ["human: Hello?", "ai: You said: Hello?"]


def test_the_graph_can_be_drawn(memory: KronvexMemory) -> None:
    assert talker(memory).get_graph().nodes
    assert talker(memory).get_input_jsonschema()
    assert talker(memory).get_output_jsonschema()


async def test_the_run_is_traced_with_the_chain_inside(memory: KronvexMemory) -> None:
    events = [e async for e in talker(memory).astream_events({"input": "Hello"}, ANA)]
    models = [e for e in events if e["event"] == "on_chat_model_end"]

    assert events[0]["name"] == "with_memory"
    assert len(models) == 1
    assert events[0]["run_id"] in models[0]["parent_ids"]


def turns(number: int) -> tuple[list[Any], list[Any]]:
    users = [f"user-{n % 5}" for n in range(number)]
    values = [{"input": f"This is {user}, turn {n}."} for n, user in enumerate(users)]
    return values, [ids(user) for user in users]


def check_nobody_crossed(memory: KronvexMemory, model: FakeModel, number: int) -> None:
    for user in {f"user-{n % 5}" for n in range(number)}:
        texts = said(memory, user)
        assert len(texts) == 2 * len([n for n in range(number) if f"user-{n % 5}" == user])
        assert all(user in text for text in texts)
    for prompt in model.prompts:
        asked = prompt[-1].text
        user = asked.split(",")[0].removeprefix("This is ")
        others = {f"user-{n}" for n in range(5)} - {user}
        whole = " ".join(message.text for message in prompt)
        assert not [other for other in others if other in whole]


@pytest.mark.parametrize("concurrency", [None, 3])
def test_a_batch_keeps_users_apart(memory: KronvexMemory, concurrency: int | None) -> None:
    model = FakeModel(replies=[echo])
    chain = with_memory(PROMPT | model, memory)
    values, configs = turns(20)

    chain.batch(values, [{**config, "max_concurrency": concurrency} for config in configs])

    check_nobody_crossed(memory, model, 20)


async def test_an_async_batch_keeps_users_apart(memory: KronvexMemory) -> None:
    model = FakeModel(replies=[echo])
    chain = with_memory(PROMPT | model, memory)
    values, configs = turns(20)

    await chain.abatch(values, configs)

    check_nobody_crossed(memory, model, 20)


def test_a_batch_returns_errors_in_their_places(memory: KronvexMemory) -> None:
    def answer(prompt: Any) -> str:
        if prompt[-1].text == "b":
            raise ModelDown
        return "Fine."

    chain = with_memory(FakeModel(replies=[answer]), memory)

    found = chain.batch(["a", "b", "c"], [ids(user) for user in "abc"], return_exceptions=True)

    assert [type(output) for output in found] == [AIMessage, ModelDown, AIMessage]
    assert said(memory, "b") == ["human: b"]


async def test_two_concurrent_turns_of_one_session_are_both_kept(memory: KronvexMemory) -> None:
    both_inside = threading.Barrier(2)

    def answer(prompt: Any) -> str:
        both_inside.wait(10)
        return f"You said: {prompt[-1].text}"

    chain = with_memory(FakeModel(replies=[answer]), memory)

    await asyncio.gather(
        asyncio.to_thread(chain.invoke, "one", ANA), asyncio.to_thread(chain.invoke, "two", ANA)
    )

    assert sorted(said(memory)) == [
        "ai: You said: one", "ai: You said: two", "human: one", "human: two",
    ]  # fmt: skip
    assert remembered(memory) == [
        "User: one\nAssistant: You said: one", "User: two\nAssistant: You said: two",
    ]  # fmt: skip


@pytest.mark.parametrize("config", [None, {}, {"configurable": {"other": "x"}}])
@sync_and_async
async def test_without_a_scope_the_error_says_what_to_pass(
    memory: KronvexMemory, call: Call, config: Any
) -> None:
    model = FakeModel()

    with pytest.raises(ScopeRequired, match=r"configurable.*user_id"):
        await call(with_memory(model, memory), "Hello", config)
    assert model.prompts == []
    assert memory.stats().messages == 0


def test_users_sessions_or_both_name_the_scope(memory: KronvexMemory) -> None:
    chain = with_memory(FakeModel(replies=["Fine."]), memory)

    chain.invoke("user only", {"configurable": {"user_id": "ana"}})
    chain.invoke("session only", {"configurable": {"session_id": "bob"}})
    chain.invoke("both", ids("carla", "monday"))

    assert said(memory, "ana", "ana") == ["human: user only", "ai: Fine."]
    assert said(memory, None, "bob") == ["human: session only", "ai: Fine."]
    assert said(memory, "carla", "monday") == ["human: both", "ai: Fine."]
    assert said(memory, "carla", "tuesday") == []
    assert said(memory, "dora", "monday") == []


def test_ids_of_the_constructor_win(memory: KronvexMemory) -> None:
    fixed = with_memory(FakeModel(), memory, user_id="ana", session_id="chat")
    half = with_memory(FakeModel(), memory, user_id="bob")

    fixed.invoke([HumanMessage("Hello")], ids("mallory", "other"))
    half.invoke([HumanMessage("Hello")], ids("mallory", "monday"))

    assert len(said(memory, "ana", "chat")) == 2
    assert len(said(memory, "bob", "monday")) == 2
    assert said(memory, "mallory", "other") == []
    assert remembered(memory, "mallory") == []
