"""The profile before what a turn recalls, in every surface that makes prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.prompts import ChatPromptTemplate
from pydantic import BaseModel

from langchain_kronvex import (
    InvalidInput,
    KronvexError,
    KronvexMemory,
    KronvexMemoryContext,
    KronvexProfile,
    MemoryDraft,
    with_memory,
)
from langchain_kronvex.middleware import KronvexMemoryMiddleware

from .agents import AgentModel, asking
from .models import FakeModel

CONFIG: Any = {"configurable": {"user_id": "ana", "thread_id": "monday"}}
PEANUTS, TEA, HIKE = "Ana is allergic to peanuts.", "Ana prefers tea.", "Ana hiked in May."
QUESTION = "What about tea?"
Ask = Callable[..., str]


class Traveller(BaseModel):
    home: str


@pytest.fixture
def memory() -> Iterator[KronvexMemory]:
    with KronvexMemory("sqlite://") as memory:
        KronvexProfile(memory, Traveller).set("ana", Traveller(home="Porto"))
        memory.remember_many(
            [
                MemoryDraft(HIKE, user_id="ana"),
                MemoryDraft(TEA, user_id="ana", memory_type="preference"),
                MemoryDraft(PEANUTS, user_id="ana", memory_type="fact", pinned=True),
                MemoryDraft("Ben prefers coffee.", user_id="ben", memory_type="fact"),
            ]
        )
        yield memory


def by_context(memory: KronvexMemory, text: str, **options: Any) -> str:
    step = KronvexMemoryContext(memory=memory, **options)
    return str(step.invoke({"input": text}, CONFIG)["memory_context"])


def by_chain(memory: KronvexMemory, text: str, **options: Any) -> str:
    prompt = ChatPromptTemplate.from_messages([("system", "{memory_context}"), ("user", "{input}")])
    model = FakeModel()
    with_memory(prompt | model, memory, **options).invoke({"input": text}, CONFIG)
    return model.prompts[-1][0].text


def by_middleware(memory: KronvexMemory, text: str, **options: Any) -> str:
    model = AgentModel()
    agent: Any = create_agent(model, middleware=[KronvexMemoryMiddleware(memory=memory, **options)])
    agent.invoke(asking(text), CONFIG)
    return model.prompts[-1][0].text


SURFACES = pytest.mark.parametrize(
    "ask", [by_context, by_chain, by_middleware], ids=lambda ask: ask.__name__
)


@SURFACES
def test_the_profile_comes_first_and_nothing_is_said_twice(memory: KronvexMemory, ask: Ask) -> None:
    said = ask(memory, QUESTION, profile_tokens=17, top_k=2)
    lines = [line.partition("] ")[2] or line for line in said.splitlines()]
    assert lines == ["home: Porto", PEANUTS, TEA, HIKE]


@SURFACES
def test_without_it_only_what_was_asked_for_is_recalled(memory: KronvexMemory, ask: Ask) -> None:
    assert [line.partition("] ")[2] for line in ask(memory, QUESTION, top_k=1).splitlines()] == [
        TEA
    ]


@SURFACES
def test_a_greeting_begins_with_what_is_known(memory: KronvexMemory, ask: Ask) -> None:
    said = ask(memory, "Hello!", top_k=3)
    assert said.startswith("home: Porto\n")
    assert PEANUTS in said
    assert "Ben" not in said
    assert "Ana" not in ask(memory, "What is 2+2?", threshold=0.9)


@SURFACES
def test_a_budget_that_does_not_fit_is_refused(memory: KronvexMemory, ask: Ask) -> None:
    with pytest.raises((InvalidInput, KronvexError), match="profile_tokens"):
        ask(memory, QUESTION, profile_tokens=0)


def test_an_empty_message_gets_the_profile(memory: KronvexMemory) -> None:
    picture = HumanMessage([{"type": "image_url", "image_url": {"url": "https://x.test/1.png"}}])
    step = KronvexMemoryContext(memory=memory)
    assert PEANUTS in step.invoke({"input": [picture]}, CONFIG)["memory_context"]


def test_what_the_history_shows_is_not_in_the_profile(memory: KronvexMemory) -> None:
    memory.save_messages([HumanMessage("I ride a bicycle.")], "monday", user_id="ana")
    said = by_chain(memory, QUESTION, profile_tokens=200, top_k=1)
    assert PEANUTS in said
    assert "bicycle" not in said
    assert "bicycle" in by_context(memory, QUESTION, profile_tokens=200, top_k=1)


def test_one_session_only(memory: KronvexMemory) -> None:
    memory.remember("Ana is packing.", memory_type="fact", user_id="ana", session_id="monday")
    said = by_context(memory, QUESTION, profile_tokens=200, this_session_only=True)
    assert said.partition("] ")[2] == "Ana is packing."
