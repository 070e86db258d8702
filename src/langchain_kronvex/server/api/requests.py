"""What requests may hold: the fields of every dialect, checked.

Unknown fields are passed over, and null means the same as leaving a field out. Where two names
mean the same, the first one given counts: `memory_type` before `type`, `query` before `message`
in recall, `message` before `query` in inject-context.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.types import Scope
from langchain_kronvex.server.api.dialects import whose

MAX_TTL_SECONDS = 3650 * 86_400
MemoryTypeName = Literal["episodic", "semantic", "procedural", "fact", "preference", "context"]
T = TypeVar("T")


def _text(value: str) -> str:
    return checks.check_content(value, "the text")


def _name(value: str) -> str:
    return checks.check_id(value, "the name")


def _empty_is_none(value: Any) -> Any:
    return None if value == "" else value


def _id(value: str | None) -> str | None:
    return checks.check_optional_id(value, "the id")


def _plain(value: str) -> str:
    _check_strings(value)
    return value


def _metadata(value: dict[str, Any]) -> dict[str, Any]:
    copy = checks.check_metadata(value)
    _check_strings(copy)
    return copy


def _check_strings(value: Any) -> None:
    """Refuse what is no text in any string of a JSON value, keys included."""
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("a text contains a NUL character; remove it.")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("a text contains a lone surrogate, which is no character.") from None
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_strings(key)
            _check_strings(item)
    elif isinstance(value, list):
        for item in value:
            _check_strings(item)


Text = Annotated[str, AfterValidator(_text), Field(min_length=1, max_length=1_048_576)]
Name = Annotated[str, AfterValidator(_name), Field(min_length=1, max_length=255)]
Id = Annotated[
    Annotated[str, Field(max_length=255)] | None,
    BeforeValidator(_empty_is_none),
    AfterValidator(_id),
    Field(description="Whose memory. Null and '' mean the agent itself."),
]
Description = Annotated[str, AfterValidator(_plain), Field(max_length=10_000)]
Metadata = Annotated[dict[str, Any], AfterValidator(_metadata)]
Alias = Annotated[Any, Field(json_schema_extra={"type": "string"})]
TtlDays = Annotated[int, Field(ge=1, le=3650)] | None
TtlSeconds = Annotated[int, Field(ge=60, le=MAX_TTL_SECONDS)] | None


class Body(BaseModel):
    """A request's body: aliases are resolved, and null counts as left out."""

    model_config = ConfigDict(extra="ignore")
    aliases: ClassVar[dict[str, str]] = {}
    nullable: ClassVar[bool] = True

    @model_validator(mode="before")
    @classmethod
    def _one_dialect(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        given = {k: v for k, v in data.items() if v is not None} if cls.nullable else dict(data)
        for name, other in cls.aliases.items():
            if name not in given and other in given:
                given[name] = given[other]
        return given


class Scoped(Body):
    """A body that says whose memory it is about."""

    session_id: Id = None
    user_id: Id = None

    @property
    def scope(self) -> Scope:
        """The scope meant; an empty one for the agent itself."""
        return whose(self.session_id, self.user_id)


class NewMemory(Scoped):
    """What every way of storing a memory takes."""

    aliases: ClassVar[dict[str, str]] = {"memory_type": "type"}
    content: Text
    memory_type: MemoryTypeName = "episodic"
    type: Alias = Field(None, description="Another name of memory_type, which wins.")
    metadata: Metadata = Field(default_factory=dict)
    ttl_days: TtlDays = None
    ttl_seconds: TtlSeconds = Field(None, description="Wins over ttl_days.")
    pinned: bool = Field(False, description="Never expires.")

    @property
    def lifetime_days(self) -> float | None:
        """How long the memory lives; None for ever."""
        return lifetime_days(self.ttl_days, self.ttl_seconds)


class RememberBody(NewMemory):
    """Store one memory."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "content": "User prefers concise answers",
                    "memory_type": "semantic",
                    "session_id": "user-42",
                }
            ]
        }
    )


class RecallBody(Scoped):
    """Find memories of one user; without ids, those of the agent itself."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"query": "How long should answers be?", "session_id": "user-42"}]
        }
    )
    aliases: ClassVar[dict[str, str]] = {"query": "message", "memory_type": "type"}
    query: Text
    message: Alias = Field(None, description="Another name of query, which wins.")
    top_k: int = Field(5, ge=1, le=20)
    threshold: float = Field(0.0, ge=0, le=1, description="The least similarity.")
    memory_type: MemoryTypeName | None = None
    type: Alias = Field(None, description="Another name of memory_type, which wins.")
    include_shared: bool = Field(False, description="Look at the agent's own memories as well.")


