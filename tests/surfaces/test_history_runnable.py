"""`RunnableWithMessageHistory` with our histories: every form of call, nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from operator import itemgetter
from typing import Any

import pytest
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import (
    ConfigurableFieldSpec,
    Runnable,
    RunnableLambda,
    RunnableWithMessageHistory,
)

from inside import warn_once
from langchain_kronvex import KronvexMemory

from .models import FakeModel, ModelDown, echo

Chain = Runnable[Any, Any]
CONFIG: Any = {"configurable": {"session_id": "chat"}}
PROMPT = ChatPromptTemplate.from_messages(
    [("system", "Be brief."), MessagesPlaceholder("chat_history"), ("human", "{input}")]
)


async def invoke(chain: Chain, value: Any, config: Any = CONFIG) -> None:
    chain.invoke(value, config)


async def ainvoke(chain: Chain, value: Any, config: Any = CONFIG) -> None:
    await chain.ainvoke(value, config)


async def stream(chain: Chain, value: Any, config: Any = CONFIG) -> None:
    assert len(list(chain.stream(value, config))) > 1


async def astream(chain: Chain, value: Any, config: Any = CONFIG) -> None:
    assert len([chunk async for chunk in chain.astream(value, config)]) > 1


async def batch(chain: Chain, value: Any, config: Any = CONFIG) -> None:
    chain.batch([value], config)


async def astream_events(chain: Chain, value: Any, config: Any = CONFIG) -> None:
    assert [event async for event in chain.astream_events(value, config, version="v2")]


WAYS = [invoke, ainvoke, stream, astream, batch, astream_events]


def with_keys(model: FakeModel, memory: KronvexMemory) -> Chain:
    return RunnableWithMessageHistory(
        PROMPT | model,
        memory.chat_history,
        input_messages_key="input",
        history_messages_key="chat_history",
    )


def with_text_output(model: FakeModel, memory: KronvexMemory) -> Chain:
    return RunnableWithMessageHistory(
        PROMPT | model | StrOutputParser(),
        memory.chat_history,
        input_messages_key="input",
        history_messages_key="chat_history",
    )


def with_input_key_alone(model: FakeModel, memory: KronvexMemory) -> Chain:
    return RunnableWithMessageHistory(
        itemgetter("input") | model, memory.chat_history, input_messages_key="input"
    )


def bare_model(model: FakeModel, memory: KronvexMemory) -> Chain:
    return RunnableWithMessageHistory(model, memory.chat_history)


def dict_output(model: FakeModel, memory: KronvexMemory) -> Chain:
    answer = model | (lambda message: {"answer": message, "sources": []})
    return RunnableWithMessageHistory(
        PROMPT | answer,
        memory.chat_history,
        input_messages_key="input",
        history_messages_key="chat_history",
        output_messages_key="answer",
    )


def as_dict(text: str) -> Any:
    return {"input": text}


def as_dict_of_message(text: str) -> Any:
    return {"input": [HumanMessage(text)]}


def as_text(text: str) -> Any:
    return text


def as_message(text: str) -> Any:
    return HumanMessage(text)


def as_messages(text: str) -> Any:
    return [HumanMessage(text)]


SHAPES = [
    (with_keys, as_dict),
    (with_text_output, as_dict),
    (with_input_key_alone, as_dict),
    (with_input_key_alone, as_dict_of_message),
    (bare_model, as_text),
    (bare_model, as_message),
    (bare_model, as_messages),
]
every_shape_and_way = pytest.mark.parametrize(
    ("call", "make", "shape"),
    [(way, *shape) for way, shape in zip(cycle(WAYS), SHAPES)],
)


@every_shape_and_way
async def test_consecutive_turns_store_nothing_twice(
    memory: KronvexMemory,
    make: Callable[[FakeModel, KronvexMemory], Chain],
    shape: Callable[[str], Any],
    call: Callable[..., Any],
) -> None:
    model = FakeModel(replies=[echo])
    chain = make(model, memory)

    for said in ("I drink tea.", "What do I drink?", "Thank you."):
        await call(chain, shape(said))

    assert [(m.type, m.text) for m in memory.chat_history("chat").messages] == [
        ("human", "I drink tea."),
        ("ai", "You said: I drink tea."),
        ("human", "What do I drink?"),
        ("ai", "You said: What do I drink?"),
        ("human", "Thank you."),
        ("ai", "You said: Thank you."),
    ]
    shown = [message.text for message in model.prompts[-1] if message.type != "system"]
    assert shown == [
        "I drink tea.",
        "You said: I drink tea.",
        "What do I drink?",
        "You said: What do I drink?",
        "Thank you.",
    ]


async def test_a_dict_output_is_stored_by_its_key(memory: KronvexMemory) -> None:
    chain = dict_output(FakeModel(replies=["Fine.", "Good."]), memory)

    await invoke(chain, {"input": "How are you?"})
    await ainvoke(chain, {"input": "And now?"})

    assert [m.text for m in memory.chat_history("chat").messages] == [
        "How are you?", "Fine.", "And now?", "Good.",
    ]  # fmt: skip


def test_the_factory_takes_any_user_and_session(memory: KronvexMemory) -> None:
    chain = RunnableWithMessageHistory(
        PROMPT | FakeModel(),
        memory.chat_history,
        input_messages_key="input",
        history_messages_key="chat_history",
        history_factory_config=[
            ConfigurableFieldSpec(id="user_id", annotation=str, is_shared=True),
            ConfigurableFieldSpec(id="session_id", annotation=str, is_shared=True),
        ],
    )

    for user in ("ana", "bob"):
        config: Any = {"configurable": {"user_id": user, "session_id": "chat"}}
        chain.invoke({"input": f"I am {user}."}, config)

    assert memory.chat_history("chat", "ana").messages[0].text == "I am ana."
    assert memory.chat_history("chat", "bob").messages[0].text == "I am bob."
    assert memory.chat_history("chat").messages == []


def test_exchanges_become_memories_found_by_the_users_words(memory: KronvexMemory) -> None:
    chain = with_keys(FakeModel(replies=["Lovely name."]), memory)

    chain.invoke({"input": "My cat is called Momo."}, CONFIG)

    [found] = memory.recall("What is the cat called?", session_id="chat")
    assert found.content == "User: My cat is called Momo.\nAssistant: Lovely name."


def somebody_else_writes(memory: KronvexMemory) -> Callable[[Any], str]:
    def reply(prompt: Any) -> str:
        memory.chat_history("chat").add_messages([HumanMessage("Me too!"), AIMessage("Welcome.")])
        return "Noted."

    return reply


@every_shape_and_way
async def test_messages_written_by_others_during_a_run_displace_nothing(
    memory: KronvexMemory,
    make: Callable[[FakeModel, KronvexMemory], Chain],
    shape: Callable[[str], Any],
    call: Callable[..., Any],
) -> None:
    chain = make(FakeModel(replies=[somebody_else_writes(memory), "Fine. Really."]), memory)

    await invoke(chain, shape("I drink tea."))
    await call(chain, shape("How are you?"))

    texts = [message.text for message in memory.chat_history("chat").messages]
    assert texts == ["Me too!", "Welcome.", "I drink tea.", "Noted.", "How are you?",
                     "Fine. Really."]  # fmt: skip


def cached(memory: KronvexMemory) -> Callable[[str], BaseChatMessageHistory]:
    """A factory that keeps one history object for each session, like many programs."""
    histories: dict[str, BaseChatMessageHistory] = {}

    def history(session_id: str) -> BaseChatMessageHistory:
        return histories.setdefault(session_id, memory.chat_history(session_id))

    return history


def test_a_reused_history_object_sees_new_messages_after_a_failed_run(
    memory: KronvexMemory,
) -> None:
    factory = cached(memory)
    model = FakeModel(replies=[ModelDown(), "Fine."])
    chain = RunnableWithMessageHistory(model, factory)
    with pytest.raises(ModelDown):
        chain.invoke("Hello?", CONFIG)
    memory.chat_history("chat").add_messages([HumanMessage("Me too!"), AIMessage("Welcome.")])

    assert [m.text for m in factory("chat").messages] == ["Me too!", "Welcome."]

    chain.invoke("Hello again?", CONFIG)
    assert [m.text for m in model.prompts[-1]] == ["Me too!", "Welcome.", "Hello again?"]
    assert [m.text for m in factory("chat").messages] == [
        "Me too!", "Welcome.", "Hello again?", "Fine.",
    ]  # fmt: skip


def test_a_step_that_reads_the_history_itself_changes_nothing(memory: KronvexMemory) -> None:
    seen: list[int] = []

    def look(messages: Any, config: Any) -> Any:
        seen.append(len(config["configurable"]["message_history"].messages))
        memory.chat_history("chat").add_user_message("Me too!")
        return messages

    chain = RunnableWithMessageHistory(RunnableLambda(look) | FakeModel(), memory.chat_history)

    chain.invoke("Hello?", CONFIG)

    assert seen == [0]
    assert [m.text for m in memory.chat_history("chat").messages] == ["Me too!", "Hello?", "Fine."]


async def test_a_failed_run_stores_nothing(memory: KronvexMemory) -> None:
    chain = with_keys(FakeModel(replies=[ModelDown()]), memory)

    with pytest.raises(ModelDown):
        await ainvoke(chain, {"input": "Hello?"})

    assert memory.chat_history("chat").messages == []


def test_a_limited_history_stays_stable_during_a_run(memory: KronvexMemory) -> None:
    from langchain_kronvex import KronvexChatMessageHistory

    def limited(session_id: str) -> KronvexChatMessageHistory:
        return KronvexChatMessageHistory(session_id, memory=memory, max_messages=2)

    model = FakeModel(replies=[echo])
    chain = RunnableWithMessageHistory(model, limited)
    for said in ("one", "two", "three"):
        chain.invoke(said, CONFIG)

    assert [m.text for m in model.prompts[-1]] == ["two", "You said: two", "three"]
    assert len(memory.chat_history("chat").messages) == 6


# -- which session, and whose ------------------------------------------------------------------


def keyed(memory: KronvexMemory, factory: Any = None, *keys: str) -> Chain:
    return RunnableWithMessageHistory(
        PROMPT | FakeModel(),
        factory or memory.chat_history,
        input_messages_key="input",
        history_messages_key="chat_history",
        history_factory_config=[ConfigurableFieldSpec(id=key, annotation=str) for key in keys]
        or None,
    )


def ids(**configurable: str) -> Any:
    return {"configurable": configurable}


def test_thread_id_can_name_the_session(memory: KronvexMemory) -> None:
    keyed(memory, None, "thread_id").invoke({"input": "Hi."}, ids(thread_id="monday"))
    keyed(
        memory, lambda thread_id, user_id: memory.chat_history(thread_id, user_id),
        "thread_id", "user_id",
    ).invoke({"input": "Hi, I am Ana."}, ids(thread_id="monday", user_id="ana"))  # fmt: skip

    assert len(memory.load_messages("monday")) == 2
    assert len(memory.load_messages("monday", user_id="ana")) == 2


@pytest.mark.parametrize("times", [1, 3])
def test_a_user_that_does_not_reach_the_history_is_reported_once(
    memory: KronvexMemory, warnings_logged: Callable[[], list[str]], times: int
) -> None:
    warn_once.cache_clear()
    chain = keyed(memory)

    for _ in range(times):
        chain.invoke({"input": "Hi."}, ids(session_id="monday", user_id="ana"))

    (warning,) = warnings_logged()
    assert "history_factory_config" in warning
    assert "ana" not in warning
    assert memory.memories(user_id="ana") == []


async def test_a_user_that_reaches_the_history_is_not_reported(
    memory: KronvexMemory, warnings_logged: Callable[[], list[str]]
) -> None:
    warn_once.cache_clear()
    config = ids(session_id="monday", user_id="ana")

    keyed(memory, None, "session_id", "user_id").invoke({"input": "Hi."}, config)
    await keyed(memory, None, "session_id", "user_id").ainvoke({"input": "Hi."}, config)
    keyed(memory, lambda session_id: memory.chat_history(session_id, "ana")).invoke(
        {"input": "Hi."}, config
    )
    keyed(memory).invoke({"input": "Hi."}, ids(session_id="monday"))

    assert warnings_logged() == []
