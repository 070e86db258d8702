"""The models of requests: the fields of every dialect, checked.

Unknown fields are rejected, and null means the same as leaving a field out. Where two names mean
the same, the first one counts: `memory_type` before `type`, `query` before `message` in recall,
`message` before `query` in inject-context.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.records import Scope
from langchain_kronvex.core.types import MemoryDraft
from langchain_kronvex.server.api.responses import ExportAnswer, UserExportAnswer, UserMemory
from langchain_kronvex.storage.record import is_uuid

_SECONDS_PER_DAY = 86_400
_DEFAULT_LIMIT = 20
_FAR = 1 << 53


def stored_id(memory_id: str) -> str:
    """Return a memory id as it is stored; UUIDs may also be written with dashes."""
    is_dashed = len(memory_id) == 36 and is_uuid(memory_id)
    return memory_id.replace("-", "").lower() if is_dashed else memory_id


def _utc(moment: datetime) -> datetime:
    """Return a time with a zone; one without is taken as UTC."""
    return moment if moment.utcoffset() is not None else moment.replace(tzinfo=timezone.utc)


def _written_out(value: Any) -> Any:
    """Refuse a number, which would be taken as seconds since 1970: "2030" means a year."""
    if isinstance(value, int | float) or (isinstance(value, str) and value.strip().isdigit()):
        raise ValueError("write a time such as 2026-04-28T12:30:15Z")
    return value


def lifetime_days(ttl_days: int | None, ttl_seconds: int | None) -> float | None:
    """Return the days that a memory lives; seconds win over days."""
    return ttl_days if ttl_seconds is None else ttl_seconds / _SECONDS_PER_DAY


def _empty_is_none(value: Any) -> Any:
    return None if value == "" else value


_check_id = partial(checks.check_optional_id, name="the id")
_is_content = AfterValidator(partial(checks.check_content, name="the text"))
_is_text = AfterValidator(partial(checks.check_text, name="the text"))
_is_name = AfterValidator(partial(checks.check_id, name="the name"))
_owner = Field(description="The owner of the memories. Null and '' mean the agent itself.")
_Short = Annotated[str, Field(max_length=255)]
Text = Annotated[str, _is_content, Field(min_length=1, max_length=1_048_576)]
AnyText = Annotated[str, _is_text, Field(max_length=1_048_576)]
Name = Annotated[str, _is_name, Field(min_length=1, max_length=255)]
Id = Annotated[_Short | None, BeforeValidator(_empty_is_none), AfterValidator(_check_id), _owner]
GivenId = Annotated[str, AfterValidator(_check_id), Field(min_length=1, max_length=255)] | None
Description = Annotated[str, Field(max_length=10_000)]
Metadata = Annotated[dict[str, Any], AfterValidator(checks.check_metadata)]
Moment = Annotated[datetime, AfterValidator(_utc)]
Time = Annotated[datetime, BeforeValidator(_written_out), AfterValidator(_utc)]
PlainText = Annotated[str, AfterValidator(partial(checks.check_text, name="memory_type"))]
TypeName = Literal["episodic", "semantic", "procedural", "fact", "preference", "context"]
MemoryType = Annotated[TypeName, Field(description="Or `type`.")]
AnyType = Annotated[TypeName | None, Field(description="Or `type`.")]
TtlDays = Annotated[int, Field(ge=1, le=3650)] | None
_Seconds = Annotated[int, Field(ge=60, le=3650 * _SECONDS_PER_DAY)]
TtlSeconds = Annotated[_Seconds | None, Field(description="Wins over ttl_days.")]


def _example(**fields: str) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [dict(fields)]})


class Body(BaseModel):
    """The fields of a request; null counts as left out.

    Attributes:
        nullable: Whether null may be given.
        other_names: Names that other dialects have for a field.
        ignored: Fields of the API that change nothing here.
    """

    model_config = ConfigDict(extra="forbid")
    nullable: ClassVar[bool] = True
    other_names: ClassVar[Mapping[str, str]] = {"type": "memory_type"}
    ignored: ClassVar[Collection[str]] = ()

    @model_validator(mode="before")
    @classmethod
    def _in_one_dialect(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        names = [name for name in data if name not in cls.ignored]
        given = {name: data[name] for name in names if not (cls.nullable and data[name] is None)}
        for other, name in cls.other_names.items():
            if other in given:
                given.setdefault(name, given.pop(other))
        return given


class Whose(Body):
    """The two ids that name the owner of the memories of a request."""

    session_id: Id = None
    user_id: Id = None

    @property
    def scope(self) -> Scope:
        """The scope meant; an empty one without ids.

        Both ids name the owner, so either one alone, or the same text in both, is the same scope.
        Two different texts are a user and one of the user's sessions.
        """
        if self.session_id and self.user_id and self.session_id != self.user_id:
            return Scope.of(self.user_id, self.session_id)
        return Scope.of(None, self.session_id or self.user_id)


class NewMemory(Whose):
    """The fields of every way of storing a memory."""

    content: Text
    memory_type: MemoryType = "episodic"
    metadata: Metadata = Field(default_factory=dict)
    ttl_days: TtlDays = None
    ttl_seconds: TtlSeconds = None
    pinned: bool = Field(False, description="Never expires.")
    valid_from: Time | None = Field(None, description="Since when it is true.")
    supersedes: Name | list[Name] | None = Field(
        None, description="Ids of memories of the same owner: kept, but hidden from now on."
    )

    def draft(self) -> MemoryDraft:
        """Return the memory to store."""
        names = {"content", "memory_type", "metadata", "pinned", "valid_from"}
        given: Any = self.model_dump(include=names)
        ids = [self.supersedes] if isinstance(self.supersedes, str) else self.supersedes or ()
        given["supersedes"] = [stored_id(id_) for id_ in ids]
        user, session = self.scope.user_id, self.scope.session_id
        ttl_days = lifetime_days(self.ttl_days, self.ttl_seconds)
        return MemoryDraft(**given, user_id=user, session_id=session, ttl_days=ttl_days)


class RememberBody(NewMemory):
    """Store one memory."""

    model_config = _example(
        content="User prefers concise answers", memory_type="semantic", session_id="user-42"
    )


_CONDITIONS = (
    "top_k", "threshold", "memory_type", "filter", "since", "until", "as_of", "max_tokens",
    "include_shared", "include_superseded",
)  # fmt: skip


class Question(Whose):
    """The fields that recall and inject-context share."""

    top_k: int = Field(5, ge=1, le=20)
    threshold: float = Field(0.0, ge=0, le=1, description="The least similarity.")
    memory_type: TypeName | list[TypeName] | None = Field(None, description="Or `type`.")
    filter: dict[str, Any] | None = Field(None, description="Conditions on the metadata.")
    since: Time | None = Field(None, description="Only what was said then or later.")
    until: Time | None = Field(None, description="Only what was said before.")
    as_of: Time | None = Field(None, description="Only what was true at this moment.")

    def conditions(self) -> dict[str, Any]:
        """Return the options of `KronvexMemory.recall` and `inject_context`, without the scope."""
        names = {*type(self).model_fields} & {*_CONDITIONS}
        return self.model_dump(include=names)


class RecallBody(Question):
    """Find memories of one user; without ids, those of the agent itself."""

    model_config = _example(query="How long should answers be?", session_id="user-42")
    other_names = {"type": "memory_type", "message": "query"}
    ignored = ("context_messages",)
    query: Annotated[Text, Field(description="Or `message`.")]
    include_shared: bool = Field(False, description="Search the agent's own memories as well.")
    include_superseded: bool = Field(False, description="Find superseded memories as well.")


class ExplainBody(RecallBody):
    """Explain why a recall of one user's memories returns a memory, or does not."""

    model_config = _example(
        query="How long should answers be?", session_id="user-42", memory_id="0b9c…"
    )
    memory_id: Name


