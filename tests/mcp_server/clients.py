"""Clients of the MCP server: the SDK's own, and one that writes raw lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Any

import httpx
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

PATIENCE = 60.0
CLI = ["-m", "langchain_kronvex.cli"]


def server_of(url: str, *options: str) -> StdioServerParameters:
    arguments = [*CLI, "mcp", "--url", url, *options]
    return StdioServerParameters(command=sys.executable, args=arguments, env=dict(os.environ))


@asynccontextmanager
async def over_stdio(url: str, log: Path, *options: str) -> AsyncIterator[ClientSession]:
    """A session with a process that is started for it; it must end without a traceback."""
    with log.open("w") as errors:
        async with (
            stdio_client(server_of(url, *options), errlog=errors) as (read, write),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            yield session
    assert "Traceback" not in log.read_text()


@asynccontextmanager
async def over_http(
    base_url: str, key: str | None = None, **headers: str
) -> AsyncIterator[ClientSession]:
    """A session with a server that runs."""
    sent = {"Authorization": f"Bearer {key}", **headers} if key else headers
    async with (
        httpx.AsyncClient(headers=sent, verify=False, timeout=PATIENCE) as client,
        streamable_http_client(f"{base_url}/mcp", http_client=client) as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        yield session


def text(result: Any) -> str:
    return "\n".join(block.text for block in result.content)


async def ok(session: ClientSession, tool: str, **arguments: Any) -> Any:
    """Call a tool; return its structured result."""
    result = await session.call_tool(tool, arguments)
    assert not result.isError, text(result)
    return result.structuredContent


async def refused(session: ClientSession, tool: str, **arguments: Any) -> str:
    """Call a tool that fails; return what the model reads."""
    result = await session.call_tool(tool, arguments)
    assert result.isError, text(result)
    assert result.structuredContent is None
    return text(result)


def contents(found: Any) -> list[str]:
    return [memory["content"] for memory in found["memories"]]


class Lines:
    """A process that is sent raw lines; every line it answers must be JSON."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._number = 0

    @property
    def _stdin(self) -> IO[str]:
        assert self.process.stdin
        return self.process.stdin

    def send(self, method: str, notify: bool = False, **params: Any) -> None:
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        if not notify:
            self._number += 1
            message["id"] = self._number
        self._stdin.write(json.dumps(message) + "\n")
        self._stdin.flush()

    def ask(self, method: str, **params: Any) -> Any:
        self.send(method, **params)
        assert self.process.stdout
        answer = json.loads(self.process.stdout.readline())
        assert answer["id"] == self._number
        return answer["result"]

    def start(self) -> None:
        client = {"name": "test", "version": "1"}
        self.ask("initialize", protocolVersion="2025-03-26", capabilities={}, clientInfo=client)
        self.send("notifications/initialized", notify=True)

    def call(self, tool: str, **arguments: Any) -> Any:
        return self.ask("tools/call", name=tool, arguments=arguments)

    def end(self) -> int:
        """Close stdin, and return the exit code."""
        self._stdin.close()
        return self.process.wait(PATIENCE)


@contextmanager
def raw_lines(log: Path, *command: str) -> Iterator[Lines]:
    """A process started with a command of Python's, and killed at the end if it still runs."""
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
        ) as process,
    ):  # fmt: skip
        try:
            lines = Lines(process)
            lines.start()
            yield lines
        finally:
            process.kill()
