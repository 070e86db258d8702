"""An MCP client that starts `langchain-kronvex mcp`, as desktop assistants do, and uses its tools.

Requires `pip install "langchain-kronvex[mcp]"`.
"""

import asyncio
import os
import sys
import tempfile

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.types import CallToolResult, TextContent

from langchain_kronvex import KronvexMemory


def text(result: CallToolResult) -> str:
    """Return what the model reads."""
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


async def talk(url: str) -> None:
    command = ["-m", "langchain_kronvex.cli", "mcp", "--url", url, "--user-id", "ana"]
    server = StdioServerParameters(command=sys.executable, args=command, env=dict(os.environ))
    async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        print("Tools:", ", ".join(tool.name for tool in (await session.list_tools()).tools))
        fact = {"content": "Ana is allergic to peanuts."}
        print(text(await session.call_tool("remember", fact)))
        print(text(await session.call_tool("recall", {"query": "What can Ana not eat?"})))
        # No tool takes a user: the command line has named it.
        refused = await session.call_tool("recall", {"query": "peanuts", "user_id": "ben"})
        assert refused.isError
        print("Refused:", text(refused))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/memory.db"
        asyncio.run(talk(url))
        with KronvexMemory(url) as memory:  # the same memory, in a program of yours
            (found,) = memory.recall("peanuts", user_id="ana")
            print("In the store:", found.content)


if __name__ == "__main__":
    main()
