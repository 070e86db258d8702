"""Outboxes on the command line: list, resend, discard or hand over their entries.

An entry is refused when the server will never take it. It stays on this machine, where its owner
still finds it, until somebody decides about it. So do the entries of an API key that was replaced.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from langchain_kronvex.core.errors import ConfigurationError
from langchain_kronvex.storage.rest.outbox.files import (
    OutboxIdentity,
    beside,
    hand_over,
    open_for_other_key,
)
from langchain_kronvex.storage.rest.outbox.outbox import Entry, Outbox

_TIMEOUT_SECONDS = 30.0


def add_outbox_commands(parser: argparse.ArgumentParser) -> None:
    """Add `list`, `resend`, `discard` and `hand-over`."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (command, summary) in _COMMANDS.items():
        added = commands.add_parser(name, help=summary)
        needed = name in ("discard", "hand-over")
        where = "" if needed else " (those in the user's data folder)"
        added.add_argument(
            "--outbox", required=needed, help=f"its file, or the folder of several{where}"
        )
        if name in ("resend", "discard"):
            added.add_argument("entries", nargs="*", type=int, help="their numbers (all)")
        added.set_defaults(command=command)


def _list(asked: argparse.Namespace) -> int:
    for path, outbox in _outboxes(asked.outbox):
        refused = _refused(outbox)
        counts = f"{len(refused)} refused, {outbox.unsent()} to be sent"
        sys.stdout.write(f"{path}: {counts}{_named(_identity(outbox))}\n")
        for entry in refused:
            record = entry.stored.record
            day, owner = record.created_at.date().isoformat(), record.scope.owner or "-"
            sys.stdout.write(
                f"{entry.place:6}  {day}  {record.kind:7}  {owner!r}  {entry.failed}\n"
            )
    return 0


def _named(held: OutboxIdentity) -> str:
    """Name the server, the agent and the beginning of the key's digest."""
    mine = " (the present one)" if held == held.with_present_key() else ""
    key = f", API key {held.key[:8]}{mine}" if held.key else ", no API key"
    return f" ({held.base_url}, agent {held.agent_id!r}{key})"


def _resend(asked: argparse.Namespace) -> int:
    for path, outbox in _outboxes(asked.outbox):
        count = outbox.resend(_chosen(outbox, asked.entries))
        sys.stdout.write(f"{path}: {count} to be sent again\n")
    return 0


def _discard(asked: argparse.Namespace) -> int:
    for path, outbox in _outboxes(asked.outbox):
        places = _chosen(outbox, asked.entries)
        if places:
            outbox.erase(places)
        sys.stdout.write(f"{path}: {len(places)} discarded\n")
    return 0


def _hand_over(asked: argparse.Namespace) -> int:
    path = Path(asked.outbox).expanduser().absolute()
    if not path.is_file():
        raise ConfigurationError(f"There is no outbox at {path}; `outbox list` shows the files.")
    with closing(Outbox(path, None, _TIMEOUT_SECONDS)) as source:
        held = _identity(source)
        mine = held.with_present_key()
        if mine.key in ("", held.key):
            raise ConfigurationError("Set KRONVEX_API_KEY to the key that the entries shall go to.")
        with closing(open_for_other_key(path, mine, _TIMEOUT_SECONDS)) as target:
            count = hand_over(source, target, _TIMEOUT_SECONDS)
    sys.stdout.write(f"{path}: {count} to be sent with the present key\n")
    return 0


def _outboxes(chosen: str | None) -> Iterator[tuple[Path, Outbox]]:
    from platformdirs import user_data_path

    path = Path(chosen).expanduser() if chosen else None
    path = path or user_data_path("langchain-kronvex", appauthor=False)
    found = sorted(path.glob("outbox-*.db")) if path.is_dir() else [path]
    found += beside(path) if path.is_file() else []
    if chosen and not all(each.is_file() for each in found or [path / "outbox-*.db"]):
        raise ConfigurationError(f"There is no outbox at {path}.")
    for each in found:
        if each.is_file():
            with closing(Outbox(each, None, _TIMEOUT_SECONDS)) as outbox:
                yield each, outbox


def _identity(outbox: Outbox) -> OutboxIdentity:
    return OutboxIdentity.read(outbox.setting("identity"))


def _refused(outbox: Outbox) -> list[Entry]:
    return [entry for entry in outbox.waiting() if entry.failed is not None]


def _chosen(outbox: Outbox, wanted: Sequence[int]) -> list[int]:
    return [entry.place for entry in _refused(outbox) if not wanted or entry.place in wanted]


_COMMANDS = {
    "list": (_list, "list the refused entries, without their texts"),
    "resend": (_resend, "send refused entries when their memory is next opened"),
    "discard": (_discard, "erase refused entries for good; no server has them"),
    "hand-over": (
        _hand_over,
        "move all entries of a replaced API key to the outbox of KRONVEX_API_KEY",
    ),
}
