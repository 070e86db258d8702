"""The answer of a model: its schema, and how it is read. Pure functions.

The model sees exchanges and known facts by small numbers, and answers with an object: one list for
each schema, and the list `confirmed`. Reading forgives what is left out and nothing that is wrong.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from langchain_kronvex.consolidation.schemas import (
    CONFIRMED,
    Bookkeeping,
    JSONSchema,
    content_of,
    fields_of,
    object_schema,
    type_of,
)
from langchain_kronvex.core.context_lines import neutral
from langchain_kronvex.core.errors import ConsolidationRefused
from langchain_kronvex.core.validation import MemoryType

MAX_FACT_CHARS = 500
MAX_FAULTS = 20  # in one message to the model
_DATE = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2})(?:T.*)?)?)?", re.ASCII)


class Confirmation(BaseModel):
    """A known fact that is said again."""

    model_config = ConfigDict(extra="forbid")
    known: int = Field(description="Number of the known fact.")
    sources: list[int] = Field(description="Numbers of the exchanges in which the user says it.")


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a user said and what was answered; one of both may be "". Numbers count from 1."""

    number: int
    id: str
    said: str
    answer: str
    created_at: datetime
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What is known already. One without a number was stated directly, and stays as it is.

    `exchanges` are the numbers of those among the shown exchanges that it rests on: they are shown
    once more, for example because they were corrected.
    """

    number: int | None
    id: str
    content: str
    created_at: datetime
    exchanges: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """What the model is shown: exchanges of one user, and what is known of that user."""

    exchanges: Sequence[Exchange]
    known: Sequence[Known] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """A memory to be derived.

    Attributes:
        content: Its text, 1 to 500 characters.
        memory_type: Its type.
        schema: The name of its schema.
        fields: The values of a schema that has more fields than `text`, as JSON.
        sources: Ids of exchanges, in their order, at least one.
        replaces: The id of the known memory that it makes outdated.
        valid_from: Since when it is true; not later than `created_at`.
        created_at: The date of its newest source.
        reason: Why, in the model's words.
    """

    content: str
    memory_type: MemoryType
    schema: str
    fields: Mapping[str, Any]
    sources: tuple[str, ...]
    replaces: str | None
    valid_from: datetime
    created_at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A known memory with more sources: ids of exchanges, in their order."""

    id: str
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Operations:
    """What an answer asks for."""

    added: tuple[Added, ...] = ()
    confirmed: tuple[Confirmed, ...] = ()


def answer_schema(schemas: Iterable[type[BaseModel]]) -> JSONSchema:
    """Return the JSON Schema of an answer, as strict structured output takes it."""
    return {"title": "consolidation", **object_schema(answer_model(schemas))}


def answer_model(schemas: Iterable[type[BaseModel]]) -> type[BaseModel]:
    """Return the pydantic class of an answer: a list for each schema, and `confirmed`."""
    lists: dict[str, Any] = {}
    for schema in schemas:
        item = create_model(schema.__name__, __base__=(schema, Bookkeeping))
        item.__doc__ = schema.__doc__
        lists[schema.__name__] = (list[item], [])  # type: ignore[valid-type]
    lists[CONFIRMED] = (list[Confirmation], [])
    config = ConfigDict(extra="forbid", protected_namespaces=())
    answer: type[BaseModel] = create_model("Consolidation", __config__=config, **lists)
    answer.__doc__ = "What is worth keeping; empty lists if nothing is."
    return answer


def read_answer(
    raw: Mapping[str, Any],
    batch: Batch,
    schemas: Sequence[type[BaseModel]],
    max_operations: int = 20,
) -> Operations:
    """Return the operations of an answer.

    An entry that repeats a known fact word by word confirms it. Entries with the same words become
    one.

    Raises:
        ConsolidationRefused: Something in it is wrong; the message lists the faults, without
            quoting the answer. Values of a wrong type are reported before all others.
    """
    given = {name: value for name, value in raw.items() if value is not None}
    try:
        answer = answer_model(schemas).model_validate_json(json.dumps(given))
    except ValidationError as error:
        raise _refused(_wrong_types(error)) from None  # its message quotes the answer
    reading = _Reading(batch)
    for schema in schemas:
        for place, item in enumerate(getattr(answer, schema.__name__), 1):
            reading.add(f"{schema.__name__} {place}", schema, item)
    for place, item in enumerate(getattr(answer, CONFIRMED), 1):
        reading.confirm(f"{CONFIRMED} {place}", item)
    operations = reading.operations()
    count = len(operations.added) + len(operations.confirmed)
    if count > max_operations:
        reading.faults.append(
            f"There are {count} entries; at most {max_operations} are allowed. "
            "Keep those that matter most."
        )
    if reading.faults:
        raise _refused(reading.faults)
    return operations


def _refused(faults: Sequence[str]) -> ConsolidationRefused:
    more = [f"And {len(faults) - MAX_FAULTS} more."] if len(faults) > MAX_FAULTS else []
    return ConsolidationRefused(" ".join([*faults[:MAX_FAULTS], *more]))


def _wrong_types(error: ValidationError) -> list[str]:
    """Return the faults that pydantic found: not in its words, which may quote the answer."""
    faults: dict[str, None] = {}  # in order, each once
    for each in error.errors(include_url=False, include_input=False):
        name, place, part = [*each["loc"], None, None, None][:3]
        label = "The answer" if place is None else f"{name} {int(place) + 1}"
        wrong = f"{(name if place is None else part) or 'it'} is wrong ({each['type']})"
        if each["type"] == "extra_forbidden":
            wrong = "leave out the fields that are not in the schema"
        faults[f"{label}: {wrong}."] = None
    return list(faults)