class InjectBody(Scoped):
    """Make a text for a prompt out of what is remembered."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"message": "How long should answers be?", "session_id": "user-42"}]
        }
    )
    aliases: ClassVar[dict[str, str]] = {"message": "query", "memory_type": "type"}
    message: Text
    query: Alias = Field(None, description="Another name of message, which wins.")
    top_k: int = Field(5, ge=1, le=20)
    threshold: float = Field(0.0, ge=0, le=1, description="The least similarity.")
    memory_type: MemoryTypeName | None = None
    type: Alias = Field(None, description="Another name of memory_type, which wins.")
    max_tokens: int | None = Field(None, ge=1, description="About how long the text may be.")


class NewAgent(Body):
    """Make an agent; its id is chosen by the server."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "support-bot"}]})
    name: Name
    description: Description | None = None
    metadata: Metadata = Field(default_factory=dict)


class AgentChange(Body):
    """Change what is given; metadata is replaced, not merged."""

    name: Name | None = None
    description: Description | None = None
    metadata: Metadata | None = None


class MemoryChange(Body):
    """Change what is given. The text of a memory never changes."""

    aliases: ClassVar[dict[str, str]] = {"memory_type": "type"}
    nullable: ClassVar[bool] = False
    pinned: bool = False
    memory_type: MemoryTypeName = "episodic"
    type: Alias = Field(None, description="Another name of memory_type, which wins.")
    metadata: Metadata = Field(default_factory=dict, description="Replaces the metadata.")
    ttl_days: TtlDays = Field(None, description="From created_at; null for no expiry.")
    ttl_seconds: TtlSeconds = Field(None, description="Wins over ttl_days.")


class BulkDelete(Scoped):
    """Which memories to erase; every condition given must hold. An empty id is refused."""

    aliases: ClassVar[dict[str, str]] = {"memory_type": "type"}
    memory_ids: list[Name] | None = Field(None, max_length=10_000)
    memory_type: MemoryTypeName | None = None
    type: Alias = Field(None, description="Another name of memory_type, which wins.")
    before_date: datetime | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_empty_id(cls, data: Any) -> Any:
        if isinstance(data, dict) and "" in (data.get("session_id"), data.get("user_id")):
            raise ValueError("session_id and user_id must not be empty")
        return data

    @model_validator(mode="after")
    def _names_something(self) -> BulkDelete:
        if self.memory_ids is None and self.memory_type is None and self.before_date is None:
            raise ValueError("give memory_ids, memory_type or before_date")
        return self


class ImportedMemory(NewMemory):
    """One memory of an import, as exports hold it."""

    created_at: datetime | None = None
    expires_at: datetime | None = Field(None, description="Used when no ttl is given.")


class BulkImport(Body):
    """1 to 100 memories; when one does not fit, none is stored."""

    memories: list[ImportedMemory] = Field(min_length=1, max_length=100)


def lifetime_days(ttl_days: int | None, ttl_seconds: int | None) -> float | None:
    """Return the days that a memory lives; seconds win over days."""
    return ttl_days if ttl_seconds is None else ttl_seconds / 86_400
