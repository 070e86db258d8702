"""The file in which memories move house: JSON lines, a header first, a footer last. Pure functions.

::

    {"format": "langchain-kronvex memories", "version": 1, "agent_id": "default", …}
    {"kind": "memory", "id": "5f0…", "user_id": "ana", "type": "episodic", "content": "…", …}
    {"end": true, "memory": 1, "message": 0, "item": 0}

A field that says nothing is left out. What is read may have been written by anybody: each value is
checked as if a user had handed it in.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NoReturn, get_args

import numpy as np

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.core.messages import decode_message
from langchain_kronvex.core.types import Scope
from langchain_kronvex.recall.ranking import Floats
from langchain_kronvex.storage.backend import Kind, Record, content_key

FORMAT = "langchain-kronvex memories"
VERSION = 1
MAX_LINE_CHARS = 256 << 20
Fields = dict[str, Any]
Counts = dict[Kind, int]

_KINDS: tuple[Kind, ...] = get_args(Kind)
_MAX_ACCESSES = 2**53
_MAX_WIDTH = 1 << 16
_UNIT_TOLERANCE = 0.01  # how far rounding to 16 bits may leave a vector from unit length
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_FIELDS = frozenset({
    "kind", "id", "user_id", "session_id", "key", "type", "content", "search_text", "metadata",
    "created_at", "said_at", "expires_at", "pinned", "access_count", "vector",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the first line says.

    Attributes:
        agent_id: Whose memories these were.
        user_id: The one user whose they are; None for everything of the agent.
        model: The embeddings that made the vectors; None for a file without vectors.
        created_at: When it was written.
        package: The version of this package that wrote it.
        records: About how many follow, for those who show progress.
    """

    agent_id: str
    user_id: str | None
    model: str | None
    created_at: datetime
    package: str
    records: int


class DamagedLine(InvalidInput):
    """A line is no JSON."""


# -- writing -----------------------------------------------------------------------------------


def to_line(fields: Mapping[str, Any], *, ascii_only: bool = False) -> str:
    """Return the line of an object, with its newline."""
    text = json.dumps(fields, ensure_ascii=ascii_only, separators=(",", ":"))
    return f"{text}\n"


def header_fields(header: Header) -> Fields:
    """Return the object of the first line."""
    created_at = header.created_at.isoformat()
    return {"format": FORMAT, "version": VERSION, **asdict(header), "created_at": created_at}


def footer_fields(counts: Counts) -> Fields:
    """Return the object of the last line."""
    return {"end": True, **{kind: counts.get(kind, 0) for kind in _KINDS}}


def record_fields(record: Record) -> Fields:
    """Return the object of a record."""
    scope, said, expires = record.scope, record.said_at, record.expires_at
    optional = {
        "user_id": scope.user_id,
        "session_id": scope.session_id,
        "key": None if record.key == _plain_key(record) else record.key,
        "search_text": record.search_text,
        "metadata": dict(record.metadata) or None,
        "said_at": None if said in (None, record.created_at) else said.isoformat(),
        "expires_at": None if expires is None else expires.isoformat(),
        "pinned": record.pinned or None,
        "access_count": record.access_count or None,
        "vector": None if record.vector is None else _to_base64(record.vector),
    }
    return {
        "kind": record.kind,
        "id": record.id,
        "type": record.type,
        "content": record.content,
        "created_at": record.created_at.isoformat(),
        **{name: value for name, value in optional.items() if value is not None},
    }


def _to_base64(vector: Floats) -> str:
    return base64.b64encode(vector.astype("<f2").tobytes()).decode("ascii")


# -- reading -----------------------------------------------------------------------------------


def read_line(line: str) -> Fields:
    """Return the object of a line.

    Raises:
        DamagedLine: it is no JSON.
        InvalidInput: it is no object, or says a thing twice.
    """
    try:
        fields = _DECODER.decode(line)
    except InvalidInput:
        raise
    except (ValueError, RecursionError) as error:
        raise DamagedLine("it is no JSON.") from error
    if not isinstance(fields, dict):
        raise InvalidInput("it is no JSON object.")
    return fields


def read_header(fields: Fields) -> Header:
    """Return what the first line says.

    Raises:
        InvalidInput: the file is not ours, or of a later version.
    """
    if fields.get("format") != FORMAT:
        raise InvalidInput(f'the file is no export of this package: no "format": "{FORMAT}".')
    version = checks.check_count(fields.get("version"), "version", least=1)
    if version > VERSION:
        raise InvalidInput(
            f"the file has version {version}; this langchain-kronvex knows versions up to "
            f"{VERSION}. Upgrade it: pip install -U langchain-kronvex"
        )
    return Header(
        agent_id=checks.check_id(fields.get("agent_id"), "agent_id"),
        user_id=checks.check_optional_id(fields.get("user_id"), "user_id"),
        model=checks.check_optional_id(fields.get("model"), "model"),
        created_at=_time(fields, "created_at"),
        package=checks.check_id(fields.get("package"), "package"),
        records=checks.check_count(fields.get("records"), "records", least=0),
    )