@dataclass
class _Entry:
    """An entry of a schema's list, with those that say the same; `sources` are numbers."""

    label: str
    schema: type[BaseModel]
    item: Any
    sources: set[int]
    replaces: set[int]
    since: datetime | None


@dataclass
class _Reading:
    """An answer as far as it is read. Exchanges and known facts go by their numbers."""

    batch: Batch
    faults: list[str] = field(default_factory=list)
    entries: dict[str, _Entry] = field(default_factory=dict)  # by what they say
    confirmed: dict[int, set[int]] = field(default_factory=dict)
    changes: Counter[int] = field(default_factory=Counter)  # of known facts

    def __post_init__(self) -> None:
        self.exchanges = {each.number: each for each in self.batch.exchanges}
        self.known = {each.number: each for each in self.batch.known if each.number is not None}
        self.said = {_same(each.content): each for each in self.batch.known}

    def add(self, label: str, schema: type[BaseModel], item: Any) -> None:
        """Read an entry of a schema's list."""
        content = content_of(item)
        if not 0 < len(content) <= MAX_FACT_CHARS:
            self.faults.append(
                f"{label} has {len(content)} characters; 1 to {MAX_FACT_CHARS} are allowed."
            )
        replaces = {item.replaces} if self._is_known(label, item.replaces) else set()
        sources, since = self._sources(label, item.sources), self._since(label, item.since)
        repeated = self.said.get(_same(content))
        if repeated is None:
            new = _Entry(label, schema, item, set(), set(), since)
            entry = self.entries.setdefault(_same(content), new)
            entry.sources |= sources
            entry.replaces |= replaces
            entry.since = entry.since or since
        elif replaces - {repeated.number}:
            self.faults.append(f"{label} says what is known already; confirm that instead.")
        elif repeated.number is not None:
            self.confirmed.setdefault(repeated.number, set()).update(sources)

    def confirm(self, label: str, item: Confirmation) -> None:
        """Read an entry of `confirmed`."""
        sources = self._sources(label, item.sources)
        if self._is_known(label, item.known):
            self.confirmed.setdefault(item.known, set()).update(sources)
            self.changes[item.known] += 1

    def operations(self) -> Operations:
        """Return what the answer asks for."""
        for entry in self.entries.values():
            self.changes.update(entry.replaces)
            if len(entry.replaces) > 1 or entry.replaces & self.confirmed.keys():
                self.changes[min(entry.replaces)] += 1
        for number, times in sorted(self.changes.items()):
            if times > 1:
                self.faults.append(f"Known fact {number} is changed by more than one entry.")
        added = [self._added(entry) for entry in self.entries.values() if entry.sources]
        confirmed = (
            Confirmed(self.known[number].id, self._ids(sources))
            for number, sources in self.confirmed.items()
        )
        return Operations(tuple(added), tuple(confirmed))

    def _added(self, entry: _Entry) -> Added:
        dates = [self.exchanges[number].created_at for number in entry.sources]
        replaced = [self.known[number] for number in entry.replaces]
        if any(known.created_at > max(dates) for known in replaced):
            self.faults.append(f"{entry.label} replaces a known fact that was said later.")
        fields = fields_of(entry.item)
        return Added(
            content=content_of(entry.item),
            memory_type=type_of(entry.schema),
            schema=entry.schema.__name__,
            fields={} if fields.keys() == {"text"} else fields,
            sources=self._ids(entry.sources),
            replaces=replaced[0].id if replaced else None,
            valid_from=entry.since if entry.since and entry.since <= max(dates) else min(dates),
            created_at=max(dates),
            reason=neutral(entry.item.reason or "")[:MAX_FACT_CHARS],
        )

    def _sources(self, label: str, numbers: Iterable[int]) -> set[int]:
        """Return the numbers that are of exchanges."""
        unknown = sorted(set(numbers) - self.exchanges.keys())
        found = set(numbers) & self.exchanges.keys()
        if unknown:
            self.faults.append(_missing(label, "exchange", unknown[0], self.exchanges))
        elif not found:
            self.faults.append(f"{label} has no sources; name the exchanges it rests on.")
        elif not any(self.exchanges[number].said.strip() for number in found):
            self.faults.append(
                f"{label} rests on the assistant's words alone; name an exchange in which the user "
                "says or confirms it, or leave it out."
            )
        return found

    def _is_known(self, label: str, number: int | None) -> bool:
        if number is not None and number not in self.known:
            self.faults.append(_missing(label, "known fact", number, self.known))
        return number in self.known

    def _since(self, label: str, given: str | None) -> datetime | None:
        found = _DATE.fullmatch((given or "").strip())
        try:
            if found:
                year, month, day = (int(part or 1) for part in found.groups())
                return datetime(year, month, day, tzinfo=timezone.utc)
        except ValueError:
            found = None
        if given and not found:
            self.faults.append(f"{label}: since is not a date such as 2026-05-31 or 2026-05.")
        return None

    def _ids(self, numbers: Iterable[int]) -> tuple[str, ...]:
        return tuple(self.exchanges[number].id for number in sorted(numbers))


def _same(content: str) -> str:
    """Return a text without what makes no difference: case, spaces, and the full stop."""
    return " ".join(content.casefold().split()).rstrip(".")


def _missing(label: str, what: str, number: int, there: Mapping[int, object]) -> str:
    span = f"numbers go from {min(there)} to {max(there)}" if there else "there are none"
    return f"{label}: {what} {number} does not exist; {span}."
