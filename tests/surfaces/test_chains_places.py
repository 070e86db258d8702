"""Memories reach the prompt in both of its forms, or the program is told that they do not."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from operator import itemgetter
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate, PromptTemplate
from langchain_core.runnables import (
    RunnableBranch,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
)

from inside import warn_once
from langchain_kronvex import KronvexMemory, KronvexMemoryContext, with_memory

from .agents import AgentModel
from .models import FakeModel
from .runs import ANA, Call, each_in_one_way, said, sync_and_async

Logged = Callable[[], list[str]]
LINE = "[semantic, 2026-04-28] Ana prefers tea."
ASKED = {"input": "tea or coffee?"}


@pytest.fixture(autouse=True)
def nothing_said_before() -> None:
    """Each test is a program of its own: a warning appears once in each."""
    warn_once.cache_clear()


ASK = ("human", "{input}")
VARIABLE = ChatPromptTemplate.from_messages([("system", "K: {memory_context}"), ASK])
LITERAL = ChatPromptTemplate.from_messages([("system", "K: <memory_context>"), ASK])
MESSAGE = ChatPromptTemplate.from_messages([SystemMessage("K: <memory_context>"), ASK])
TEXT = PromptTemplate.from_template("K: <memory_context>\n{input}")
NOWHERE = ChatPromptTemplate.from_messages([("system", "Be brief."), ASK])
PROMPTS = [VARIABLE, LITERAL, MESSAGE, TEXT]


def of(prompt: Any, model: Any) -> list[Any]:
    """Chains of many forms around a prompt."""
    chain = prompt | model
    return [
        chain,
        RunnablePassthrough.assign(lang=lambda _: "en") | chain,
        chain.with_retry(),
        chain.with_config(tags=["chat"]),
        chain.with_fallbacks([chain]),
        RunnableBranch((lambda d: "?" in d["input"], chain), chain),
        RunnableParallel(answer=chain) | itemgetter("answer"),
        RunnableLambda(dict) | chain,
    ]


@each_in_one_way("form", range(8))
@pytest.mark.parametrize("prompt", PROMPTS, ids=["variable", "literal", "message", "text"])
async def test_both_forms_are_filled_under_with_memory(
    tea_lover: KronvexMemory, warnings_logged: Logged, prompt: Any, form: int, call: Call
) -> None:
    model = FakeModel()
    chain = with_memory(of(prompt, model)[form], tea_lover)

    await call(chain, ASKED)

    assert f"K: {LINE}" in model.shown
    assert "<memory_context>" not in model.shown
    assert said(tea_lover) == ["human: tea or coffee?", "ai: Fine."]
    assert warnings_logged() == []


@pytest.mark.parametrize("prompt", PROMPTS, ids=["variable", "literal", "message", "text"])
@sync_and_async
async def test_both_forms_are_filled_after_a_context_step(
    tea_lover: KronvexMemory, warnings_logged: Logged, prompt: Any, call: Call
) -> None:
    model, step = FakeModel(), KronvexMemoryContext(memory=tea_lover)

    await call(step | prompt | model, ASKED)
    assert f"K: {LINE}" in model.shown
    await call(step | (prompt | model), ASKED)

    assert f"K: {LINE}" in model.shown
    assert warnings_logged() == []


def test_a_step_after_the_prompt_fills_it_too(tea_lover: KronvexMemory) -> None:
    model, step = FakeModel(), KronvexMemoryContext(memory=tea_lover)

    (LITERAL | step | model).invoke(ASKED, ANA)

    assert f"K: {LINE}" in model.shown


def test_a_placeholder_among_the_messages_of_a_dict_is_filled(tea_lover: KronvexMemory) -> None:
    model = AgentModel()
    chain = with_memory(create_agent(model), tea_lover, input_messages_key="messages")
    value = [SystemMessage("K: <memory_context>"), HumanMessage("tea or coffee?")]

    chain.invoke({"messages": value}, ANA)

    assert f"K: {LINE}" in model.shown
    assert said(tea_lover) == ["human: tea or coffee?", "ai: Fine."]


def test_another_name_of_the_key(tea_lover: KronvexMemory, warnings_logged: Logged) -> None:
    model = FakeModel()
    named = ChatPromptTemplate.from_template("K: {known} {input}")

    for prompt in (named, LITERAL):
        with_memory(prompt | model, tea_lover, context_key="known").invoke(ASKED, ANA)
        assert f"K: {LINE}" in model.shown

    assert warnings_logged() == []


def test_a_chain_whose_prompt_is_filled_can_be_copied(tea_lover: KronvexMemory) -> None:
    step = KronvexMemoryContext(memory=tea_lover)
    prompt = (step | LITERAL).steps[-1]

    copy = pickle.loads(pickle.dumps(prompt))

    filled = copy.invoke({"input": "tea?", "memory_context": LINE})
    assert filled.to_messages()[0].text == f"K: {LINE}"


def test_words_of_the_user_are_not_a_placeholder(tea_lover: KronvexMemory) -> None:
    model = FakeModel()

    with_memory(LITERAL | model, tea_lover).invoke({"input": "tea <memory_context>?"}, ANA)

    assert model.prompts[-1][-1].text == "tea <memory_context>?"


@pytest.mark.parametrize("form", range(4))
def test_a_chain_without_a_place_for_memories_is_told_once(
    tea_lover: KronvexMemory, warnings_logged: Logged, form: int
) -> None:
    chain = with_memory(of(NOWHERE, FakeModel())[form], tea_lover)

    for _ in range(2):
        chain.invoke(ASKED, ANA)

    (warning,) = warnings_logged()
    assert "{memory_context}" in warning
    assert tea_lover.stats().degraded == 0


def test_an_agent_and_a_step_without_a_place_are_told(
    tea_lover: KronvexMemory, warnings_logged: Logged
) -> None:
    with_memory(create_agent(AgentModel()), tea_lover, input_messages_key="messages")
    warn_once.cache_clear()
    KronvexMemoryContext(memory=tea_lover) | NOWHERE

    first, second = warnings_logged()
    assert "KronvexMemoryMiddleware" in first
    assert "{memory_context}" in second


@pytest.mark.parametrize(
    "chain",
    [
        RunnableLambda(lambda d: {**d}) | NOWHERE,
        RunnableLambda(lambda d: d["memory_context"]),
        {"input": itemgetter("input"), "known": itemgetter("memory_context")} | NOWHERE,
        FakeModel(),
        lambda _: "Fine.",
    ],
    ids=["function", "reads it", "under another name", "model", "plain function"],
)
def test_chains_that_may_use_the_context_are_not_warned_about(
    memory: KronvexMemory, warnings_logged: Logged, chain: Any
) -> None:
    with_memory(chain, memory)

    assert warnings_logged() == []
