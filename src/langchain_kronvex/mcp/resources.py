"""The resources of the MCP server: a user's profile, sessions, and the messages of one session."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.types import Resource, ResourceTemplate
from pydantic import AnyUrl

from langchain_kronvex.core.context_lines import neutral
from langchain_kronvex.core.errors import MemoryNotFound
from langchain_kronvex.core.messages import text_of
from langchain_kronvex.memory.memory import KronvexMemory

_PROFILE, _SESSIONS = "kronvex://profile", "kronvex://sessions"
_MOST_SESSIONS = 100
_MOST_MESSAGES = 200
_JSON = "application/json"


RESOURCES = [
    Resource(
        uri=AnyUrl(_PROFILE), name="profile", mimeType="text/plain",
        description="What is true of the user now, one line for each memory.",
    ),
    Resource(
        uri=AnyUrl(_SESSIONS), name="sessions", mimeType=_JSON,
        description=f"The user's last {_MOST_SESSIONS} conversations, newest first.",
    ),
]  # fmt: skip
TEMPLATES = [
    ResourceTemplate(
        uriTemplate=f"{_SESSIONS}/{{session_id}}", name="session", mimeType=_JSON,
        description=f"The last {_MOST_MESSAGES} messages of a conversation, oldest first.",
    )
]  # fmt: skip


def read(memory: KronvexMemory, user: str, uri: str) -> list[ReadResourceContents]:
    """Return a resource of a user.

    Raises:
        MemoryNotFound: there is nothing at this address, or nothing of this user's.
    """
    address = urlsplit(uri)
    path = address.path.removeprefix("/")
    if (address.scheme, address.netloc, path) == ("kronvex", "profile", ""):
        return [ReadResourceContents(memory.profile(user).context, "text/plain")]
    if (address.scheme, address.netloc) != ("kronvex", "sessions"):
        raise MemoryNotFound("There is no such resource; resources/list shows them.")
    found = _messages(memory, user, unquote(path)) if path else _sessions(memory, user)
    return [ReadResourceContents(json.dumps(list(found), ensure_ascii=False), _JSON)]


def _sessions(memory: KronvexMemory, user: str) -> Iterator[dict[str, Any]]:
    named = [each for each in memory.sessions(user_id=user) if each.session_id]
    for each in named[:_MOST_SESSIONS]:
        yield {
            "session_id": neutral(each.session_id or ""),
            "memories": each.memories,
            "messages": each.messages,
            "last_at": each.last_at.isoformat(),
            "uri": f"{_SESSIONS}/{quote(each.session_id or '', safe='')}",
        }


def _messages(memory: KronvexMemory, user: str, session_id: str) -> Iterator[dict[str, str]]:
    """Yield the messages of a session, also of one that was stored without its user."""
    found = [each for each in memory.sessions(user_id=user) if each.session_id == session_id]
    if not found:
        raise MemoryNotFound("The user has no such session; kronvex://sessions lists them.")
    for each in found:
        for message in memory.load_messages(
            session_id, user_id=each.user_id, max_messages=_MOST_MESSAGES
        ):
            lines = "\n".join(map(neutral, text_of(message).splitlines()))
            yield {"type": message.type, "text": lines}
