"""Filters of JSON values by their fields. Pure functions.

A filter maps fields to required values: `{"status": "done", "score": {"$gte": 4}}`. A nested field
is named by its path, `"user.name"`, or by a nested mapping. `$and`, `$or` and `$nor` take a list of
filters, `$not` takes one; inside a field they take conditions: `{"score": {"$not": {"$lt": 4}}}`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from langchain_kronvex.core.errors import InvalidInput

Accept = Callable[[Mapping[str, Any]], bool]

_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
_COMPARISONS = ("$eq", "$ne", *_ORDERS)
_LOGIC: dict[str, Callable[[Iterable[bool]], bool]] = {
    "$and": all,
    "$or": any,
    "$nor": lambda results: not any(results),
    "$not": lambda results: not all(results),
}


def accepting(wanted: Mapping[str, Any] | None) -> Accept:
    """Return a function that returns whether a value passes a filter.

    Raises:
        InvalidInput: the filter is not a mapping, or has an operator that does not exist or that
            could never match.
    """
    if wanted is not None and not isinstance(wanted, Mapping):
        raise InvalidInput(f"filter must be a mapping, not {type(wanted).__name__}.")
    _check(wanted or {}, of_field=False)
    return lambda value: _fits(value, wanted or {})


def _check(wanted: Any, *, of_field: bool) -> None:
    """Check a filter, or the condition of a field."""
    if isinstance(wanted, list | tuple):
        for each in wanted:
            _check(each, of_field=True)
    if not isinstance(wanted, Mapping):
        return
    operators = [name for name in wanted if str(name).startswith("$")]
    compared = [name for name in operators if name not in _LOGIC]
    for name in operators:
        _check_operator(name, wanted[name], of_field)
    if compared and not of_field:
        raise InvalidInput(f'filter names no field for {compared}: write {{"field": {{…}}}}.')
    if compared and len(operators) < len(wanted):
        raise InvalidInput(f"filter mixes the operators {compared} with field names.")
    for name in wanted.keys() - set(operators):
        _check(wanted[name], of_field=True)


def _check_operator(name: Any, need: Any, of_field: bool) -> None:
    if name in _LOGIC:
        filters = [need] if name == "$not" else need
        if (
            not isinstance(filters, list | tuple)
            or not filters
            or not all(isinstance(each, Mapping) for each in filters)
        ):
            form = "one mapping" if name == "$not" else "a list of at least one mapping"
            raise InvalidInput(f"filter operator {name!r} needs {form}.")
        for each in filters:
            _check(each, of_field=of_field)
    elif name not in _COMPARISONS:
        known = ", ".join((*_COMPARISONS, *_LOGIC))
        raise InvalidInput(f"filter operator {name!r} is unknown; use one of {known}.")
    elif name in _ORDERS and not isinstance(need, int | float | str):
        kind = type(need).__name__
        raise InvalidInput(f"filter operator {name!r} needs a number or a text, not {kind}.")
    elif name not in _ORDERS and _has_operator(need):
        raise InvalidInput(f"filter operator {name!r} needs a value without operators.")


def _has_operator(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(str(name).startswith("$") or _has_operator(value[name]) for name in value)
    return isinstance(value, list | tuple) and any(map(_has_operator, value))


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
        if not any(str(name).startswith("$") for name in wanted) and not isinstance(there, Mapping):
            return False
        return all(_holds(there, name, need) for name, need in wanted.items())
    if isinstance(wanted, list | tuple):
        same_length = isinstance(there, list | tuple) and len(there) == len(wanted)
        return same_length and all(map(_fits, there, wanted))
    return bool(there == wanted)


def _holds(there: Any, name: Any, need: Any) -> bool:
    if name in _LOGIC:
        filters = [need] if name == "$not" else need
        return _LOGIC[name](_fits(there, each) for each in filters)
    if name in _COMPARISONS:
        return _compares(there, name, need)
    return isinstance(there, Mapping) and _fits(_field(there, name), need)


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
    try:
        number = float(value) if isinstance(value, str) else value
    except ValueError:
        return None
    return number if isinstance(number, int | float) else None
