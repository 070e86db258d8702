"""The official SDK uses the server, sync and async."""

from __future__ import annotations

import pytest
from kronvex import Kronvex
from kronvex.async_client import AsyncKronvex
from kronvex.exceptions import AgentNotFoundError, KronvexError

from .running import Process


def test_the_sdk_does_everything_it_can(server: Process) -> None:
    with Kronvex("kv-any", base_url=server.base_url) as kronvex:
        agent = kronvex.create_agent("support-bot")
        assert agent.name == "support-bot"
        assert agent.id in [each["id"] for each in kronvex.list_agents()]

        stored = agent.remember(
            "User prefers concise answers", memory_type="semantic", session_id="user-42"
        )
        assert (stored["content"], stored["session_id"], stored["agent_memory_count"]) == (
            "User prefers concise answers", "user-42", 1,
        )  # fmt: skip
        agent.remember("The printer is on floor 3", session_id="user-42", ttl_days=3, pinned=True)
        agent.remember("Ben hates concise answers", session_id="ben", metadata={"n": [1, None]})

        found = agent.recall("How long should answers be?", session_id="user-42", top_k=1)
        assert isinstance(found, list)
        assert found[0]["content"] == "User prefers concise answers"
        assert 0 < found[0]["score"] <= 1
        assert 0 < found[0]["confidence"] <= 1
        assert agent.recall("answers", session_id="user-42", memory_type="procedural") == []
        assert agent.recall("zebra", session_id="user-42", threshold=1.0) == []

        context = agent.inject_context("How long should answers be?", session_id="user-42")
        assert isinstance(context, str)
        assert "User prefers concise answers" in context
        assert "Ben" not in context
        assert agent.inject_context("answers", session_id="nobody") == ""

        assert {s["session_id"]: s["count"] for s in agent.sessions()} == {"user-42": 2, "ben": 1}
        assert len(agent.memories(session_id="user-42", limit=1)) == 1
        pages = [agent.memories(limit=1, offset=n)[0]["id"] for n in range(3)]
        assert len(set(pages)) == 3
        assert agent.memories(limit=10, offset=3) == []

        agent.delete_memory(stored["id"])
        with pytest.raises(AgentNotFoundError, match="Memory not found"):
            agent.delete_memory(stored["id"])
        assert agent.clear() == {"deleted": 2}
        kronvex.delete_agent(agent.id)
        with pytest.raises(AgentNotFoundError, match="Agent not found"):
            agent.recall("anything")


def test_the_sdk_reports_invalid_requests(server: Process) -> None:
    with Kronvex("kv-any", base_url=server.base_url) as kronvex:
        with pytest.raises(AgentNotFoundError):
            kronvex.agent("b5ff5c2e-5cbb-4a9c-8b73-111111111111").remember("x")
        with pytest.raises(KronvexError) as refused:
            kronvex.create_agent("bot").remember("   ")
        assert refused.value.status_code == 422


async def test_the_async_sdk(server: Process, agent: str) -> None:
    async with AsyncKronvex("kv-any", base_url=server.base_url) as kronvex:
        handle = kronvex.agent(agent)
        await handle.remember("User is from Paris", session_id="ana", memory_type="semantic")
        found = await handle.recall("Where is the user from?", session_id="ana")
        assert [each["content"] for each in found] == ["User is from Paris"]
        assert "Paris" in await handle.inject_context("Where from?", session_id="ana")
        assert [s["session_id"] for s in await handle.sessions()] == ["ana"]
        assert len(await handle.memories(session_id="ana")) == 1
        assert await handle.clear() == {"deleted": 1}
