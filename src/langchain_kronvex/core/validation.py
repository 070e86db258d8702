"""The limits of ids, contents, times and counts, each checked in one place.

Every `check_...` function returns the value it was given, in its stored form, or raises
`InvalidInput` with a message that says what to do. Values are never truncated, stripped or guessed:
an id that is changed silently may become the id of another user.
"""

import difflib
import functools
import hashlib
import inspect
import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Literal, ParamSpec, TypeGuard, TypeVar, cast, get_args

from langchain_kronvex.core.errors import InvalidInput

P = ParamSpec("P")
T = TypeVar("T")

MAX_ID_CHARS = 255
MAX_CONTENT_CHARS = 1_048_576
MAX_QUERY_CHARS = 8_192
MAX_SHOWN_CHARS = 80
MAX_TTL_DAYS = 36_500
MAX_METADATA_DEPTH = 64
MAX_JSON_CHARS = 16 * 1024 * 1024
MAX_JSON_DEPTH = 128
DIGESTED = "#blake2b:"
MemoryType = Literal["episodic", "semantic", "procedural", "fact", "preference", "context"]
MEMORY_TYPES: tuple[MemoryType, ...] = get_args(MemoryType)
_SURROGATE = re.compile("[\ud800-\udfff]")


def check_id(value: object, name: str) -> str:
    """Return an id of 1 to 255 characters, not blank, without NUL, encodable as UTF-8."""
    if not isinstance(value, str):
        kind = type(value).__name__
        raise InvalidInput(f"{name} must be a string, not {kind}. Pass str({name}).")
    hint = f"pass 1 to {MAX_ID_CHARS} characters, or leave it out."
    return check_text(_filled(value, name, hint, MAX_ID_CHARS), name)


def check_optional_id(value: object, name: str) -> str | None:
    """Return None for None, otherwise the checked id."""
    return None if value is None else check_id(value, name)


def check_content(value: object, name: str = "content") -> str:
    """Return a text of 1 to 1,048,576 characters, not blank, without NUL or lone surrogates."""
    hint = "there is nothing to remember."
    return check_text(_filled(value, name, hint, MAX_CONTENT_CHARS), name)


def check_query(value: object, *, may_be_blank: bool = False) -> str:
    """Return what to search for: a string, not blank; any other character is allowed.

    Of a long query, the beginning and the end: a question stands before or after a pasted text.
    """
    if may_be_blank and not _string(value, "query").strip():
        return ""
    query, half = _filled(value, "query", "ask for something."), MAX_QUERY_CHARS // 2
    return query if len(query) <= MAX_QUERY_CHARS else f"{query[:half]} {query[-half:]}"


def _filled(value: object, name: str, hint: str, most_chars: int | None = None) -> str:
    text = _string(value, name)
    if not text.strip():
        raise InvalidInput(f"{name} is blank; {hint}")
    if most_chars is not None and len(text) > most_chars:
        raise InvalidInput(f"{name} has {len(text)} characters; at most {most_chars} are allowed.")
    return text


def _string(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"{name} must be a string, not {type(value).__name__}.")
    return value


def shown(value: object) -> str:
    """Return a wrong value as errors show it: a short one, else its type. It may be memory text."""
    if isinstance(value, str | float | datetime | None) or (
        isinstance(value, int) and abs(value) < 1 << 64
    ):
        text = repr(value)
        if len(text) <= MAX_SHOWN_CHARS:
            return text
    return f"a value of type {type(value).__name__}"


def check_type(value: object) -> MemoryType:
    """Return one of `MEMORY_TYPES`."""
    if value not in MEMORY_TYPES:
        raise InvalidInput(
            f"memory_type {shown(value)} is unknown; use one of {', '.join(MEMORY_TYPES)}."
        )
    return value


def check_types(value: object) -> tuple[MemoryType, ...] | None:
    """Return the types that one type or several name; None for None."""
    if value is None:
        return None
    types = list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
    if not types:
        raise InvalidInput("memory_type names no type; leave it out for all types.")
    return tuple(map(check_type, types))


