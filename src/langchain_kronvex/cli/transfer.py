"""The commands `export` and `import`: from a store into a file, and from a file into a store."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from langchain_kronvex.cli.arguments import add_store
from langchain_kronvex.core.types import MoveSummary
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.storage.urls import is_remote, resolve_url

_LAST_SECONDS = 60.0  # for the background work of an import


def add_transfer_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the two commands to the command line."""
    export = add("export", help="write the memories of an agent to a file")
    export.add_argument("--user", help="the memories and chat histories of this user alone")
    export.add_argument("--vectors", action="store_true", help="with their vectors")
    export.set_defaults(command=lambda asked: _reported(_export, asked))
    import_ = add("import", help="store the memories of a file")
    import_.set_defaults(command=lambda asked: _reported(_import, asked))
    for command in (export, import_):
        add_store(command)
        command.add_argument("--agent", help="the agent in the store (KRONVEX_AGENT_ID)")
        command.add_argument("file", help="JSON lines, compressed in NAME.gz; - for a pipe")


def _reported(
    command: Callable[[argparse.Namespace], MoveSummary], asked: argparse.Namespace
) -> int:
    try:
        moved = command(asked)
    except OSError as error:
        sys.stderr.write(f"langchain-kronvex: {error}\n")
        return 2
    done = "written" if command is _export else f"read, {moved.stored:,} of them new"
    sys.stderr.write(
        f"{moved.memories:,} memories, {moved.messages:,} messages and {moved.items:,} items "
        f"{done}\n"
    )
    return 0


def _export(asked: argparse.Namespace) -> MoveSummary:
    file: Any = sys.stdout.buffer if asked.file == "-" else asked.file
    with _open(asked, needs_embeddings=asked.vectors) as memory:
        return memory.export(file, user_id=asked.user, vectors=asked.vectors)


def _import(asked: argparse.Namespace) -> MoveSummary:
    file: Any = sys.stdin.buffer if asked.file == "-" else asked.file
    with _open(asked, needs_embeddings=True) as memory:
        moved = memory.import_(file)
        if not memory.flush(_LAST_SECONDS):
            sys.stderr.write(
                "Some are not sent or embedded yet. That goes on when the store is next opened.\n"
            )
        return moved


def _open(asked: argparse.Namespace, *, needs_embeddings: bool) -> KronvexMemory:
    url = resolve_url(asked.url, None)
    embeddings = asked.embeddings
    if not needs_embeddings and not is_remote(url):
        embeddings = False  # so that an export asks no provider
    return KronvexMemory(url, agent_id=asked.agent, embeddings=embeddings)
