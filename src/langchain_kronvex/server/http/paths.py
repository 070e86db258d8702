"""Which path of the API a request names, and whether it says so plainly.

Endpoints are chosen by the decoded path. A slash or a line break that was encoded within an id
could so turn the request for one memory into that for all of them.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from starlette.types import Scope

_OF_USERS = ["", "api", "v1", "agents", "memories", "user"]
_USER_PART = 7
_ODD = re.compile(r"[/\x00-\x1f\x7f]")


def inner_path(scope: Scope) -> str:
    """Return the path inside the app, wherever the app is mounted; the router's own rule."""
    path: str = scope["path"]
    prefix: str = scope.get("root_path", "")
    inside = path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] == "/"
    return path[len(prefix) :] if inside else path


def is_misleading(scope: Scope) -> bool:
    """Tell whether a path has an empty part, or a slash or control character within one.

    The id of a user may hold either: there they are what they say.
    """
    parts = [unquote(part) for part in _as_sent(scope).split("/")]
    if "" in parts[1:]:
        return True
    of_user = [*parts[:4], *parts[5:_USER_PART]] == _OF_USERS
    return any(
        _ODD.search(part)
        for number, part in enumerate(parts)
        if not (of_user and number == _USER_PART)
    )


def _as_sent(scope: Scope) -> str:
    """Return the inner path as it was encoded."""
    inner, raw = inner_path(scope), scope.get("raw_path")
    if raw is None:
        return quote(inner)
    sent: str = raw.partition(b"?")[0].decode("latin-1")
    for _ in range(scope.get("root_path", "").count("/") + 1):
        if unquote(sent) == inner:
            return sent
        sent = "/" + sent[1:].partition("/")[2]
    return quote(inner)  # somebody has changed the path since