class InjectBody(Question):
    """Make a text for a prompt from the memories of one user."""

    model_config = _example(message="How long should answers be?", session_id="user-42")
    other_names = {"type": "memory_type", "query": "message"}
    message: Annotated[AnyText, Field(description="Or `query`. A blank one gives the profile.")]
    max_tokens: int | None = Field(None, ge=1, description="About how long the text may be.")


class NewAgent(Body):
    """Make an agent; the server chooses its id."""

    model_config = _example(name="support-bot")
    name: Name
    description: Description | None = None
    metadata: Metadata = Field(default_factory=dict)


class AgentChange(Body):
    """Change the fields given; metadata is replaced, not merged."""

    name: Name | None = None
    description: Description | None = None
    metadata: Metadata | None = None


class MemoryChange(Body):
    """Change the fields given."""

    nullable: ClassVar[bool] = False
    content: Text = Field("-", description="The corrected text, by which it is found from now on.")
    pinned: bool = False
    memory_type: MemoryType = "episodic"
    metadata: Metadata = Field(default_factory=dict, description="Replaces the metadata.")
    ttl_days: TtlDays = Field(None, description="From created_at; null for no expiry.")
    ttl_seconds: TtlSeconds = None


class WhoseQuery(Whose):
    """The user or session to erase the memories of; without ids, all of the agent's."""

    session_id: GivenId = None
    user_id: GivenId = None


