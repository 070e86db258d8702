"""Histories, the context step and `with_memory` used together in a chat program."""

from __future__ import annotations

from typing import Any

from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnablePassthrough, RunnableWithMessageHistory

from conftest import OpenMemory
from langchain_kronvex import KronvexMemory, KronvexMemoryContext, with_memory

from .models import FakeModel
from .runs import Call, ids, remembered, said, sync_and_async

PROMPT = ChatPromptTemplate.from_messages(
    [
        ("system", "Known:\n{memory_context}"),
        MessagesPlaceholder("chat_history"),
        ("human", "{input}"),
    ]
)


def chat(memory: KronvexMemory, model: FakeModel) -> Any:
    """A chat with a history and a context step, both keyed by the session."""
    return RunnableWithMessageHistory(
        KronvexMemoryContext(memory=memory) | PROMPT | model,
        memory.chat_history,
        input_messages_key="input",
        history_messages_key="chat_history",
    )


@sync_and_async
async def test_history_and_context_in_one_chain(memory: KronvexMemory, call: Call) -> None:
    memory.remember("Ana is allergic to peanuts.", memory_type="semantic", session_id="ana")
    model = FakeModel(replies=["Noted.", "No peanuts."])
    chain = chat(memory, model)
    config: Any = {"configurable": {"session_id": "ana"}}

    await call(chain, {"input": "I drink tea."}, config)
    await call(chain, {"input": "Which nuts is Ana allergic to, tea or peanuts?"}, config)

    system, *rest = model.prompts[-1]
    assert [message.text for message in rest] == [
        "I drink tea.", "Noted.", "Which nuts is Ana allergic to, tea or peanuts?",
    ]  # fmt: skip
    assert "allergic to peanuts" in system.text
    assert "I drink tea" not in system.text  # the history shows it
    assert len(said(memory, None, "ana")) == 4
    assert len(remembered(memory, "ana")) == 3


@sync_and_async
async def test_everything_survives_a_restart(open_memory: OpenMemory, call: Call) -> None:
    first = open_memory()
    config: Any = {"configurable": {"session_id": "ana"}}
    await call(chat(first, FakeModel(replies=["Lovely name."])), {"input": "I am Ana."}, config)
    first.close()

    model = FakeModel()
    await call(chat(open_memory(), model), {"input": "Who am I?"}, config)

    assert [m.text for m in model.prompts[0][1:]] == ["I am Ana.", "Lovely name.", "Who am I?"]


@sync_and_async
async def test_histories_and_with_memory_share_one_session(
    memory: KronvexMemory, call: Call
) -> None:
    await call(with_memory(FakeModel(replies=["Lovely name."]), memory), "I am Ana.")
    memory.chat_history("chat", "ana").add_user_message("Are you there?")
    await call(with_memory(FakeModel(replies=["Yes."]), memory), "Hello?")

    assert said(memory) == [
        "human: I am Ana.",
        "ai: Lovely name.",
        "human: Are you there?",
        "human: Hello?",
        "ai: Yes.",
    ]


async def test_a_retriever_finds_exchanges_saved_by_with_memory(memory: KronvexMemory) -> None:
    chain = with_memory(FakeModel(replies=["Lovely name."]), memory)
    chain.invoke("My cat is called Momo.", ids("ana", "monday"))
    model = FakeModel()
    sources = RunnablePassthrough.assign(
        sources=(lambda d: d["input"]) | memory.as_retriever(k=1, user_id="ana")
    )

    prompt = ChatPromptTemplate.from_template("{sources}\n{input}")
    await (sources | prompt | model).ainvoke({"input": "What is the cat called?"})

    assert "Momo" in model.shown
