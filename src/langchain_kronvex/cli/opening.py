"""How commands open a memory, and the options that they share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from langchain_kronvex.cli.terminal import note
from langchain_kronvex.core.config.urls import is_remote, resolve_url
from langchain_kronvex.core.errors import ConfigurationError, MemoryNotFound
from langchain_kronvex.core.types import Retention
from langchain_kronvex.core.validation import MEMORY_TYPES
from langchain_kronvex.embeddings.providers import EmbeddingsChoice
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.storage.opening import require_store

Add = Callable[..., argparse.ArgumentParser]
Parents = Sequence[argparse.ArgumentParser]
Run = Callable[[argparse.Namespace], int | None]
_LAST_SECONDS = 60.0  # for the background work of a command
NOT_FOUND = 1  # the exit code of a command that did not find what was named


def json_options() -> argparse.ArgumentParser:
    """Return the option of a command that can write JSON."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--json", action="store_true", help="write JSON, for programs")
    return options


def agent_options() -> argparse.ArgumentParser:
    """Return the options of a command for one agent."""
    options = argparse.ArgumentParser(add_help=False, parents=[json_options()])
    options.add_argument("--agent", help="the agent in the store (KRONVEX_AGENT_ID)")
    return options


def add_command(
    add: Add, name: str, run: Run, purpose: str, parents: Parents, keys: str
) -> Callable[..., argparse.Action]:
    """Add a command; return what adds its options.

    Args:
        add: Adds a parser.
        name: Of the command.
        run: Does it; returns the exit code, None for 0.
        purpose: A line of help.
        parents: The options it shares.
        keys: The keys of its JSON, for the help.
    """
    told = f"With --json, it writes {keys}."
    command = add(name, help=purpose, description=purpose, epilog=told, parents=parents)
    command.set_defaults(command=run)
    return command.add_argument


def add_scope(option: Callable[..., argparse.Action], what: str = "only") -> None:
    """Add the options that name a user and a session."""
    option("--user", help=f"{what} this user; without it, a session is a user of its own")
    option("--session", help=f"{what} this session")


def add_type(option: Callable[..., argparse.Action], **more: str) -> None:
    """Add the option that names a type of memory."""
    option("--type", choices=MEMORY_TYPES, **more)


@contextmanager
def opened(
    asked: argparse.Namespace,
    *,
    write: bool = False,
    vectors: bool = False,
    create: bool = False,
    retention: Retention | None = None,
) -> Iterator[KronvexMemory]:
    """Open the store that was named.

    Args:
        asked: The options of the command.
        write: Whether it is to be changed.
        vectors: Whether embeddings are needed. Without, those of the store do not matter.
        create: Whether a store that is not there is to be made.
        retention: As for `KronvexMemory`.
    """
    url = resolve_url(asked.url, None)
    if not create:
        require_store(url)
    embeddings: EmbeddingsChoice = False
    if vectors or is_remote(url):
        embeddings = asked.embeddings
    with KronvexMemory(
        url, agent_id=asked.agent, embeddings=embeddings, read_only=not write, retention=retention
    ) as memory:
        yield memory


def check_found(id_: str, found: object) -> None:
    """Raise `MemoryNotFound` if there is nothing."""
    if not found:
        raise MemoryNotFound(f"No memory has the id {id_!r}: it never existed, or was forgotten.")


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


def finish(memory: KronvexMemory) -> None:
    """Wait for the background work of a command."""
    if not memory.flush(_LAST_SECONDS):
        note("Some work is not done yet. It goes on when the store is next opened.")