def check_count(value: object, name: str, *, least: int, most: int | None = None) -> int:
    """Return a whole number from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidInput(
            f"{name} must be a whole number of at least {least}, not {shown(value)}."
        )
    if most is not None and value > most:
        raise InvalidInput(f"{name} is {shown(value)}; at most {most} is allowed.")
    return value


def check_optional_count(value: object, name: str, *, least: int) -> int | None:
    """Return None for None, otherwise the checked number."""
    return None if value is None else check_count(value, name, least=least)


def check_list(value: object, name: str) -> list[Any]:
    """Return the items of a list, or of any other iterable that is not one text or mapping."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise InvalidInput(f"{name} must be a list, not {type(value).__name__}.")
    return list(value)


def check_texts(value: object, name: str) -> list[str]:
    """Return the items of a list of texts, with any characters."""
    return [_string(each, f"every item of {name}") for each in check_list(value, name)]


def check_seconds(value: object, name: str, *, least: float = 0) -> float:
    """Return a number of seconds, from `least` to a million."""
    if not _is_number(value) or not least <= value < 1e6:
        raise InvalidInput(f"{name} must be a number of seconds, not {shown(value)}.")
    return float(value)


def check_share(value: object, name: str) -> float:
    """Return a number from 0 to 1."""
    if not _is_number(value) or not 0 <= value <= 1:
        raise InvalidInput(f"{name} must be a number from 0 to 1, not {shown(value)}.")
    return float(value)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_flag(value: object, name: str) -> bool:
    """Return True or False; a text such as "no" would count as True."""
    if not isinstance(value, bool):
        raise InvalidInput(f"{name} must be True or False, not {shown(value)}.")
    return value


def check_time(value: object, name: str) -> datetime:
    """Return an aware datetime, in UTC."""
    if not isinstance(value, datetime):
        raise InvalidInput(f"{name} must be a datetime, not {type(value).__name__}.")
    if value.utcoffset() is None:
        raise InvalidInput(
            f"{name} has no time zone, so its moment is ambiguous; "
            "pass an aware datetime, such as datetime.now(timezone.utc)."
        )
    try:
        return value.astimezone(timezone.utc)
    except OverflowError as error:
        raise InvalidInput(f"{name} {shown(value)} is out of range in UTC.") from error


def check_optional_time(value: object, name: str) -> datetime | None:
    """Return None for None, otherwise the checked moment."""
    return None if value is None else check_time(value, name)


def check_period(since: object, until: object) -> tuple[datetime | None, datetime | None]:
    """Return the checked ends of a period, each of which may be None."""
    first, end = check_optional_time(since, "since"), check_optional_time(until, "until")
    if first and end and first > end:
        raise InvalidInput("since is after until; no memory can be in between.")
    return first, end


def expiry(created_at: datetime, ttl_days: object) -> datetime | None:
    """Return `created_at + ttl_days`, or None when `ttl_days` is None (never)."""
    if ttl_days is None:
        return None
    days = check_days(ttl_days, "ttl_days", "a memory that does not expire")
    try:
        return created_at + timedelta(days=days)
    except OverflowError as error:
        raise InvalidInput(f"created_at plus {ttl_days} days is out of range.") from error


def check_days(value: object, name: str, otherwise: str) -> float:
    """Return a number of days, more than 0 and at most `MAX_TTL_DAYS`."""
    if not _is_number(value) or not 0 < value <= MAX_TTL_DAYS:
        raise InvalidInput(
            f"{name} must be more than 0 and at most {MAX_TTL_DAYS} days, not {shown(value)}; "
            f"leave it out for {otherwise}."
        )
    return value


def check_metadata(value: object) -> dict[str, Any]:
    """Return a copy of the metadata of a memory; {} for None."""
    return {} if value is None else check_mapping(value, "metadata", MAX_METADATA_DEPTH)


def check_mapping(value: object, name: str, most_levels: int) -> dict[str, Any]:
    """Return a copy of a mapping of strings to JSON values; tuples become lists."""
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{name} must be a mapping, not {type(value).__name__}.")
    return dict(check_json(value, name, most_levels))


