"""A LangChain agent that uses the tools through langchain-mcp-adapters."""

from __future__ import annotations

from pathlib import Path

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, ToolMessage

from conftest import OpenMemory
from surfaces.agents import AgentModel, calls

from .clients import server_of

adapters = pytest.importorskip("langchain_mcp_adapters.client")
load_mcp_tools = pytest.importorskip("langchain_mcp_adapters.tools").load_mcp_tools


async def test_an_agent_remembers_in_one_process_and_knows_it_in_the_next(
    store_url: str, tmp_path: Path, open_memory: OpenMemory
) -> None:
    server = server_of(store_url, "--user-id", "ana")
    started = {"command": server.command, "args": server.args, "env": server.env}
    client = adapters.MultiServerMCPClient({"memory": {**started, "transport": "stdio"}})

    async with client.session("memory") as session:  # else each call starts a process
        tools = await load_mcp_tools(session)
        assert {tool.name for tool in tools} >= {"remember", "recall", "inject_context"}
        model = AgentModel(replies=[calls("remember", content="Ana drinks tea."), "Noted."])
        await create_agent(model, tools).ainvoke({"messages": [("user", "I drink tea.")]})

    async with client.session("memory") as session:
        tools = await load_mcp_tools(session)
        asking = AgentModel(
            replies=[
                calls("recall", query="What does Ana drink?"),
                lambda prompt: AIMessage(f"So it is: {prompt[-1].text}"),
            ]
        )
        said = await create_agent(asking, tools).ainvoke({"messages": [("user", "My drink?")]})
        assert "Ana drinks tea." in said["messages"][-1].text

        refusing = AgentModel(replies=[calls("recall", query="x", user_id="bob"), "I cannot."])
        ended = await create_agent(refusing, tools).ainvoke({"messages": [("user", "Bob's?")]})
    results = [each for each in ended["messages"] if isinstance(each, ToolMessage)]
    assert "user_id: Extra inputs are not permitted." in results[0].text
    assert open_memory().stats().memories == 1
