"""The answer of a model: its schema, and how it is read. Pure functions.

The model sees exchanges and known facts by small numbers, and answers with an object: one list for
each schema, and the list `confirmed`. Reading forgives what is left out and nothing that is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from langchain_kronvex.consolidation.schemas import (
    CONFIRMED,
    Bookkeeping,
    JSONSchema,
    content_of,
    fields_of,
    object_of,
    object_schema,
    type_of,
)
from langchain_kronvex.core.context_lines import neutral
from langchain_kronvex.core.errors import ConsolidationRefused
from langchain_kronvex.core.validation import MemoryType

M = TypeVar("M", bound=BaseModel)

MAX_FACT_CHARS = 500
_DATE = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2})(?:T.*)?)?)?", re.ASCII)


class Confirmation(BaseModel):
    """A known fact that is said again."""

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
    """What is known already. One without a number was stated directly, and stays as it is."""

    number: int | None
    id: str
    content: str
    created_at: datetime


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
    bookkeeping = object_schema(Bookkeeping)["properties"]
    lists = {CONFIRMED: object_schema(Confirmation)}
    for schema in schemas:
        own = object_schema(schema)
        own |= object_of({**bookkeeping, **own["properties"]})
        lists = {schema.__name__: own, **lists}
    return {
        "title": "consolidation",
        "description": "What is worth keeping; empty lists if nothing is.",
        **object_of({name: {"type": "array", "items": item} for name, item in lists.items()}),
    }


def read_answer(
    raw: Mapping[str, Any],
    batch: Batch,
    schemas: Sequence[type[BaseModel]],
    max_operations: int = 20,
) -> Operations:
    """Return the operations of an answer.

    What repeats a known fact word by word confirms it. Two of the same words become one.

    Raises:
        ConsolidationRefused: Something in it is wrong; the message lists every fault, without
            quoting the answer.
    """
    by_name = {schema.__name__: schema for schema in schemas}
    reading = _Reading(batch)
    items = _items(raw, [CONFIRMED, *by_name], reading.faults)
    if len(items) > max_operations:
        reading.faults.append(
            f"There are {len(items)} entries; at most {max_operations} are allowed. "
            "Keep those that matter most."
        )
    else:
        for label, name, item in items:
            if name == CONFIRMED:
                reading.confirm(label, item)
            else:
                reading.add(label, by_name[name], item)
    if reading.faults:
        raise ConsolidationRefused(" ".join(reading.faults))
    return reading.operations()


def _items(
    raw: Mapping[str, Any], names: Sequence[str], faults: list[str]
) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Return the label, the list and the item of each entry that is an object."""
    found = []
    if raw.keys() - set(names):
        faults.append(f"The answer has unknown keys; it has {', '.join(names)} and no others.")
    for name in names:
        given = raw.get(name)
        items = [] if given is None else given
        if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
            faults.append(f"{name} must be a list of objects.")
            continue
        found += [(f"{name} {place}", name, item) for place, item in enumerate(items, 1)]
    return found


