"""MCP over stdin and stdout, for one user."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

import anyio
from mcp.server.stdio import stdio_server

from langchain_kronvex.core.errors import KronvexError, described


@contextmanager
def stdout_of_the_protocol() -> Iterator[TextIO]:
    """Yield stdout for the protocol alone; whatever else this process prints goes to stderr."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n") as stream:
        os.dup2(2, 1)
        sys.stdout.flush()  # what was printed before
        yield stream


def run_stdio(server: Any, stdout: TextIO, close: Callable[[], None]) -> None:
    """Serve one client until it closes stdin or ends the process.

    Args:
        server: The MCP server.
        stdout: What the client reads.
        close: Saves what is pending; called when a signal ends the process.

    Raises:
        KronvexError: the client stopped reading before it closed stdin.
    """

    def end() -> None:
        try:
            close()
        finally:
            os._exit(0)  # another thread may be reading stdin, and cannot be interrupted

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            with suppress(NotImplementedError):  # on Windows
                loop.add_signal_handler(each, lambda: threading.Thread(target=end).start())
        async with stdio_server(stdout=anyio.wrap_file(stdout)) as (read, write):
            await server.run(read, write, server.create_initialization_options())

    try:
        asyncio.run(serve())
    except Exception as error:  # noqa: BLE001 - of the SDK's tasks, when the client has gone
        raise KronvexError(f"The client cannot be served: {described(error)}.") from None