def check_json(value: Any, name: str, most_levels: int) -> Any:
    """Return a copy of a JSON value; tuples become lists; values JSON cannot hold are rejected."""
    copy = _json_copy(value, name, most_levels, most_levels)
    try:
        json.dumps(copy)
    except ValueError as error:  # a number of thousands of digits
        raise InvalidInput(f"{name} cannot be stored: {error}.") from error
    return copy


def _json_copy(value: Any, name: str, most_levels: int, levels_left: int) -> Any:
    if levels_left < 0:
        raise InvalidInput(f"{name} is nested deeper than {most_levels} levels.")
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise InvalidInput(f"{name} must have strings as keys, at every level.")
        return {
            key: _json_copy(item, name, most_levels, levels_left - 1) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_json_copy(item, name, most_levels, levels_left - 1) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidInput(f"{name} must hold JSON values only, not NaN or infinity.")
    if value is None or isinstance(value, str | int | float):
        return value
    raise InvalidInput(
        f"{name} must hold JSON values only, not {type(value).__name__}. Convert it first."
    )


def is_text(value: object) -> TypeGuard[str]:
    """Return whether a value is a string that can be written as UTF-8."""
    return isinstance(value, str) and not _SURROGATE.search(value)


def check_text(value: object, name: str) -> str:
    """Return a text without NUL and lone surrogates; it may be empty."""
    text = _string(value, name)
    if "\0" in text:
        raise InvalidInput(f"{name} contains a NUL character; remove it.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"{name} contains a lone surrogate at character {error.start}, which is not valid "
            "Unicode text; decode its source correctly, or replace it with '\\ufffd'."
        ) from error
    return text


def canonical_json(value: Any, name: str) -> str:
    """Return the JSON text of a value; equal values have the same text. Tuples become lists.

    Raises:
        InvalidInput: It is not a JSON value, or it is too large.
    """
    copy = check_json(value, name, MAX_JSON_DEPTH)
    text = json.dumps(copy, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    try:
        text.encode()
    except UnicodeEncodeError:  # lone surrogates survive as escapes only
        text = json.dumps(copy, separators=(",", ":"), sort_keys=True)
    if len(text) > MAX_JSON_CHARS:
        raise InvalidInput(
            f"{name} has {len(text)} characters as JSON; at most {MAX_JSON_CHARS} are allowed."
        )
    return text


def short_name(name: str) -> str:
    """Return a name that fits the index of every store: itself, or a digest of a long one.

    Different names stay different: a short name that looks like a digest is digested too.
    """
    if len(name) <= MAX_ID_CHARS and not name.startswith(DIGESTED):
        return name
    return DIGESTED + hashlib.blake2b(name.encode(), digest_size=32).hexdigest()


# -- calls -------------------------------------------------------------------------------------


def checked_calls(cls: type[T]) -> type[T]:
    """Make the constructor and the public methods of a class check the names of their options."""
    for name, method in list(vars(cls).items()):
        if callable(method) and (name == "__init__" or not name.startswith("_")):
            setattr(cls, name, checked_names(method))
    return cls


def checked_names(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function raise `InvalidInput` for unknown options, unless it passes them on."""
    parameters = inspect.signature(function).parameters
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return function
    owner = function.__qualname__.removesuffix(".__init__")

    @functools.wraps(function)
    def call(*args: P.args, **options: P.kwargs) -> T:
        check_names(owner, options, parameters)
        return function(*args, **options)

    @functools.wraps(function)
    async def call_async(*args: P.args, **options: P.kwargs) -> Any:
        check_names(owner, options, parameters)
        return await cast("Any", function)(*args, **options)

    return cast("Any", call_async) if inspect.iscoroutinefunction(function) else call


def check_names(owner: str, names: Iterable[str], known: Collection[str]) -> None:
    """Raise `InvalidInput` if a name is unknown, with the name that was probably meant."""
    for name in names:
        if name not in known:
            there = [each for each in known if each not in ("self", "args")]
            alike = [each for each in there if name in each.split("_") or each in name.split("_")]
            meant = alike or difflib.get_close_matches(name, there, n=1)
            hint = f"did you mean {meant[0]!r}?" if meant else f"its options: {', '.join(there)}."
            raise InvalidInput(f"{owner} has no option {name!r}; {hint}")
