"""The commands that change a store: remember, update, forget, reindex, expire."""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from typing import Any

from langchain_kronvex.cli.opening import (
    NOT_FOUND,
    Add,
    Parents,
    add_command,
    add_scope,
    add_type,
    check_found,
    finish,
    opened,
)
from langchain_kronvex.cli.terminal import counted, keys_of, note, say, say_json, say_table
from langchain_kronvex.core import errors
from langchain_kronvex.core.types import Memory, Retention
from langchain_kronvex.core.validation import MEMORY_TYPES
from langchain_kronvex.embeddings.providers import resolve_embeddings
from langchain_kronvex.memory.memory import KronvexMemory

_LIMITS = ("max_memories", "idle_days")


def add_changing_commands(add: Add, parents: Parents) -> None:
    """Add the commands that write."""
    new = partial(add_command, add, parents=parents)
    keys = f"one object: {keys_of(Memory)}"
    option = new("remember", _remember, "store one memory", keys=keys)
    option("content", metavar="TEXT", help="- reads it from the standard input")
    add_scope(option, "of")
    add_type(option, default="episodic", help="its type (%(default)s)")
    option("--ttl-days", type=float, help="days until it expires")
    option("--pinned", action="store_true", help="it never expires")
    option("--metadata", type=_json_object, help="a JSON object")
    option("--supersedes", action="append", metavar="ID", help="what it replaces; repeatable")
    option = new("update", _update, "change a memory in place", keys=keys)
    option("id", metavar="ID")
    option("--content", metavar="TEXT", help="the corrected text; - reads the standard input")
    add_type(option, help="its new type")
    pinned = argparse.BooleanOptionalAction
    option("--pinned", action=pinned, help="whether it never expires")
    option("--ttl-days", type=_days, help="days from its creation until it expires, or never")
    option("--metadata", type=_json_object, help="a JSON object in place of the present one")
    purpose = "erase one memory, a session or everything of a user, permanently"
    option = new("forget", _forget, purpose, keys="one object: forgotten")
    option("--id", help="one memory; with --user, only if it is theirs")
    add_scope(option, "everything of")
    option("--keep-messages", action="store_true", help="leave the messages it was made of")
    option("--yes", action="store_true", help="do not ask")
    purpose = "compute all vectors again, with the bundled table or --embeddings"
    new("reindex", _reindex, purpose, keys="one object: reindexed")
    purpose = "erase what a retention does not keep, permanently"
    keys = f"one object for each that went or would go, with the keys {keys_of(Memory)}"
    option = new("expire", _expire, purpose, keys=keys)
    option("--max-memories", type=int, help="keep so many of each user, those used last")
    option("--idle-days", type=float, help="keep those used in so many days")
    option("--keep-type", choices=MEMORY_TYPES, action="append", default=[], help="repeatable")
    option("--dry-run", action="store_true", help="only show what would go")
    option("--yes", action="store_true", help="do not ask")


def _remember(asked: argparse.Namespace) -> None:
    with opened(asked, write=True, vectors=True, create=True) as memory:
        made = memory.remember(
            _text(asked.content), memory_type=asked.type, user_id=asked.user,
            session_id=asked.session, ttl_days=asked.ttl_days, pinned=asked.pinned,
            metadata=asked.metadata, supersedes=asked.supersedes,
        )  # fmt: skip
        finish(memory)
    _answer(asked, made, made.id)
    note("stored already, renewed" if made.deduplicated else "stored")


def _update(asked: argparse.Namespace) -> None:
    named = ("pinned", "metadata", "ttl_days")
    changes: dict[str, Any] = {n: v for n in named if (v := getattr(asked, n)) is not None}
    if asked.type is not None:
        changes["memory_type"] = asked.type
    if asked.content is not None:
        changes["content"] = _text(asked.content)
    if not changes:
        raise errors.ConfigurationError("Say what to change: --content, --type, --pinned, …")
    if changes.get("ttl_days") == "never":
        changes["ttl_days"] = None
    with opened(asked, write=True, vectors=True) as memory:
        check_found(asked.id, memory.get(asked.id))
        made = memory.update(asked.id, **changes)
        finish(memory)
    _answer(asked, made, made.id)
    note("changed")


