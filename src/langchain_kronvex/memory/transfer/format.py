"""The export format: JSON lines, a header first, a footer last. Pure functions.

::

    {"format": "langchain-kronvex memories", "version": 1, "agent_id": "default", …}
    {"kind": "memory", "id": "5f0…", "user_id": "ana", "type": "episodic", "content": "…", …}
    {"end": true, "memory": 1, "message": 0, "item": 0}

Fields without a value are left out. A file may come from anybody: every value in it is checked as
strictly as a user's argument.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.core.messages import decode_message
from langchain_kronvex.core.records import KINDS, Floats, Kind, Record, Scope

FORMAT = "langchain-kronvex memories"
VERSION = 1
Fields = dict[str, Any]
Counts = Counter[Kind]

_MAX_WIDTH = 1 << 16
_UNIT_TOLERANCE = 0.01  # how far rounding to 16 bits may take a vector from unit length


# -- writing -----------------------------------------------------------------------------------


def to_line(fields: Fields) -> bytes:
    """Return the line of an object, with its newline."""
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return f"{text}\n".encode("utf-8", "backslashreplace")  # lone surrogates become JSON escapes


def footer_fields(counts: Counts) -> Fields:
    """Return the object of the last line."""
    return {"end": True, **{kind: counts[kind] for kind in KINDS}}


def record_fields(record: Record) -> Fields:
    """Return the object of a record."""
    said, expires = record.said_at, record.expires_at
    packed = None if record.vector is None else record.vector.astype("<f2").tobytes()
    usual = record.usual_key() if record.kind == "memory" else record.id
    fields = {
        "kind": record.kind,
        "id": record.id,
        "type": record.type,
        "content": record.content,
        "created_at": record.created_at.isoformat(),
        "user_id": record.scope.user_id,
        "session_id": record.scope.session_id,
        "key": None if record.key == usual else record.key,
        "search_text": record.search_text,
        "metadata": dict(record.metadata),
        "said_at": None if said in (None, record.created_at) else said.isoformat(),
        "expires_at": expires and expires.isoformat(),
        "pinned": record.pinned,
        "access_count": record.access_count,
        "valid_from": record.valid_from and record.valid_from.isoformat(),
        "valid_until": record.valid_until and record.valid_until.isoformat(),
        "superseded_by": record.superseded_by,
        "sources": list(record.sources) or None,
        "vector": packed and base64.b64encode(packed).decode("ascii"),
    }
    return {name: value for name, value in fields.items() if value not in (None, {}, False, 0)}


# -- reading -----------------------------------------------------------------------------------


def read_line(line: str, *, complete: bool = True) -> Fields | None:
    """Return the object of a line, or None if the line is not complete and cannot be read.

    Raises:
        InvalidInput: It is not a JSON object, or holds a field twice.
    """
    try:
        fields = _DECODER.decode(line)
    except InvalidInput:
        raise
    except (ValueError, RecursionError) as error:
        if not complete:
            return None
        raise InvalidInput("it is not JSON.") from error
    if not isinstance(fields, dict):
        raise InvalidInput("it is not a JSON object.")
    return fields


def read_header(fields: Fields) -> Fields:
    """Return the checked fields of the first line.

    Raises:
        InvalidInput: The file is not an export, or of a later version.
    """
    if fields.get("format") != FORMAT:
        raise InvalidInput(f'the file is not an export: it has no "format": "{FORMAT}".')
    version = checks.check_count(fields.get("version"), "version", least=1)
    if version > VERSION:
        raise InvalidInput(
            f"the file has version {version}; this langchain-kronvex knows versions up to "
            f"{VERSION}. Upgrade it: pip install -U langchain-kronvex"
        )
    return {name: check(fields.get(name), name) for name, check in _HEADER.items()}


def check_footer(fields: Fields, counts: Counts) -> None:
    """Compare the last line with the counts of the lines before.

    Raises:
        InvalidInput: Lines are missing, or there are too many.
    """
    expected = json.dumps(footer_fields(counts), sort_keys=True)
    if json.dumps(fields, sort_keys=True) != expected:
        raise InvalidInput(f"the file is not whole: its last line should be {expected}.")


def read_record(fields: Fields) -> Record:
    """Return the record of a line.

    Raises:
        InvalidInput: A value does not fit.
    """
    if unknown := sorted(fields.keys() - _READ.keys()):
        raise InvalidInput(f"this version knows no field {unknown[0]!r}.")
    values = {name: _READ[name](value, name) for name, value in {**_REQUIRED, **fields}.items()}
    kind, type_, content = values["kind"], values["type"], values["content"]
    if kind == "memory":
        checks.check_type(type_)
        checks.check_content(content)
    elif values.get("vector") is not None:
        raise InvalidInput(f"a {kind} has no vector.")
    if kind == "message":
        try:
            decode_message(content)
        except Exception as error:  # LangChain raises errors of many kinds
            raise InvalidInput("content is not a message of a chat history.") from error
    if ("superseded_by" in values) is not ("valid_until" in values):
        raise InvalidInput("superseded_by and valid_until are only given together.")
    key, scope = (
        values.pop("key", ""),
        Scope(values.pop("user_id", None), values.pop("session_id", None)),
    )
    record = Record(scope=scope, key=key, **values)
    # The key that most records have is left out; nothing is found by that of a superseded one.
    if not key or (kind == "memory" and record.superseded_by):
        record = replace(record, key=record.usual_key() if kind == "memory" else record.id)
    return record


def _each_once(pairs: list[tuple[str, Any]]) -> Fields:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise InvalidInput("it holds the same field twice.")
    return fields


_DECODER = json.JSONDecoder(object_pairs_hook=_each_once)


def _kind(value: object, name: str) -> object:
    if value not in KINDS:
        raise InvalidInput(f"{name} must be one of {', '.join(KINDS)}, not {value!r:.99}.")
    return value


def _filled(value: object, name: str) -> str:
    """Return a text of any length that is not blank."""
    text = checks.check_text(value, name)
    if not text.strip():
        raise InvalidInput(f"{name} is blank.")
    return text


def _time(value: object, name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(checks.check_text(value, name).replace("Z", "+00:00"))
    except ValueError as error:
        raise InvalidInput(
            f"{name} must be a time such as 2026-04-28T12:30:15.123456+00:00, not {value!r:.99}."
        ) from error
    return checks.check_time(moment, name)


def _vector(value: Any, name: str) -> Floats:
    """Return a unit vector, or a vector of zeros."""
    error = InvalidInput(f"{name} must be a unit vector of 16-bit floats in base64.")
    try:
        vector: Floats = np.frombuffer(base64.b64decode(value, validate=True), "<f2")
    except (TypeError, ValueError) as cause:
        raise error from cause
    vector = vector.astype(np.float32)
    length = float(np.sqrt(vector @ vector))
    is_unit = length == 0 or abs(length - 1) <= _UNIT_TOLERANCE  # False for NaN and infinity
    if not 0 < len(vector) <= _MAX_WIDTH or not is_unit:
        raise error
    return vector


_HEADER: dict[str, Callable[[Any, str], Any]] = {
    "agent_id": checks.check_id,  # whose memories they were
    "user_id": checks.check_optional_id,  # the only user; None for everything of the agent
    "model": checks.check_optional_id,  # the embeddings of the vectors; None if there are none
    "created_at": _time,  # when the file was written
    "package": checks.check_id,  # the version of this package that wrote it
    "records": partial(checks.check_count, least=0),  # about how many follow
}
_REQUIRED = dict.fromkeys(("kind", "id", "type", "content", "created_at"))
_READ: dict[str, Callable[[Any, str], Any]] = {
    "kind": _kind,
    "id": checks.check_id,
    "type": checks.check_id,
    "content": _filled,
    "created_at": _time,
    "user_id": checks.check_optional_id,
    "session_id": checks.check_optional_id,
    "key": _filled,
    "search_text": checks.check_text,
    "metadata": lambda value, name: checks.check_metadata(value),
    "said_at": _time,
    "expires_at": _time,
    "pinned": checks.check_flag,
    "access_count": partial(checks.check_count, least=0, most=2**53),
    "valid_from": _time,
    "valid_until": _time,
    "superseded_by": checks.check_id,
    "sources": lambda value, name: tuple(
        checks.check_id(each, name) for each in checks.check_list(value, name)
    ),
    "vector": _vector,
}
