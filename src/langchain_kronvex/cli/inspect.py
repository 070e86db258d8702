"""The command `inspect`: a page in the browser to see and correct the memories of a store."""

from __future__ import annotations

import argparse
import html
import logging
import os
import secrets
import socket
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from langchain_kronvex.cli.opening import opened
from langchain_kronvex.cli.serve import listen_at, log_to_stderr
from langchain_kronvex.cli.terminal import note, say
from langchain_kronvex.core.config.urls import is_remote, resolve_url
from langchain_kronvex.core.errors import ConfigurationError
from langchain_kronvex.core.options import needing

_HOST = "127.0.0.1"


def add_inspect_command(inspect: argparse.ArgumentParser) -> None:
    """Add the options of `inspect`."""
    option = inspect.add_argument
    option("--agent", help="the agent that is shown first (KRONVEX_AGENT_ID)")
    option("--port", type=int, default=0, help="listen there; by default at any free port")
    option("--read-only", action="store_true", help="change nothing, and offer no changes")
    option("--no-browser", action="store_true", help="only print the address")
    inspect.set_defaults(command=_inspect)


def _inspect(asked: argparse.Namespace) -> None:
    with needing("The inspector needs FastAPI and Uvicorn", extra="server"):
        import uvicorn  # noqa: F401 - before anything is opened

        from langchain_kronvex.server.inspector import inspector_app

    log_to_stderr(logging.WARNING)
    if is_remote(resolve_url(asked.url, None)):
        raise ConfigurationError(
            "The inspector shows a store of your own, sqlite:/// or postgresql://. A Kronvex API "
            "has none to show; where its store is, run `langchain-kronvex serve --inspector`."
        )
    token = secrets.token_urlsafe(32)
    with (
        _listening(asked.port) as listening,
        opened(asked, write=not asked.read_only, vectors=True) as memory,
    ):
        address = f"http://{_HOST}:{listening.getsockname()[1]}/inspector#{token}"
        say(address)
        sys.stdout.flush()
        may = "see" if asked.read_only else "see and change"
        note(f"Whoever has this address can {may} the store. Ctrl-C ends it.")
        with _in_browser(None if asked.no_browser else address):
            listen_at(inspector_app(memory, token), listening)


def _listening(port: int) -> socket.socket:
    if not 0 <= port < 1 << 16:
        raise ConfigurationError(f"{port} is not a port: those are 0 to 65535.")
    try:
        return socket.create_server((_HOST, port))
    except OSError as error:
        raise ConfigurationError(f"Cannot listen at port {port}: {error}. Try --port 0.") from error


@contextmanager
def _in_browser(address: str | None) -> Iterator[None]:
    """Open an address in the browser of the desktop, if there is one.

    The browser gets it from a file of this user alone: what stands on a command line, other users
    of the machine can read.
    """
    if address is None or not _has_browser():
        yield
        return
    with tempfile.TemporaryDirectory(prefix="kronvex-inspect-") as folder:
        file = Path(folder) / "open.html"  # the folder is private
        to = f"0;url={html.escape(address)}"
        file.write_text(f'<!doctype html><meta http-equiv="refresh" content="{to}">')
        # Some browsers are waited for, until they end.
        threading.Thread(target=webbrowser.open, args=[file.as_uri()], daemon=True).start()
        yield


def _has_browser() -> bool:
    """Return whether there is a browser with a window, or one that the user has named."""
    try:
        found = webbrowser.get()
    except webbrowser.Error:
        return False
    return type(found) is not webbrowser.GenericBrowser or "BROWSER" in os.environ
