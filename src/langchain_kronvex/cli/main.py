"""The command line: look into a store, change it, examine it, consolidate, serve or move it."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from typing import Any

from langchain_kronvex.cli.changing import add_changing_commands
from langchain_kronvex.cli.consolidate import add_consolidate_command
from langchain_kronvex.cli.doctor.command import add_doctor_command
from langchain_kronvex.cli.evaluating import add_eval_command
from langchain_kronvex.cli.inspect import add_inspect_command
from langchain_kronvex.cli.keys import add_key_commands
from langchain_kronvex.cli.mcp import add_mcp_command
from langchain_kronvex.cli.opening import Add, agent_options, json_options
from langchain_kronvex.cli.outbox import add_outbox_commands
from langchain_kronvex.cli.reading import add_reading_commands
from langchain_kronvex.cli.serve import add_serve_command
from langchain_kronvex.cli.terminal import note
from langchain_kronvex.cli.transfer import add_transfer_commands
from langchain_kronvex.core import __version__, errors

_INTERRUPTED = 130  # as shells have it
_WRONG_USE = (errors.ConfigurationError, errors.InvalidInput, errors.NotSupported)


class _Parser(argparse.ArgumentParser):
    """Reports unknown options with the usage of the command that they were given to."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse all arguments; unknown ones are an error."""
        asked, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return asked, unknown


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    It is 0 if all is done, 1 if something failed or was not found, and 2 for wrong use.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # what its encoding lacks is shown as an escape
        sys.stdout.reconfigure(errors="backslashreplace")
    asked = parser().parse_args(arguments)
    try:
        return asked.command(asked) or 0
    except KeyboardInterrupt:
        return _INTERRUPTED
    except UnicodeDecodeError:
        note("langchain-kronvex: what was to be read is not text in UTF-8.")
        return 2
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (errors.KronvexError, OSError) as error:
        note(f"langchain-kronvex: {error}")
        return 2 if isinstance(error, _WRONG_USE) else 1


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    prog = "langchain-kronvex"
    parser = _Parser(prog=prog, usage=f"{prog} COMMAND [OPTIONS]", description=__doc__)
    shown = f"langchain-kronvex {__version__}"
    parser.add_argument("--version", action="version", version=shown)
    store = argparse.ArgumentParser(add_help=False)
    store.add_argument("--url", help="the store, such as sqlite:///memory.db (KRONVEX_URL)")
    memory = argparse.ArgumentParser(add_help=False, parents=[store])
    model = "provider:model the store is indexed with, such as openai:text-embedding-3-small, "
    model += "or 'none' for words alone (the bundled table)"
    memory.add_argument("--embeddings", type=lambda name: name != "none" and name, help=model)
    add: Add = parser.add_subparsers(prog=prog, required=True, metavar="COMMAND").add_parser
    of_agent = [memory, agent_options()]
    add_doctor_command(add, of_agent)
    add_reading_commands(add, of_agent)
    add_changing_commands(add, of_agent)
    add_eval_command(add, of_agent)
    add_serve_command(add("serve", help="serve the REST API from a store", parents=[memory]))
    page = "see and correct the memories of a store in the browser"
    add_inspect_command(add("inspect", help=page, parents=[memory]))
    add_mcp_command(add("mcp", help="serve one user's memories to an MCP client", parents=[memory]))
    add_key_commands(add("keys", help="manage API keys"), [store, json_options()])
    add_transfer_commands(add, of_agent)
    add_consolidate_command(add, of_agent)
    add_outbox_commands(add("outbox", help="manage entries that a Kronvex API rejected"))
    return parser
