"""Finds ids that look like slips of a program. Pure functions."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from langchain_kronvex.core.types import SessionSummary, UserSummary

_NOBODY = {
    "none", "null", "nil", "undefined", "nan", "default", "unknown", "anonymous", "user", "user_id",
    "session", "session_id", "string", "[object object]", "{user_id}", "{session_id}",
}  # fmt: skip
_GENERATED = re.compile(r"(?:[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12})", re.IGNORECASE)
_MANY = 5  # sessions or users of one turn each, from which it is hardly a coincidence
_ONE_TURN = 2  # messages: a question and its answer


def nobodies(names: Iterable[str]) -> list[str]:
    """Return the names that probably stand for a missing value."""
    return sorted({name for name in names if name.strip().casefold() in _NOBODY})


def spellings(users: Sequence[UserSummary]) -> Iterator[list[str]]:
    """Yield the names that are probably one person's: they differ in case, spaces or an e-mail."""
    groups: dict[str, set[str]] = defaultdict(set)
    for user in users:
        plain = re.sub(r"\s+", " ", user.user_id.strip().casefold())
        groups[plain.partition("@")[0].strip() or plain].add(user.user_id)
    for _, names in sorted(groups.items()):
        # Two addresses with the same local part are two people.
        addresses = {name.strip().casefold() for name in names if "@" in name}
        if len(names) > 1 and len(addresses) <= 1:
            yield sorted(names)


def one_turn_sessions(sessions: Sequence[SessionSummary]) -> list[str]:
    """Return the users with a new generated session for almost every turn.

    A session without a user is a user of its own; "" stands for these.
    """
    of_user: dict[str, list[bool]] = defaultdict(list)
    for each in sessions:
        if each.session_id is not None:
            short = each.messages <= _ONE_TURN and each.memories <= 1
            is_slip = short and bool(_GENERATED.fullmatch(each.session_id))
            of_user[each.user_id or ""].append(is_slip)
    return sorted(u for u, slips in of_user.items() if _MANY <= sum(slips) >= 0.8 * len(slips))
