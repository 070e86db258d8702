"""The command `consolidate`: a language model derives what is known of users, now."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from langchain_kronvex.cli.terminal import note, say
from langchain_kronvex.cli.transfer import LAST_SECONDS, check_named
from langchain_kronvex.core.errors import KronvexError
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.storage.backend import no_consolidation
from langchain_kronvex.storage.urls import is_remote, require_store, resolve_url


def add_consolidate_command(
    add: Callable[..., argparse.ArgumentParser], parents: list[argparse.ArgumentParser]
) -> None:
    """Add the command to the command line; `parents` have the options of a store."""
    purpose = "derive what is known of users from what they said, with a language model"
    option = (command := add("consolidate", help=purpose, parents=parents)).add_argument
    option("--agent", help="the agent in the store (KRONVEX_AGENT_ID)")
    option("--user", help="this user alone (every user who said something new)")
    option("--model", required=True, help="provider:model, such as openai:gpt-4o-mini")
    option("--dry-run", action="store_true", help="ask the model, but store nothing")
    again = "also what was set aside because the model's answers could not be used, or everything"
    option("--again", choices=("set_aside", "all"), help=again)
    command.set_defaults(command=_consolidate)


def _consolidate(asked: argparse.Namespace) -> int:
    from langchain_kronvex.consolidation import KronvexConsolidator

    url = resolve_url(asked.url, None)
    require_store(url)
    if is_remote(url):
        raise no_consolidation()
    with KronvexMemory(url, agent_id=asked.agent, embeddings=asked.embeddings) as memory:
        consolidator = KronvexConsolidator(memory, asked.model)
        check_named(asked, memory)
        try:
            report = consolidator.run(asked.user, dry_run=asked.dry_run, again=asked.again)
        except KronvexError:
            raise
        except Exception as error:  # its message may quote a key or what was said
            raise KronvexError(
                f"The model {asked.model!r} failed: {type(error).__name__}. What was done before "
                "is stored. Check the provider's key and limits, and run it again."
            ) from error
        if not (report.batches or report.stopped):
            note("Nothing is waiting to be consolidated.")
            return 0
        for line in str(report).splitlines():
            say(line)
        memory.flush(LAST_SECONDS)
        return int(bool(report.set_aside or report.stopped))
