"""Entries, which every format is read as, and how values of other projects are read."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple, TypeVar

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.core.records import Record
from langchain_kronvex.memory.before_save import BeforeSave
from langchain_kronvex.memory.transfer.format import Fields, read_record

T = TypeVar("T")

# A number of at least this many is not in the unit before: seconds, milliseconds, microseconds.
_MILLISECONDS, _MICROSECONDS, _TOO_MANY = 1e11, 1e14, 1e17
_MOST_INT = 1 << 63
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_FRACTION = re.compile(r"\.(\d+)")
_SHORT_ZONE = re.compile(r"(:\d\d(?:\.\d+)?)([+-]\d\d)(\d\d)?$")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class Misfit:
    """Something that is not imported, or only in part; it holds nothing of the text.

    Attributes:
        what: Such as `memory`, `message`, `conversation`.
        where: The place in the file, such as `line 3` or `results[2]`.
        reason: Why it does not fit.
    """

    what: str
    where: str
    reason: str


class Entry(NamedTuple):
    """Records that are stored together, or not at all."""

    what: str
    where: str
    records: list[Record]


Found = Iterator[Entry | Misfit]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the caller of an import has said.

    Attributes:
        user_id: Whose everything is that names no user.
        written_at: When the file was written, for what has no time of its own.
        name: The name of the file, without its ending.
        before_save: The memory's; it has seen what a reader returns with keys of its own.
    """

    user_id: str | None
    written_at: datetime
    name: str
    before_save: BeforeSave


def attempted(what: str, where: str, make: Callable[[], T]) -> T | Misfit:
    """Return what a function makes of a value, or why the value does not fit."""
    try:
        return make()
    except InvalidInput as error:
        return Misfit(what, where, str(error))


def entry(what: str, where: str, make: Callable[[], list[Fields]]) -> Entry | Misfit:
    """Return the entry of some fields, checked as strictly as a user's arguments."""
    return attempted(
        what, where, lambda: Entry(what, where, [read_record(_given(each)) for each in make()])
    )


def _given(fields: Fields) -> Fields:
    given = {name: value for name, value in fields.items() if value is not None}
    times = {n: v.isoformat() for n, v in given.items() if isinstance(v, datetime)}
    return {**given, **times}


def derived_id(source: str, *names: str | None) -> str:
    """Return the id of a record, always the same for the same names."""
    text = json.dumps([source, *names])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def origin(source: str, source_id: str | None, theirs: object = None, **more: object) -> Fields:
    """Return the metadata of a record: theirs, what else is known, and where it comes from."""
    known = {name: value for name, value in more.items() if value not in (None, "", [], {})}
    named = {"imported_from": source} | ({} if source_id is None else {"source_id": source_id})
    return {**checks.check_metadata(theirs), **known, **named}


class Given:
    """A JSON object of another project, in which a value may have one of several names.

    Reading a value that does not fit raises `InvalidInput`, which says the first of its names.

    Args:
        value: What should be an object.
        name: Of the object.
    """

    def __init__(self, value: object, name: str = "it") -> None:
        if not isinstance(value, Mapping):
            raise InvalidInput(f"{name} must be an object, not {type(value).__name__}.")
        self.fields: Mapping[str, Any] = value

    def get(self, *names: str) -> Any:
        """Return a value as it is; None if there is none."""
        return next((v for name in names if (v := self.fields.get(name)) is not None), None)

    def within(self, name: str) -> Given:
        """Return an object in this one."""
        return Given(self.fields.get(name), name)

    def listed(self, name: str) -> list[Any]:
        """Return a list; an empty one for None."""
        found = self.fields.get(name)
        return [] if found is None else checks.check_list(found, name)

    def text(self, *names: str) -> str:
        """Return a text that can be the content of a memory."""
        return checks.check_content(self.get(*names), names[0])

    def id(self, *names: str) -> str | None:
        """Return an id; None if there is none."""
        return id_of(self.get(*names), names[0])

    def time(self, *names: str) -> datetime | None:
        """Return a time; None if there is none."""
        return moment_of(self.get(*names), names[0])

    def some(self, names: Iterable[str]) -> dict[str, Any]:
        """Return some values by their names."""
        return {name: self.fields.get(name) for name in names}


def id_of(value: object, name: str) -> str | None:
    """Return an id as text, also one that was a number; None for None.

    Raises:
        InvalidInput: it cannot be an id.
    """
    if type(value) is int and abs(value) < _MOST_INT:
        value = str(value)
    return checks.check_optional_id(value, name)


def user_of(value: object, asked: Asked) -> str | None:
    """Return the user that is named, else the one that the caller has named."""
    return id_of(value, "user_id") or asked.user_id


def moment_of(value: object, name: str) -> datetime | None:
    """Return a time; None for None.

    Args:
        value: ISO 8601, of UTC if it names no zone; or seconds, milliseconds or microseconds since
            1970, told apart by their size.
        name: Of the value.

    Raises:
        InvalidInput: it is not a time.
    """
    if value is None:
        return None
    try:
        moment = value if isinstance(value, datetime) else _from_json(value)
        return moment.astimezone(timezone.utc)
    except (AttributeError, TypeError, ValueError, OverflowError):
        raise InvalidInput(f"{name} is not a time.") from None


def _from_json(value: Any) -> datetime:
    is_written = isinstance(value, str) and _NUMBER.fullmatch(value) is not None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return _from_number(value) if is_written or is_number else _from_text(value)


def _from_number(value: Any) -> datetime:
    number = float(value)
    if not math.isfinite(number) or abs(number) >= _TOO_MANY:
        raise ValueError
    if abs(number) >= _MICROSECONDS:
        return _EPOCH + timedelta(microseconds=number)
    if abs(number) >= _MILLISECONDS:
        return _EPOCH + timedelta(milliseconds=number)
    return _EPOCH + timedelta(seconds=number)


def _from_text(value: Any) -> datetime:
    # Python 3.10 reads no Z, and no fraction of other than three or six digits.
    text = re.sub(r"(?i)(?<=\d)z$| UTC$", "+00:00", value.strip())
    text = _FRACTION.sub(lambda found: f".{found[1]:0<6.6}", text)
    text = _SHORT_ZONE.sub(lambda found: f"{found[1]}{found[2]}:{found[3] or '00'}", text)
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
