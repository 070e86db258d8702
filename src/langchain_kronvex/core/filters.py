"""Filters of a search, by the values of the items. Pure functions.

A filter maps fields to required values: `{"status": "done", "score": {"$gte": 4}}`. A nested field
is named by its path, `"user.name"`, or by a nested mapping.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from langchain_kronvex.core.errors import InvalidInput

Accept = Callable[[Mapping[str, Any]], bool]

_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
_OPERATORS = ("$eq", "$ne", *_ORDERS)


def accepting(wanted: Mapping[str, Any] | None) -> Accept:
    """Return a function that returns whether a value passes a filter.

    Raises:
        InvalidInput: the filter is not a mapping, or has an operator that does not exist.
    """
    if not wanted:
        return lambda value: True
    if not isinstance(wanted, Mapping):
        raise InvalidInput(f"filter must be a mapping, not {type(wanted).__name__}.")
    for need in wanted.values():
        _check_operators(need)
    return lambda value: all(_fits(_field(value, name), need) for name, need in wanted.items())


def _check_operators(wanted: Any) -> None:
    if not isinstance(wanted, Mapping):
        return
    operators = [name for name in wanted if str(name).startswith("$")]
    for name in operators:
        if name not in _OPERATORS:
            raise InvalidInput(
                f"filter operator {name!r} is unknown; use one of {', '.join(_OPERATORS)}."
            )
    if operators and len(operators) < len(wanted):
        raise InvalidInput(f"filter mixes the operators {operators} with field names.")
    for inner in wanted.values():
        _check_operators(inner)


def _field(value: Mapping[str, Any], name: str) -> Any:
    """Return a field by its name or path; None if it does not exist."""
    if name in value or not isinstance(name, str):
        return value.get(name)
    found: Any = value
    for part in name.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(part)
    return found


def _fits(there: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        if any(str(name).startswith("$") for name in wanted):
            return all(_compares(there, name, need) for name, need in wanted.items())
        return isinstance(there, Mapping) and all(
            _fits(there.get(name), need) for name, need in wanted.items()
        )
    if isinstance(wanted, list | tuple):
        same_length = isinstance(there, list | tuple) and len(there) == len(wanted)
        return same_length and all(map(_fits, there, wanted))
    return bool(there == wanted)


def _compares(there: Any, name: str, wanted: Any) -> bool:
    if name in ("$eq", "$ne"):  # as in JSON, a tuple equals a list
        same = bool(there == (list(wanted) if isinstance(wanted, tuple) else wanted))
        return same is (name == "$eq")
    number, bound = _number(there), _number(wanted)
    if number is not None and bound is not None:
        return _ORDERS[name](number, bound)
    both_texts = isinstance(there, str) and isinstance(wanted, str)
    return both_texts and _ORDERS[name](there, wanted)


def _number(value: Any) -> int | float | None:
    """Return a number, also from a string; None if the value is not a number."""
    if isinstance(value, int | float):
        return value
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return None
