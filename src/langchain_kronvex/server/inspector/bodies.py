"""The requests of the inspector: JSON bodies, since a path or a header cannot hold every id."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from langchain_kronvex.core.records import Scope
from langchain_kronvex.server.api.requests import AnyType, Body, GivenId, Question, Text

_Offset = Annotated[int, Field(ge=0, le=1 << 53)]
_MemoryId = Annotated[str, Field(min_length=1, max_length=255)]


class OfAgent(Body):
    """Names an agent."""

    agent_id: str


class UsersBody(OfAgent):
    """A page of the users whose names contain a text."""

    contains: str = ""
    offset: _Offset = 0


class GrowthBody(OfAgent):
    """A user, None for the agent level; or all of them."""

    user_id: GivenId = None
    all_users: bool = False


class OfUser(OfAgent):
    """A user, None for the agent level; all of their sessions or one, and a page."""

    user_id: GivenId = None
    session_id: GivenId = None
    offset: _Offset = 0

    @property
    def scope(self) -> Scope:
        """The memories meant. Unlike in the API, both ids alike are one session of the user."""
        return Scope.of(self.user_id, self.session_id)


class TimelineBody(OfUser):
    """A page of memories, of one type or of all."""

    memory_type: AnyType = None
    superseded: bool = True


class SearchBody(Question):
    """What to search for in the memories of a user."""

    agent_id: str
    query: Text
    memory_id: _MemoryId | None = None


class OneMemory(OfAgent):
    """One memory."""

    id: _MemoryId


class CorrectBody(OneMemory):
    """The values to change."""

    content: Text | None = None
    pinned: bool | None = None


class SupersedeBody(OneMemory):
    """The text of the memory that takes its place."""

    content: Text


class ForgetBody(OfAgent):
    """What to forget: one memory, one session of a user, or everything of a user."""

    id: _MemoryId | None = None
    user_id: GivenId = None
    session_id: GivenId = None
