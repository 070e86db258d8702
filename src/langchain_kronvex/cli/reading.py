"""The commands that look into a store: users, sessions, memories, recall, profile, figures."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
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
    opened,
)
from langchain_kronvex.cli.terminal import keys_of, note, say, say_json, say_table
from langchain_kronvex.core import types
from langchain_kronvex.core.explanation import Explanation
from langchain_kronvex.memory.memory import KronvexMemory

_LINES_OF = "one object for each, with the keys {}"
_LISTED = ("id", "created_at", "memory_type", "user_id", "session_id", "content")
_BAR_COLUMNS = 20
_USERS_SHOWN = 10


def add_reading_commands(add: Add, parents: Parents) -> None:
    """Add the commands that read."""
    memory_keys = _LINES_OF.format(keys_of(types.Memory))
    new = partial(add_command, add, parents=parents)
    keys = _LINES_OF.format(keys_of(types.UserSummary))
    new("users", _users, "list the users, the one written to last first", keys=keys)
    keys = _LINES_OF.format(keys_of(types.SessionSummary))
    option = new("sessions", _sessions, "list the sessions, last written first", keys=keys)
    option("--user", help="only those of this user")
    option = new("list", _list, "list memories of all users, newest first", keys=memory_keys)
    add_scope(option)
    add_type(option, help="only this type")
    option("--limit", type=int, default=50, help="at most so many (%(default)s)")
    option("--offset", type=int, default=0, help="leave out so many of the newest")
    option("--superseded", action="store_true", help="also those that others have superseded")
    option = new("show", _show, "show one memory", keys=f"one object: {keys_of(types.Memory)}")
    option("id", metavar="ID")
    purpose = "show what a memory has superseded and what superseded it, oldest first"
    option = new("history", _history, purpose, keys=memory_keys)
    option("id", metavar="ID")
    keys = _LINES_OF.format(f"{keys_of(types.RecalledMemory)}; with --explain, explanation")
    option = new("recall", _recall, "find memories; counts no access", keys=keys)
    option("query", metavar="QUERY")
    add_scope(option, "of")
    add_type(option, help="only this type")
    option("--top-k", type=int, default=5, help="how many (%(default)s)")
    option("--explain", action="store_true", help="what the scores are made of")
    option("--id", help="explain this memory of the user instead, whether it is found or not")
    keys = f"one object: {keys_of(types.MemoryContext)}"
    option = new("profile", _profile, "show what a prompt is told about a user", keys=keys)
    option("--user", required=True, help="the user")
    option("--max-tokens", type=int, help="about how long it may be (1000)")
    keys = f"one object: {keys_of(types.MemoryStats)}"
    option = new("stats", _stats, "show how much is stored", keys=keys)
    seconds = "show it again every SECONDS (2), until Ctrl-C"
    option("--watch", type=float, nargs="?", const=2.0, metavar="SECONDS", help=seconds)


def _users(asked: argparse.Namespace) -> None:
    with opened(asked) as memory:
        _listed(asked, memory.users(), [field.name for field in fields(types.UserSummary)])


def _sessions(asked: argparse.Namespace) -> int:
    with opened(asked) as memory:
        found = memory.sessions(user_id=asked.user)
        is_unknown = not found and _is_unknown(asked, memory)
    columns = [field.name for field in fields(types.SessionSummary)]
    return _listed(asked, found, columns, is_unknown=is_unknown)


def _list(asked: argparse.Namespace) -> int:
    with opened(asked) as memory:
        found = memory.memories(
            user_id=asked.user, session_id=asked.session, memory_type=asked.type,
            limit=asked.limit, offset=asked.offset, include_superseded=asked.superseded,
            all_users=asked.user is None and asked.session is None,
        )  # fmt: skip
        is_unknown = not found and _is_unknown(asked, memory)
    return _listed(asked, found, _LISTED, is_unknown=is_unknown)


def _show(asked: argparse.Namespace) -> None:
    with opened(asked) as memory:
        found = memory.get(asked.id)
    check_found(asked.id, found)
    if asked.json:
        say_json(found)
        return
    for field in fields(types.Memory):
        value = getattr(found, field.name)
        if field.name not in ("content", "deduplicated") and value not in (None, (), {}):
            say(f"{field.name:13}  {value}")
    say("")
    _say_lines(getattr(found, "content", ""))


def _history(asked: argparse.Namespace) -> None:
    with opened(asked) as memory:
        found = memory.history(asked.id)
    _listed(asked, found, ("id", "valid_from", "valid_until", "superseded_by", "content"))


def _recall(asked: argparse.Namespace) -> int | None:
    scope = {"user_id": asked.user, "session_id": asked.session}
    options: dict[str, Any] = {**scope, "top_k": asked.top_k, "memory_type": asked.type}
    with opened(asked, vectors=True) as memory:
        if asked.id is not None:
            explained = memory.explain(asked.query, asked.id, **options)
            say_json(explained) if asked.json else _say_lines(str(explained))
            return None
        found = memory.recall(asked.query, **options)
        if asked.explain:
            _say_explained(asked, memory, found, options)
            return None if found else _nothing()
    if asked.json:
        for each in found:
            say_json(each)
        return None if found else NOT_FOUND
    scores = ("similarity", "confidence", "probability")
    rounded = [[f"{getattr(each, name):.2f}" for name in scores] for each in found]
    named = [[each.id, each.created_at, each.content] for each in found]
    say_table(
        (*scores, "id", "created_at", "content"),
        [[*a, *b] for a, b in zip(rounded, named, strict=True)],
    )
    return None if found else _nothing()


def _say_explained(
    asked: argparse.Namespace,
    memory: KronvexMemory,
    found: Sequence[types.RecalledMemory],
    options: dict[str, Any],
) -> None:
    for each in found:
        explained: Explanation = memory.explain(asked.query, each.id, **options)
        if asked.json:
            members = {field.name: getattr(each, field.name) for field in fields(each)}
            say_json({**members, "explanation": explained})
        else:
            say(each.content)
            _say_lines(f"{explained}\n")


def _profile(asked: argparse.Namespace) -> int | None:
    with opened(asked) as memory:
        found = memory.profile(asked.user, max_tokens=asked.max_tokens)
    if asked.json:
        say_json(found)
        return None
    _say_lines(found.context)
    return None if found.memories else _nothing()


def _stats(asked: argparse.Namespace) -> None:
    with suppress(KeyboardInterrupt):
        while True:
            # Opened each time, so that nothing is held open in between.
            with opened(asked) as memory:
                found, users = memory.stats(), [] if asked.json else memory.users()
            if asked.watch and not asked.json and sys.stdout.isatty():
                sys.stdout.write("\033[2J\033[H")
            say_json(found) if asked.json else _say_stats(found, users)
            sys.stdout.flush()
            if not asked.watch:
                return
            time.sleep(asked.watch)


def _say_stats(found: types.MemoryStats, users: Sequence[types.UserSummary]) -> None:
    for field in fields(found):
        value = getattr(found, field.name)
        if value is not None:
            say(f"{field.name:10}  {f'{value:,}' if isinstance(value, int) else value}")
    largest = sorted(users, key=lambda each: -each.memories)[:_USERS_SHOWN]
    if largest and largest[0].memories:
        say("")
        bars = ["█" * round(_BAR_COLUMNS * u.memories / largest[0].memories) for u in largest]
        rows = [(u.user_id, u.memories, bar) for u, bar in zip(largest, bars, strict=True)]
        say_table(("user_id", "memories", ""), rows)


def _listed(
    asked: argparse.Namespace,
    found: Sequence[object],
    columns: Sequence[str],
    *,
    is_unknown: bool = False,
) -> int:
    if asked.json:
        for each in found:
            say_json(each)
    else:
        say_table(columns, [[getattr(each, name) for name in columns] for each in found])
    if is_unknown:
        note(f"There is no user {asked.user!r}.")
    elif not found and not asked.json:
        _nothing()
    return NOT_FOUND if is_unknown else 0


def _is_unknown(asked: argparse.Namespace, memory: KronvexMemory) -> bool:
    return asked.user is not None and not memory.sessions(user_id=asked.user)


def _say_lines(text: str) -> None:
    for line in text.split("\n"):
        say(line)


def _nothing() -> int:
    note("Nothing was found.")
    return NOT_FOUND