@dataclass
class _Reading:
    """An answer as far as it is read: what it asks for, and its faults."""

    batch: Batch
    faults: list[str] = field(default_factory=list)
    added: dict[str, Added] = field(default_factory=dict)  # by what they say
    confirmed: dict[str, tuple[str, ...]] = field(default_factory=dict)  # sources by id
    touched: dict[str, str] = field(
        default_factory=dict
    )  # label of the replacement or confirmation

    def __post_init__(self) -> None:
        self.exchanges = {each.number: each for each in self.batch.exchanges}
        self.known = {each.number: each for each in self.batch.known if each.number is not None}
        self.said = {_same(each.content): each for each in reversed(self.batch.known)}

    def operations(self) -> Operations:
        """Return what it asks for."""
        confirmed = (Confirmed(id, sources) for id, sources in self.confirmed.items())
        return Operations(tuple(self.added.values()), tuple(confirmed))

    def confirm(self, label: str, item: Mapping[str, Any]) -> None:
        """Read an entry of `confirmed`."""
        read = self._parsed(label, Confirmation, item)
        if read is None:
            return
        sources = self._sources(label, read.sources)
        known = self._known(label, read.known)
        if sources and known and self._touch(label, known):
            self.confirmed[known.id] = _ids(sources)

    def add(self, label: str, schema: type[BaseModel], item: Mapping[str, Any]) -> None:
        """Read an entry of a schema's list."""
        own = object_schema(schema)["properties"]
        value = self._parsed(label, schema, item, beside=Bookkeeping.model_fields)
        read = self._parsed(label, Bookkeeping, item, beside=own)
        if value is None or read is None:
            return
        content = content_of(value)
        if not 0 < len(content) <= MAX_FACT_CHARS:
            self.faults.append(
                f"{label} has {len(content)} characters; 1 to {MAX_FACT_CHARS} are allowed."
            )
        sources = self._sources(label, read.sources)
        since = self._since(label, read.since)
        replaced = None if read.replaces is None else self._known(label, read.replaces)
        if not sources:
            return
        dates = [source.created_at for source in sources]
        if replaced and replaced.created_at > max(dates):
            self.faults.append(
                f"{label} replaces known fact {replaced.number}, which was said later than this."
            )
        self._keep(
            label,
            replaced,
            Added(
                content=content,
                memory_type=type_of(schema),
                schema=schema.__name__,
                fields={} if own.keys() == {"text"} else fields_of(value),
                sources=_ids(sources),
                replaces=replaced.id if replaced else None,
                valid_from=since if since and since <= max(dates) else min(dates),
                created_at=max(dates),
                reason=neutral(read.reason or "")[:MAX_FACT_CHARS],
            ),
        )

    def _keep(self, label: str, replaced: Known | None, new: Added) -> None:
        same = _same(new.content)
        repeated = self.said.get(same)
        if repeated is not None and replaced in (None, repeated):
            if repeated.number is not None:
                self._confirm_again(label, repeated, new.sources)
        elif repeated is not None:
            self.faults.append(f"{label} says what is known already; confirm that instead.")
        elif same not in self.added:
            if replaced is None or self._touch(label, replaced):
                self.added[same] = new
        else:
            self._merge(label, replaced, self.added[same], new)

    def _confirm_again(self, label: str, known: Known, sources: tuple[str, ...]) -> None:
        before = self.confirmed.get(known.id)
        if before is not None or self._touch(label, known):
            self.confirmed[known.id] = self._in_order({*(before or ()), *sources})

    def _merge(self, label: str, replaced: Known | None, first: Added, again: Added) -> None:
        if replaced and replaced.id != first.replaces:
            if first.replaces:
                self.faults.append(f"{label} repeats an entry, but replaces another known fact.")
                return
            if not self._touch(label, replaced):
                return
        self.added[_same(first.content)] = replace(
            first,
            sources=self._in_order({*first.sources, *again.sources}),
            replaces=first.replaces or again.replaces,
            valid_from=min(first.valid_from, again.valid_from),
            created_at=max(first.created_at, again.created_at),
        )

    def _parsed(
        self, label: str, model: type[M], item: Mapping[str, Any], beside: Iterable[str] = ()
    ) -> M | None:
        names = model.model_json_schema().get("properties", {}).keys()
        if item.keys() - names - set(beside):
            allowed = ", ".join([*names, *beside])
            self.faults.append(f"{label} has unknown fields; its fields are {allowed}.")
            return None
        needed = model.model_json_schema().get("required", ())
        given = {name: item.get(name) for name in (*needed, *item) if name in names}
        try:
            return model.model_validate(given)
        except ValidationError as error:
            # Not pydantic's messages: those may quote what was given.
            wrong = {
                f"{each['loc'][0] if each['loc'] else 'the whole'} is wrong ({each['type']})"
                for each in error.errors(include_url=False, include_input=False)
            }
            self.faults.append(f"{label}: {', '.join(sorted(wrong))}.")
            return None

    def _sources(self, label: str, numbers: Sequence[int]) -> list[Exchange]:
        """Return the exchanges with these numbers, in order; [] if something is wrong with them."""
        unknown = sorted(set(numbers) - self.exchanges.keys())
        found = [self.exchanges[number] for number in sorted(set(numbers) & self.exchanges.keys())]
        if unknown:
            self.faults.append(_missing(label, "exchange", unknown[0], self.exchanges))
        elif not found:
            self.faults.append(f"{label} has no sources; name the exchanges it rests on.")
        elif not any(exchange.said.strip() for exchange in found):
            self.faults.append(
                f"{label} rests on the assistant's words alone; name an exchange in which the user "
                "says or confirms it, or leave it out."
            )
        else:
            return found
        return []

    def _known(self, label: str, number: int) -> Known | None:
        if number not in self.known:
            self.faults.append(_missing(label, "known fact", number, self.known))
        return self.known.get(number)

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

    def _touch(self, label: str, known: Known) -> bool:
        """Note that an entry replaces or confirms a known fact; return whether it is the first."""
        first = self.touched.setdefault(known.id, label)
        if first != label:
            self.faults.append(f"{label} and {first} replace or confirm the same known fact.")
        return first == label

    def _in_order(self, ids: Iterable[str]) -> tuple[str, ...]:
        chosen = set(ids)
        return tuple(each.id for each in self.batch.exchanges if each.id in chosen)


def _ids(exchanges: Iterable[Exchange]) -> tuple[str, ...]:
    return tuple(exchange.id for exchange in exchanges)


def _same(content: str) -> str:
    """Return a text without what makes no difference: case, spaces, and the full stop."""
    return " ".join(content.casefold().split()).rstrip(".")


def _missing(label: str, what: str, number: int, there: Mapping[int, object]) -> str:
    span = f"numbers go from {min(there)} to {max(there)}" if there else "there are none"
    return f"{label}: {what} {number} does not exist; {span}."
