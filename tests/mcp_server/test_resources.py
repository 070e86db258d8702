"""The resources: the profile, the sessions, and the messages of one session."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from mcp import ClientSession, McpError
from mcp.shared.memory import create_connected_server_and_client_session as connected

from conftest import OpenMemory
from langchain_kronvex import KronvexMemory
from langchain_kronvex.mcp import create_mcp_server

SESSIONS = ["chat 1", "a/b", "a%2Fb", "ünï", "?x#y", "Chat 1", "😀", "{}", "x" * 255]


async def read(session: ClientSession, uri: Any) -> Any:
    (found,) = (await session.read_resource(uri)).contents
    return json.loads(getattr(found, "text", "null"))


@pytest.fixture
def stored(any_store_url: str, open_memory: OpenMemory) -> KronvexMemory:
    return open_memory(any_store_url)


async def test_the_profile_and_every_session_can_be_read(stored: KronvexMemory) -> None:
    for session in SESSIONS:
        said = [HumanMessage(f"Hello from {session}\nagain\x1b"), AIMessage("Hi.")]
        stored.save_messages(said, session, user_id="ana")
    stored.save_messages([HumanMessage("Bob here")], "chat 1", user_id="bob")
    stored.remember("Ana drinks tea.", user_id="ana", memory_type="semantic")

    async with connected(create_mcp_server(stored, user_id="ana")) as session:
        listed = [str(each.uri) for each in (await session.list_resources()).resources]
        assert listed == ["kronvex://profile", "kronvex://sessions"]
        profile = await session.read_resource((await session.list_resources()).resources[0].uri)
        assert "Ana drinks tea." in getattr(profile.contents[0], "text", "")
        (template,) = (await session.list_resource_templates()).resourceTemplates
        assert template.uriTemplate == "kronvex://sessions/{session_id}"
        sessions = await read(session, listed[1])
        assert {each["session_id"] for each in sessions} == set(SESSIONS)
        for each in sessions:
            assert each["messages"] == 2
            assert await read(session, each["uri"]) == [
                {"type": "human", "text": f"Hello from {each['session_id']}\nagain"},
                {"type": "ai", "text": "Hi."},
            ]


async def test_a_session_stored_without_its_user_is_read_too(memory: KronvexMemory) -> None:
    memory.save_messages([HumanMessage("Hello")], "ana")
    async with connected(create_mcp_server(memory, user_id="ana")) as session:
        assert [each["session_id"] for each in await read(session, "kronvex://sessions")] == ["ana"]
        assert await read(session, "kronvex://sessions/ana") == [{"type": "human", "text": "Hello"}]


@pytest.mark.parametrize(
    "uri",
    ["kronvex://sessions/bobs", "kronvex://sessions/none", "kronvex://profile/bob",
     "kronvex://other", "file:///etc/passwd", "kronvex://bob@profile", "https://example.com/x"],
)  # fmt: skip
async def test_nothing_else_can_be_read(memory: KronvexMemory, uri: Any) -> None:
    memory.save_messages([HumanMessage("Bob here")], "bobs", user_id="bob")
    async with connected(create_mcp_server(memory, user_id="ana")) as session:
        with pytest.raises(McpError, match=r"no such (session|resource)"):
            await session.read_resource(uri)
