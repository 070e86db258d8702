"""`KronvexMemoryMiddleware` with middleware that sets the system message."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import dynamic_prompt, wrap_model_call
from langchain_core.messages import SystemMessage

from langchain_kronvex import KronvexMemory
from langchain_kronvex.middleware import KronvexMemoryMiddleware

from .agents import Agent, AgentCall, AgentModel, asking, every_way, sync_and_async
from .models import ModelDown
from .test_middleware import TAKES_SYSTEM_MESSAGES

LINE = "[semantic, 2026-04-28] Ana prefers tea."
ASKED = asking("tea or coffee?")
in_any_order = pytest.mark.parametrize("first", [True, False], ids=["memory first", "last"])


def prompted(
    memory: KronvexMemory, model: AgentModel, other: Any, *, first: bool, **options: Any
) -> Agent:
    remembering: Any = KronvexMemoryMiddleware(memory=memory)
    middleware = [remembering, other] if first else [other, remembering]
    return create_agent(model, middleware=middleware, **options)


@every_way
@in_any_order
@pytest.mark.parametrize("given", [None, "You are fixed."])
async def test_a_dynamic_prompt_keeps_the_context(
    tea_lover: KronvexMemory, call: AgentCall, first: bool, given: str | None
) -> None:
    @dynamic_prompt
    def prompt(request: Any) -> str:
        return "You are dynamic."

    model = AgentModel()
    await call(prompted(tea_lover, model, prompt, first=first, system_prompt=given), ASKED)

    assert model.prompts[0][0].text == f"You are dynamic.\n\n{LINE}"


@in_any_order
def test_a_dynamic_prompt_may_have_a_placeholder(tea_lover: KronvexMemory, first: bool) -> None:
    @dynamic_prompt
    def prompt(request: Any) -> str:
        return "Known: {memory_context}!"

    model = AgentModel()
    agent = prompted(tea_lover, model, prompt, first=first)
    for user in ("ana", "ben"):
        agent.invoke(ASKED, {"configurable": {"user_id": user, "thread_id": "t"}})

    assert [shown[0].text for shown in model.prompts] == [f"Known: {LINE}!", "Known: !"]


@sync_and_async
@in_any_order
async def test_a_prompt_made_from_the_previous_one_has_the_context_once(
    tea_lover: KronvexMemory, call: AgentCall, first: bool
) -> None:
    @dynamic_prompt
    def prompt(request: Any) -> str:
        return f"{request.system_prompt}\n\nAnd be brief."

    model = AgentModel()
    agent = prompted(tea_lover, model, prompt, first=first, system_prompt="Be kind.")
    await call(agent, ASKED)

    assert model.prompts[0][0].text.count(LINE) == 1
    assert "Be kind." in model.prompts[0][0].text
    assert "And be brief." in model.prompts[0][0].text


def test_a_message_replaced_at_every_retry_keeps_the_context(tea_lover: KronvexMemory) -> None:
    @wrap_model_call
    def tries(request: Any, handler: Any) -> Any:
        for text in ("One.", "Two."):
            given: Any = {"system_prompt": text}
            if TAKES_SYSTEM_MESSAGES:
                given = {"system_message": SystemMessage(text)}
            try:
                return handler(request.override(**given).override(tools=[]))
            except ModelDown:
                continue

    model = AgentModel(replies=[ModelDown("gone"), "Fine."])
    prompted(tea_lover, model, tries, first=True).invoke(
        ASKED, {"configurable": {"user_id": "ana"}}
    )

    assert [shown[0].text for shown in model.prompts] == [f"One.\n\n{LINE}", f"Two.\n\n{LINE}"]


def test_without_memories_a_prompt_is_unchanged(memory: KronvexMemory) -> None:
    @dynamic_prompt
    def prompt(request: Any) -> str:
        return "You are dynamic."

    model = AgentModel()
    prompted(memory, model, prompt, first=True).invoke(ASKED, {"configurable": {"user_id": "ana"}})

    assert model.prompts[0][0].content == "You are dynamic."
