"""The command `consolidate`: a language model derives what is known of users, now."""

from __future__ import annotations

import argparse

from langchain_kronvex.cli.opening import Add, Parents, add_command, check_named, finish, opened
from langchain_kronvex.cli.terminal import note, say, say_json
from langchain_kronvex.core.config.urls import is_remote, resolve_url
from langchain_kronvex.core.errors import KronvexError
from langchain_kronvex.storage.backend import no_consolidation

_KEYS = "one object with the fields of ConsolidationReport, such as added, set_aside and operations"


def add_consolidate_command(add: Add, parents: Parents) -> None:
    """Add the command to the command line; `parents` have the options of an agent."""
    purpose = "derive what is known of users from what they said, with a language model"
    option = add_command(add, "consolidate", _consolidate, purpose, parents, _KEYS)
    option("--user", help="this user alone (every user who said something new)")
    option("--model", required=True, help="provider:model, such as openai:gpt-4o-mini")
    option("--dry-run", action="store_true", help="ask the model, but store nothing")
    again = "also what was set aside because the model's answers could not be used, or everything"
    option("--again", choices=("set_aside", "all"), help=again)


def _consolidate(asked: argparse.Namespace) -> int:
    from langchain_kronvex.consolidation import KronvexConsolidator

    if is_remote(resolve_url(asked.url, None)):
        raise no_consolidation()
    with opened(asked, write=True, vectors=True) as memory:
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
        if asked.json:
            say_json(report)
        elif not (report.batches or report.stopped):
            note("Nothing is waiting to be consolidated.")
        else:
            for line in str(report).splitlines():
                say(line)
        finish(memory)
        return int(bool(report.set_aside or report.stopped))