class BulkDelete(WhoseQuery):
    """Conditions that a memory must all meet to be erased. An empty id is rejected."""

    memory_ids: list[Name] | None = Field(None, max_length=10_000)
    memory_type: AnyType = None
    before_date: Moment | None = None

    @model_validator(mode="after")
    def _names_something(self) -> BulkDelete:
        if self.memory_ids is None and self.memory_type is None and self.before_date is None:
            raise ValueError("give memory_ids, memory_type or before_date")
        return self


class ImportedMemory(NewMemory):
    """One memory of an import, as exports hold it."""

    ignored = {*UserMemory.model_fields} - {*NewMemory.model_fields, "created_at", "expires_at"}

    created_at: Moment | None = None
    expires_at: Moment | None = Field(None, description="Used when no ttl is given.")

    @property
    def expiry(self) -> datetime | None:
        """When the memory expires if no lifetime is given; None for never."""
        return None if self.pinned else self.expires_at

    def dated_draft(self, now: datetime) -> MemoryDraft:
        """Return the memory to store, with its own date, or else the time `now`."""
        draft, created = self.draft(), self.created_at or now
        lifetime = draft.ttl_days
        if lifetime is None and self.expiry is not None:
            lifetime = (self.expiry - created).total_seconds() / _SECONDS_PER_DAY
        return replace(draft, created_at=created, ttl_days=lifetime)


class BulkImport(Body):
    """1 to 100 memories; when one does not fit, none is stored."""

    ignored = {*ExportAnswer.model_fields, *UserExportAnswer.model_fields} - {"memories"}
    memories: list[ImportedMemory] = Field(min_length=1, max_length=100)


class ListQuery(Whose):
    """Which memories to list, in which order, and which page, in the words of every dialect."""

    other_names = {"type": "memory_type", "q": "search"}
    page: int = Field(1, ge=1, le=_FAR)
    per_page: int | None = Field(None, ge=1, le=100)
    limit: int | None = Field(None, ge=1, le=1000)
    offset: int | None = Field(None, ge=0, le=_FAR)
    memory_type: Annotated[PlainText | None, Field(description="Or `type`.")] = None
    search: str | None = Field(None, description="Or `q`.")
    sort: Literal["recent", "oldest", "access_count", "date_desc", "date_asc"] = "recent"

    @property
    def bounds(self) -> tuple[int, int]:
        """Limit and offset; `limit` wins over `per_page`, and `offset` over `page`."""
        size = self.limit or self.per_page or _DEFAULT_LIMIT
        return size, (self.page - 1) * size if self.offset is None else self.offset


class DaysQuery(Body):
    """Accepted because the API has it; the answer covers the last 14 days."""

    days: int = Field(14, ge=1, le=3650)
