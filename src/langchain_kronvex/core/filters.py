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
Test = Callable[[Any], bool]

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
    return _test(wanted or {}, of_field=False)


def _test(wanted: Any, *, of_field: bool) -> Test:
    """Return the test for a filter, or for the condition of a field."""
    if isinstance(wanted, list | tuple):
        each = [_test(item, of_field=True) for item in wanted]
        return lambda there: (
            isinstance(there, list | tuple)
            and len(there) == len(each)
            and all(test(item) for test, item in zip(each, there, strict=True))
        )
    if not isinstance(wanted, Mapping):
        return lambda there: bool(there == wanted)
    operators = [name for name in wanted if str(name).startswith("$")]
    compared = [name for name in operators if name not in _LOGIC]
    tests = [
        _operator(name, need, of_field) if name in operators else _of_field(name, need)
        for name, need in wanted.items()
    ]
    if compared and not of_field:
        raise InvalidInput(f'filter names no field for {compared}: write {{"field": {{…}}}}.')
    if compared and len(operators) < len(wanted):
        raise InvalidInput(f"filter mixes the operators {compared} with field names.")
    return lambda there: (
        bool(operators or isinstance(there, Mapping)) and all(test(there) for test in tests)
    )


def _of_field(name: Any, need: Any) -> Test:
    test = _test(need, of_field=True)
    return lambda there: isinstance(there, Mapping) and test(_field(there, name))


def _operator(name: Any, need: Any, of_field: bool) -> Test:
    if name in _LOGIC:
        filters = [need] if name == "$not" else need
        if (
            not isinstance(filters, list | tuple)
            or not filters
            or not all(isinstance(each, Mapping) for each in filters)
        ):
            form = "one mapping" if name == "$not" else "a list of at least one mapping"
            raise InvalidInput(f"filter operator {name!r} needs {form}.")
        tests = [_test(each, of_field=of_field) for each in filters]
        return lambda there: _LOGIC[name](test(there) for test in tests)
    if name not in _COMPARISONS:
        known = ", ".join((*_COMPARISONS, *_LOGIC))
        raise InvalidInput(f"filter operator {name!r} is unknown; use one of {known}.")
    if name in _ORDERS and not isinstance(need, int | float | str):
        kind = type(need).__name__
        raise InvalidInput(f"filter operator {name!r} needs a number or a text, not {kind}.")
    if name not in _ORDERS and _has_operator(need):
        raise InvalidInput(f"filter operator {name!r} needs a value without operators.")
    return lambda there: _compares(there, name, need)


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
