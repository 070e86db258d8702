"""Outboxes looked after on the command line: what was set aside is listed, sent again, or dropped.

An entry is set aside when the server refuses it for good. It stays on this machine, where it is
found by its owner, until somebody decides.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from langchain_kronvex.backends.rest.outbox import Entry, Outbox
from langchain_kronvex.errors import ConfigurationError

_TIMEOUT_SECONDS = 30.0


def add_outbox_commands(parser: argparse.ArgumentParser) -> None:
    """Add `list`, `resend` and `discard`."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add(commands, "list", _list, "list the entries that were set aside, without their texts")
    _add(
        commands, "resend", _resend, "let them be sent when their memory is next opened or written"
    )
    _add(commands, "discard", _discard, "erase them for good; they are on no server")


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    command: Callable[[argparse.Namespace], int],
    what: str,
) -> None:
    parser = commands.add_parser(name, help=what)
    needed = name == "discard"
    parser.add_argument(
        "--outbox",
        required=needed,
        help="its file, or the folder of several"
        + ("" if needed else " (those in the user's data folder)"),
    )
    if name != "list":
        parser.add_argument("entries", nargs="*", type=int, help="their numbers (all)")
    parser.set_defaults(command=command)


def _list(asked: argparse.Namespace) -> int:
    for path, outbox in _outboxes(asked.outbox):
        failed = _failed(outbox)
        sys.stdout.write(f"{path}: {len(failed)} set aside, {outbox.unsent()} to be sent\n")
        for entry in failed:
            record = entry.stored.record
            day, owner = record.created_at.date().isoformat(), record.scope.owner or "-"
            sys.stdout.write(
                f"{entry.place:6}  {day}  {record.kind:7}  {owner!r}  {entry.failed}\n"
            )
    return 0


def _resend(asked: argparse.Namespace) -> int:
    for path, outbox in _outboxes(asked.outbox):
        count = outbox.resend(_places(outbox, asked.entries))
        sys.stdout.write(f"{path}: {count} to be sent again\n")
    return 0


def _discard(asked: argparse.Namespace) -> int:
    for path, outbox in _outboxes(asked.outbox):
        places = _places(outbox, asked.entries)
        if places:
            outbox.erase(places)
        sys.stdout.write(f"{path}: {len(places)} discarded\n")
    return 0


def _outboxes(chosen: str | None) -> Iterator[tuple[Path, Outbox]]:
    from platformdirs import user_data_path

    path = Path(chosen).expanduser() if chosen else None
    path = path or user_data_path("langchain-kronvex", appauthor=False)
    found = sorted(path.glob("outbox-*.db")) if path.is_dir() else [path]
    if chosen and not all(each.is_file() for each in found or [path / "outbox-*.db"]):
        raise ConfigurationError(f"There is no outbox at {path}.")
    for each in found:
        if each.is_file():
            with closing(Outbox(each, None, _TIMEOUT_SECONDS)) as outbox:
                yield each, outbox


def _failed(outbox: Outbox) -> list[Entry]:
    return [entry for entry in outbox.waiting() if entry.failed is not None]


def _places(outbox: Outbox, wanted: Sequence[int]) -> list[int]:
    return [entry.place for entry in _failed(outbox) if not wanted or entry.place in wanted]
