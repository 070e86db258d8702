"""Options and scopes of the agents' surfaces: mistakes are reported at the call."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_kronvex import InvalidInput, KronvexMemory
from langchain_kronvex.langgraph import KronvexStore
from langchain_kronvex.middleware import KronvexMemoryMiddleware

from .agents import AgentCall, AgentModel, asking, create_agent, sync_and_async
from .runs import remembered


@pytest.mark.parametrize("surface", [KronvexMemoryMiddleware, KronvexStore])
@pytest.mark.parametrize("wrong", ["sqlite://", None, 1], ids=repr)
def test_anything_else_than_a_memory_is_rejected(surface: Any, wrong: Any) -> None:
    with pytest.raises(InvalidInput, match="memory must be a KronvexMemory, not "):
        surface(memory=wrong)


@pytest.mark.parametrize(
    ("surface", "options", "named"),
    [
        (KronvexMemoryMiddleware, {"topk": 3}, "'topk'.*'top_k'"),
        (KronvexMemoryMiddleware, {"k": 3}, "'k'.*'top_k'"),
        (KronvexMemoryMiddleware, {"session": "s"}, "'session'.*'session_id'"),
        (KronvexMemoryMiddleware, {"top_k": 0}, "top_k.*0"),
        (KronvexMemoryMiddleware, {"remember": "no"}, "remember.*'no'"),
        (KronvexMemoryMiddleware, {"this_session_only": 1}, "this_session_only.*boolean"),
        (KronvexMemoryMiddleware, {"user_id": " "}, "user_id is blank"),
        (KronvexStore, {"indx": {}}, "'indx'.*'index'"),
        (KronvexStore, {"index": {"fields": "text"}}, "index.*'text'"),
    ],
)
def test_a_wrong_option_is_rejected_by_name(
    memory: KronvexMemory, surface: Any, options: dict[str, Any], named: str
) -> None:
    with pytest.raises(InvalidInput, match=named):
        surface(memory=memory, **options)


@sync_and_async
async def test_a_fixed_session_is_not_changed_by_the_run(
    memory: KronvexMemory, call: AgentCall
) -> None:
    memory.remember("Ben prefers tea.", user_id="ben")
    remembering: Any = KronvexMemoryMiddleware(memory=memory, session_id="team")
    model = AgentModel(replies=["Coffee."])
    agent: Any = create_agent(model, middleware=[remembering])

    config = {"configurable": {"user_id": "ben", "session_id": "s", "thread_id": "t"}}
    await call(agent, asking("Which tea?"), config)

    assert "Ben" not in repr(model.prompts)
    assert remembered(memory, "team") == ["User: Which tea?\nAssistant: Coffee."]
    assert remembered(memory, "ben") == ["Ben prefers tea."]


@sync_and_async
async def test_only_this_session_can_be_recalled(memory: KronvexMemory, call: AgentCall) -> None:
    memory.remember("Ana prefers tea.", user_id="ana", session_id="monday")
    memory.remember("Ana prefers coffee.", user_id="ana", session_id="tuesday")
    remembering: Any = KronvexMemoryMiddleware(memory=memory, this_session_only=True)
    model = AgentModel()
    agent: Any = create_agent(model, middleware=[remembering])

    config = {"configurable": {"user_id": "ana", "thread_id": "monday"}}
    await call(agent, asking("tea or coffee?"), config)

    assert "prefers tea" in model.prompts[0][0].text
    assert "prefers coffee" not in model.prompts[0][0].text