def is_footer(fields: Fields) -> bool:
    """Tell whether this is the last line."""
    return "end" in fields


def check_footer(fields: Fields, counts: Counts) -> None:
    """Compare what the last line says with what was there.

    Raises:
        InvalidInput: lines are missing, or there are too many.
    """
    for kind in _KINDS:
        told, found = fields.get(kind), counts.get(kind, 0)
        if told != found or isinstance(told, bool):
            raise InvalidInput(
                f"the file is not whole: it should hold {told!r} records of the kind {kind!r}, and "
                f"holds {found}."
            )


def read_record(fields: Fields) -> Record:
    """Return the record of a line.

    Raises:
        InvalidInput: a value does not fit.
    """
    if unknown := sorted(fields.keys() - _FIELDS):
        raise InvalidInput(f"{unknown[0]!r} is no field that this version knows.")
    kind = fields.get("kind")
    if kind not in _KINDS:
        raise InvalidInput(f"kind must be one of {', '.join(_KINDS)}, not {kind!r}.")
    id_, content = checks.check_id(fields.get("id"), "id"), _filled(fields, "content")
    type_ = _type(kind, fields)
    vector = fields.get("vector")
    if kind == "message":
        _check_message(content)
    if kind == "memory" and len(content) > checks.MAX_CONTENT_CHARS:
        raise InvalidInput(f"content has more than {checks.MAX_CONTENT_CHARS} characters.")
    if vector is not None and kind != "memory":
        raise InvalidInput(f"a {kind} has no vector.")
    plain_key = content_key(type_, content) if kind == "memory" else id_
    return Record(
        kind=kind,
        id=id_,
        scope=Scope.of(fields.get("user_id"), fields.get("session_id")),
        key=plain_key if fields.get("key") is None else _filled(fields, "key"),
        type=type_,
        content=content,
        search_text=None if fields.get("search_text") is None else _text(fields, "search_text"),
        metadata=checks.check_metadata(fields.get("metadata")),
        created_at=_time(fields, "created_at"),
        said_at=None if fields.get("said_at") is None else _time(fields, "said_at"),
        expires_at=None if fields.get("expires_at") is None else _time(fields, "expires_at"),
        pinned=_truth(fields.get("pinned", False)),
        access_count=_accesses(fields.get("access_count", 0)),
        vector=None if vector is None else _vector(vector),
    )


def _plain_key(record: Record) -> str:
    """Return the key that most records of a kind have, which needs no mention."""
    if record.kind == "memory":
        return content_key(record.type, record.content)
    return record.id


def _each_once(pairs: list[tuple[str, Any]]) -> Fields:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise InvalidInput("it holds the same field twice.")
    return fields


_DECODER = json.JSONDecoder(object_pairs_hook=_each_once)


def _text(fields: Fields, name: str) -> str:
    """Return a text of any length, without NUL and lone surrogates."""
    value = fields.get(name)
    if not isinstance(value, str):
        raise InvalidInput(f"{name} must be a string, not {type(value).__name__}.")
    if "\0" in value:
        raise InvalidInput(f"{name} contains a NUL character.")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InvalidInput(f"{name} contains a lone surrogate, which is no text.") from error
    return value


def _filled(fields: Fields, name: str) -> str:
    value = _text(fields, name)
    if not value.strip():
        raise InvalidInput(f"{name} is blank.")
    return value


def _type(kind: Kind, fields: Fields) -> str:
    value = fields.get("type")
    return checks.check_type(value) if kind == "memory" else checks.check_id(value, "type")


def _check_message(content: str) -> None:
    try:
        decode_message(content)
    except Exception as error:  # whatever LangChain raises of what is no message
        raise InvalidInput("content is no message of a chat history.") from error


def _time(fields: Fields, name: str) -> datetime:
    value = fields.get(name)
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise InvalidInput(
            f"{name} must be a time such as 2026-04-28T12:30:15.123456+00:00, not {value!r:.99}."
        )
    try:
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError as error:
        raise InvalidInput(f"{name} {value!r} is no date there is.") from error
    return checks.check_time(moment, name)


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput(f"pinned must be true or false, not {value!r:.99}.")
    return value


def _accesses(value: object) -> int:
    count = checks.check_count(value, "access_count", least=0)
    if count > _MAX_ACCESSES:
        raise InvalidInput(f"access_count is {count}; at most {_MAX_ACCESSES} are allowed.")
    return count


def _vector(value: object) -> Floats:
    """Return a unit vector, or one of zeros."""
    try:
        raw = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except (binascii.Error, ValueError) as error:
        _refuse_vector(error)
    if not raw or len(raw) % 2 or len(raw) > 2 * _MAX_WIDTH:
        _refuse_vector(None)
    vector: Floats = np.frombuffer(raw, "<f2").astype(np.float32)
    length = float(np.sqrt(vector @ vector))
    if length != 0 and not abs(length - 1) <= _UNIT_TOLERANCE:  # also for NaN and infinity
        _refuse_vector(None)
    return vector


def _refuse_vector(error: Exception | None) -> NoReturn:
    raise InvalidInput("vector must be a unit vector of 16-bit floats in base64.") from error