def _forget(asked: argparse.Namespace) -> int | None:
    scope = {"user_id": asked.user, "session_id": asked.session}
    if asked.id is None and asked.user is None and asked.session is None:
        raise errors.ConfigurationError("Say what to forget: --id, --session or --user.")
    with opened(asked) as memory:
        what, where = _named(asked, memory), memory.location
    if what is not None:
        _confirm(asked, f"Erase {what} from {where}, permanently?")
    # Even if nothing is visible, there may be bytes of what has expired.
    with opened(asked, write=True) as memory:
        try:
            count = memory.forget(id=asked.id, keep_messages=asked.keep_messages, **scope)
        except errors.ErasurePending as pending:
            note(str(pending))
            finish(memory)
            return 1
    _answer(asked, {"forgotten": count}, f"{count} erased")
    return None if count else NOT_FOUND


def _named(asked: argparse.Namespace, memory: KronvexMemory) -> str | None:
    """Describe what is to be forgotten, as the user is asked; None if there is nothing."""
    owner = asked.user or asked.session
    if asked.id is not None:
        found = memory.get(asked.id)
        if found is None or owner not in (None, found.user_id or found.session_id):
            return None
        whose = found.user_id or found.session_id or "no user"
        return f"the memory {asked.id!r} of {whose!r}, and what was derived from it alone"
    of_user = [each for each in memory.sessions() if (each.user_id or each.session_id) == owner]
    if asked.user is not None and asked.session is not None:
        of_user = [each for each in of_user if each.session_id == asked.session]
    memories = sum(each.memories for each in of_user)
    messages = sum(each.messages for each in of_user)
    if not memories + messages:
        return None
    session = f", session {asked.session!r}" if asked.user and asked.session else ""
    both = f"{counted(memories, 'memory')} and {counted(messages, 'message')}"
    return f"{both} of the user {owner!r}{session}"


def _reindex(asked: argparse.Namespace) -> None:
    try:
        with opened(asked, write=True, vectors=True) as memory:
            count = memory.reindex()
    except errors.EmbeddingMismatch:  # the vectors come from others, which need not be at hand
        model = resolve_embeddings(asked.embeddings)
        with opened(asked, write=True) as memory:
            count = memory.reindex(model.embeddings if model else None)
    _answer(asked, {"reindexed": count}, f"{counted(count, 'memory')} embedded")


def _expire(asked: argparse.Namespace) -> None:
    limits = {name: getattr(asked, name) for name in _LIMITS}
    if not any(value is not None for value in limits.values()):
        raise errors.ConfigurationError("Say what to keep: --max-memories, --idle-days or both.")
    retention = Retention(**limits, keep_types=tuple(asked.keep_type))
    with opened(asked, retention=retention) as memory:
        gone, where = memory.expire(dry_run=True), memory.location
    if not asked.dry_run and gone:
        _confirm(asked, f"Erase {counted(len(gone), 'memory')} from {where}, permanently?")
        with opened(asked, write=True, retention=retention) as memory:
            gone = memory.expire()
    if asked.json:
        for each in gone:
            say_json(each)
        return
    columns = ("id", "created_at", "user_id", "content")
    say_table(columns, [[getattr(each, name) for name in columns] for each in gone])
    note(f"{counted(len(gone), 'memory')} {'would go' if asked.dry_run else 'erased'}")


def _confirm(asked: argparse.Namespace, question: str) -> None:
    """Ask, unless --yes was given.

    Raises:
        ConfigurationError: nobody can be asked.
        KronvexError: the answer is not yes.
    """
    if asked.yes:
        return
    if not sys.stdin.isatty():
        raise errors.ConfigurationError(f"{question} Nobody can answer here: pass --yes to do it.")
    note(f"{question} [y/N]")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise errors.KronvexError("Nothing was erased.")


def _answer(asked: argparse.Namespace, value: object, line: str) -> None:
    say_json(value) if asked.json else say(line)


def _text(given: str) -> str:
    return sys.stdin.read().rstrip("\n") if given == "-" else given


def _days(given: str) -> float | str:
    try:
        return given if given == "never" else float(given)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{given!r} is neither a number of days nor 'never'"
        ) from None


def _json_object(given: str) -> dict[str, Any]:
    try:
        found = json.loads(given)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError('it must be a JSON object, such as {"topic": "work"}')
    return found
