"""Outboxes looked after on the command line: what was set aside is listed, sent again, or dropped.

An entry is set aside when the server refuses it for good. It stays on this machine, where it is
found by its owner, until somebody decides. So does what waits under an API key that was replaced.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from langchain_kronvex.core.errors import ConfigurationError
from langchain_kronvex.storage.rest.options import checked_key
from langchain_kronvex.storage.rest.outbox.files import Whose, beside, hand_over, open_outbox
from langchain_kronvex.storage.rest.outbox.outbox import Entry, Outbox

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
    if name == "resend":
        parser.add_argument(
            "--with-present-key",
            action="store_true",
            help="send what waits in --outbox, the file of a key that was replaced, with "
            "KRONVEX_API_KEY, and what was set aside there too",
        )
    parser.set_defaults(command=command)


def _list(asked: argparse.Namespace) -> int:
    for path, outbox in _outboxes(asked.outbox):
        failed = _failed(outbox)
        told = f"{len(failed)} set aside, {outbox.unsent()} to be sent"
        sys.stdout.write(f"{path}: {told}{_named(Whose.read(outbox.setting('identity')))}\n")
        for entry in failed:
            record = entry.stored.record
            day, owner = record.created_at.date().isoformat(), record.scope.owner or "-"
            sys.stdout.write(
                f"{entry.place:6}  {day}  {record.kind:7}  {owner!r}  {entry.failed}\n"
            )
    return 0


def _named(whose: Whose) -> str:
    """Name the server, the agent and the key, the last by the beginning of its digest."""
    present = Whose.of(whose.base_url, whose.agent_id, checked_key(None)).key
    mine = " (the present one)" if present == whose.key else ""
    key = f", API key {whose.key[:8]}{mine}" if whose.key else ", no API key"
    return f" ({whose.base_url}, agent {whose.agent_id!r}{key})"


def _resend(asked: argparse.Namespace) -> int:
    if asked.with_present_key:
        return _resend_with_present_key(asked)
    for path, outbox in _outboxes(asked.outbox):
        count = outbox.resend(_places(outbox, asked.entries))
        sys.stdout.write(f"{path}: {count} to be sent again\n")
    return 0


def _resend_with_present_key(asked: argparse.Namespace) -> int:
    path = Path(asked.outbox or "").expanduser().absolute()
    key = checked_key(None)
    if key is None or not path.is_file():
        raise ConfigurationError(
            "--with-present-key needs KRONVEX_API_KEY, and --outbox with the file of one outbox, "
            "as `outbox list` shows it."
        )
    with closing(Outbox(path, None, _TIMEOUT_SECONDS)) as source:
        held = Whose.read(source.setting("identity"))
        mine = Whose.of(held.base_url, held.agent_id, key)
        places = [
            e.place for e in source.waiting() if e.place in asked.entries or not asked.entries
        ]
        count = len(places)
        if mine == held:
            source.resend(places)
        else:
            with closing(open_outbox(mine, _chosen(path), _TIMEOUT_SECONDS)) as target:
                count = hand_over(source, target, places, _TIMEOUT_SECONDS)
    sys.stdout.write(f"{path}: {count} to be sent with the present key\n")
    return 0


def _chosen(path: Path) -> Path:
    """Return what was given as `outbox=` when a file was made."""
    if re.fullmatch("outbox-[0-9a-f]{16}(-[0-9a-f]{32})?[.]db", path.name):
        return path.parent
    first = path.parent / path.name[:-33]  # as `beside` names them
    return first if first.is_file() and path in beside(first) else path


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
    found += beside(path) if path.is_file() else []
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
