"""The commands `export` and `import`: from a store into a file, and from a file into a store."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from langchain_kronvex.cli.terminal import note
from langchain_kronvex.core.errors import ConfigurationError
from langchain_kronvex.core.types import MoveSummary
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.storage.urls import is_remote, require_store, resolve_url

LAST_SECONDS = 60.0  # for the background work of a command


def add_transfer_commands(
    add: Callable[..., argparse.ArgumentParser], parents: list[argparse.ArgumentParser]
) -> None:
    """Add the two commands to the command line; `parents` have the options of a store."""
    export = add("export", help="write the memories of an agent to a file", parents=parents)
    export.add_argument("--user", help="the memories and chat histories of this user alone")
    export.add_argument("--vectors", action="store_true", help="with their vectors")
    export.set_defaults(command=_export)
    import_ = add("import", help="store the memories of a file", parents=parents)
    import_.set_defaults(command=_import)
    for command in (export, import_):
        command.add_argument("--agent", help="the agent in the store (KRONVEX_AGENT_ID)")
        command.add_argument("file", help="JSON lines, compressed in NAME.gz; - for a pipe")


def _export(asked: argparse.Namespace) -> None:
    file: Any = sys.stdout.buffer if asked.file == "-" else asked.file
    url, embeddings = resolve_url(asked.url, None), asked.embeddings
    require_store(url)
    if not asked.vectors and not is_remote(url):
        embeddings = False  # so that an export asks no provider
    with KronvexMemory(url, agent_id=asked.agent, embeddings=embeddings) as memory:
        check_named(asked, memory)
        _report(memory.export(file, user_id=asked.user, vectors=asked.vectors), "written")


def check_named(asked: argparse.Namespace, memory: KronvexMemory) -> None:
    """Check that there is something of the user or the agent that was named.

    Raises:
        ConfigurationError: There is nothing.
    """
    if asked.user is None and asked.agent is None:
        return
    engine = memory.engine
    if not engine.backend.export_page(asked.user, 1, engine.clock(), after=0, model=None):
        user = "" if asked.user is None else f"the user {asked.user!r} of "
        raise ConfigurationError(
            f"{memory.location} holds nothing of {user}the agent {memory.agent_id!r}. Check the "
            "names; nothing was written."
        )


def _import(asked: argparse.Namespace) -> None:
    file: Any = sys.stdin.buffer if asked.file == "-" else asked.file
    if asked.file != "-" and (not Path(asked.file).exists() or Path(asked.file).is_dir()):
        raise ConfigurationError(f"There is no file {asked.file!r}; nothing was imported.")
    with KronvexMemory(asked.url, agent_id=asked.agent, embeddings=asked.embeddings) as memory:
        moved = memory.import_(file)
        if not memory.flush(LAST_SECONDS):
            note("Some are not sent or embedded yet. That goes on when the store is next opened.")
        _report(moved, f"read, {moved.stored:,} of them new")


def _report(moved: MoveSummary, done: str) -> None:
    counts = f"{moved.memories:,} memories, {moved.messages:,} messages and {moved.items:,} items"
    note(f"{counts} {done}")
