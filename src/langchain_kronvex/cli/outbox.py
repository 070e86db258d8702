"""Outboxes on the command line: list, resend, discard or hand over their entries.

An entry is refused when the server will never take it. It stays on this machine, where recall still
finds it, until it is resent or discarded. So do the entries of an API key that was replaced.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from langchain_kronvex.cli.terminal import note, say
from langchain_kronvex.core.errors import ConfigurationError
from langchain_kronvex.storage.rest.opening import checked_key
from langchain_kronvex.storage.rest.outbox import files
from langchain_kronvex.storage.rest.outbox.files import OutboxIdentity
from langchain_kronvex.storage.rest.outbox.outbox import Outbox

_TIMEOUT_SECONDS = 30.0


def add_outbox_commands(parser: argparse.ArgumentParser) -> None:
    """Add `list`, `resend`, `discard` and `hand-over`."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command, purpose in (
        ("list", _list, "list the refused entries, without their texts"),
        ("resend", _resend, "send refused entries when their memory is next opened"),
        ("discard", _discard, "erase refused entries for good; no server has them"),
        ("hand-over", _hand_over, "move all entries of an old key to that of KRONVEX_API_KEY"),
    ):
        added = commands.add_parser(name, help=purpose)
        needed = name in ("discard", "hand-over")
        where = "its file, or the folder of several"
        where += "" if needed else " (those in the user's data folder)"
        added.add_argument("--outbox", required=needed, help=where)
        if name in ("resend", "discard"):
            added.add_argument("entries", nargs="*", type=int, help="their numbers (all)")
        added.set_defaults(command=command)


def _list(asked: argparse.Namespace) -> None:
    for path, outbox in _outboxes(asked.outbox):
        refused = outbox.refused()
        counts = f"{len(refused)} refused, {outbox.unsent()} to be sent"
        say(f"{path}: {counts}{_named(files.identity_of(outbox))}")
        for entry in refused:
            record = entry.stored.record
            day, owner = record.created_at.date().isoformat(), record.scope.owner or "-"
            say(f"{entry.place:6}  {day}  {record.kind:7}  {owner!r}  {entry.failed}")


def _named(held: OutboxIdentity) -> str:
    """Name the server, the agent and the beginning of the key's digest."""
    mine = " (the present one)" if held == _with_present_key(held) else ""
    key = f", API key {held.key[:8]}{mine}" if held.key else ", no API key"
    return f" ({held.base_url}, agent {held.agent_id!r}{key})"


def _resend(asked: argparse.Namespace) -> None:
    for path, outbox in _outboxes(asked.outbox):
        count = outbox.resend(_chosen(outbox, asked.entries))
        say(f"{path}: {count} to be sent again")


def _discard(asked: argparse.Namespace) -> None:
    for path, outbox in _outboxes(asked.outbox):
        places = _chosen(outbox, asked.entries)
        if places:
            outbox.erase(places)
        say(f"{path}: {len(places)} discarded")


def _hand_over(asked: argparse.Namespace) -> None:
    path = files.location_of(asked.outbox)
    if not path.is_file():
        raise ConfigurationError(f"There is no outbox at {path}; `outbox list` shows the files.")
    with closing(Outbox(path, _TIMEOUT_SECONDS)) as source:
        held = files.identity_of(source)
        mine = _with_present_key(held)
        if mine.key in ("", held.key):
            raise ConfigurationError("Set KRONVEX_API_KEY to the key that is to send the entries.")
        with closing(files.open_for_other_key(path, mine, _TIMEOUT_SECONDS)) as target:
            count = files.hand_over(source, target)
    say(f"{path}: {count} to be sent with the present key")


def _outboxes(chosen: str | None) -> Iterator[tuple[Path, Outbox]]:
    location = files.location_of(chosen or None)
    found = files.outboxes_at(location)
    if not found and chosen:
        raise ConfigurationError(f"There is no outbox at {location}.")
    if not found:
        note(f"There is no outbox in {location}.")
    for each in found:
        with closing(Outbox(each, _TIMEOUT_SECONDS)) as outbox:
            yield each, outbox


def _with_present_key(held: OutboxIdentity) -> OutboxIdentity:
    """Return the identity of the same server and agent with KRONVEX_API_KEY, if it is set."""
    return OutboxIdentity.of(held.base_url, held.agent_id, checked_key(None))


def _chosen(outbox: Outbox, wanted: Sequence[int]) -> list[int]:
    return [entry.place for entry in outbox.refused() if not wanted or entry.place in wanted]
