"""The commands `export` and `import`: from a store into a file, and from a file into a store."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from langchain_kronvex.cli.opening import Add, Parents, add_command, check_named, finish, opened
from langchain_kronvex.cli.terminal import counted, keys_of, note, say, say_json, say_table
from langchain_kronvex.core.config.urls import is_postgres
from langchain_kronvex.core.errors import ConfigurationError
from langchain_kronvex.core.types import MoveSummary
from langchain_kronvex.importers import ImportReport, Misfit, import_from
from langchain_kronvex.importers.importing import SOURCES


def add_transfer_commands(add: Add, parents: Parents) -> None:
    """Add the two commands to the command line; `parents` have the options of an agent."""
    keys, file = f"one object: {keys_of(MoveSummary)}", "JSON lines, compressed in NAME.gz; - for "
    purpose = "write the memories of an agent to a file"
    option = add_command(add, "export", _export, purpose, parents, keys)
    option("--user", help="the memories and chat histories of this user alone")
    option("--vectors", action="store_true", help="with their vectors")
    option("file", metavar="FILE", help=f"{file}stdout")
    keys += f"; with --from, {keys_of(ImportReport)}"
    purpose = "store the memories of a file: of an export, or of another project"
    option = add_command(add, "import", _import, purpose, parents, keys)
    option(
        "--from", dest="source", choices=list(SOURCES), help="the project; without it, an export"
    )
    option("--user", help="with --from: the user of what names none")
    option("--dry-run", action="store_true", help="with --from: only report what would be stored")
    option("file", metavar="FILE", help=f"{file}stdin. Of langgraph, also a postgresql:// URL")


def _export(asked: argparse.Namespace) -> None:
    file: Any = sys.stdout.buffer if asked.file == "-" else asked.file
    if asked.json and asked.file == "-":
        raise ConfigurationError("The export itself goes to stdout: leave out --json.")
    with opened(asked, write=True, vectors=asked.vectors) as memory:
        check_named(asked, memory)
        _report(asked, memory.export(file, user_id=asked.user, vectors=asked.vectors), "written")


def _import(asked: argparse.Namespace) -> int:
    if asked.source is None and (asked.user is not None or asked.dry_run):
        raise ConfigurationError("--user and --dry-run go with --from.")
    file: Any = sys.stdin.buffer if asked.file == "-" else asked.file
    if asked.file != "-" and not is_postgres(asked.file) and not Path(asked.file).is_file():
        raise ConfigurationError(f"There is no file {asked.file!r}; nothing was imported.")
    if asked.dry_run:
        report = import_from(None, asked.source, file, user_id=asked.user, dry_run=True)
        return _tell(asked, report)
    with opened(asked, write=True, vectors=True, create=True) as memory:
        if asked.source is not None:
            report = import_from(memory, asked.source, file, user_id=asked.user)
            finish(memory)
            return _tell(asked, report)
        moved = memory.import_(file)
        finish(memory)
    _report(asked, moved, f"read, {moved.stored:,} of them new")
    return 0


def _tell(asked: argparse.Namespace, report: ImportReport) -> int:
    """Show the report of an import from another project; return the exit code."""
    if report.left_out and not asked.json:
        say(f"{report.left_out:,} did not fit:")
        say_table(("count", "reason"), [(n, reason) for reason, n in report.reasons.items()])
        say(f"The first {len(report.first)} of them:")
        say_table(keys_of(Misfit).split(", "), [(m.what, m.where, m.reason) for m in report.first])
    done = "fit; nothing was stored" if report.dry_run else f"fit, {report.stored:,} of them new"
    _report(asked, report, done)
    return int(bool(report.left_out))


def _report(asked: argparse.Namespace, moved: MoveSummary | ImportReport, done: str) -> None:
    if asked.json:
        say_json(moved)
        return
    some = f"{counted(moved.memories, 'memory')}, {counted(moved.messages, 'message')}"
    note(f"{some} and {counted(moved.items, 'item')} {done}")
