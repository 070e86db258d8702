"""Filters of JSON values by their fields. Pure functions.

A filter maps fields to required values: `{"status": "done", "score": {"$gte": 4}}`. A nested field
is named by its path, `"user.name"`, or by a nested mapping. `$and`, `$or` and `$nor` take a list of
filters, `$not` takes one; inside a field they take conditions: `{"score": {"$not": {"$lt": 4}}}`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from langchain_kronvex.core.errors import InvalidInput

Test = Callable[[Any], bool]

ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
_MOST_LEVELS = 128  # of nesting
_COMPARISONS = ("$eq", "$ne", *ORDERS)
_LOGIC: dict[str, Callable[[Iterable[bool]], bool]] = {
    "$and": all,
    "$or": any,
    "$nor": lambda results: not any(results),
    "$not": lambda results: not all(results),
}


@dataclass(frozen=True, slots=True)
class FieldFilter:
    """The condition of one field.

    Attributes:
        name: The field, or the path to it.
        need: The condition, as it was written.
        test: Returns whether a value of the field meets it.
    """

    name: Any
    need: Any
    test: Test

    def accepts(self, value: Mapping[str, Any]) -> bool:
        """Return whether a value passes the filter."""
        return self.test(field_of(value, self.name))


@dataclass(frozen=True, slots=True)
class LogicFilter:
    """Filters joined by an operator: `$and`, `$or`, `$nor`, or `$not` of one."""

    operator: str
    parts: tuple[Filter, ...]

    def accepts(self, value: Mapping[str, Any]) -> bool:
        """Return whether a value passes the filter."""
        return _LOGIC[self.operator](part.accepts(value) for part in self.parts)


Filter = FieldFilter | LogicFilter


def parse_filter(wanted: object) -> Filter | None:
    """Check a filter; None for one without conditions.

    Raises:
        InvalidInput: the filter is not a mapping, is nested too deeply, or has an operator that
            does not exist or that could never match.
    """
    if wanted is not None and not isinstance(wanted, Mapping):
        raise InvalidInput(f"filter must be a mapping, not {type(wanted).__name__}.")
    _check_values(wanted, _MOST_LEVELS)
    return _filter(wanted) if wanted else None


def _check_values(value: object, levels_left: int) -> None:
    if not levels_left:
        raise InvalidInput(f"filter is nested deeper than {_MOST_LEVELS} levels.")
    if isinstance(value, Mapping | list | tuple):
        for each in value.values() if isinstance(value, Mapping) else value:
            _check_values(each, levels_left - 1)
    elif value is not None and not isinstance(value, str | int | float):
        kind = type(value).__name__
        raise InvalidInput(f"filter must hold JSON values only, not {kind}. Convert it first.")


def accepting(wanted: Mapping[str, Any] | None) -> Callable[[Mapping[str, Any]], bool]:
    """Return a function that returns whether a value passes a filter.

    Raises:
        InvalidInput: as `parse_filter`.
    """
    parsed = parse_filter(wanted)
    return (lambda value: True) if parsed is None else parsed.accepts


def _filter(wanted: Mapping[Any, Any]) -> Filter:
    compared = [n for n in wanted if str(n).startswith("$") and n not in _LOGIC]
    for name in compared:
        _operator(name, wanted[name])  # an unknown one has an error of its own
    if compared:
        raise InvalidInput(f'filter names no field for {compared}: write {{"field": {{…}}}}.')
    parts: list[Filter] = []
    for name, need in wanted.items():
        if name in _LOGIC:
            parts.append(LogicFilter(name, tuple(map(_filter, _operands(name, need)))))
        else:
            parts.append(FieldFilter(name, need, _test(need)))
    return parts[0] if len(parts) == 1 else LogicFilter("$and", tuple(parts))


def _test(wanted: Any) -> Test:
    """Return the test for the condition of a field."""
    if isinstance(wanted, list | tuple):
        each = [_test(item) for item in wanted]
        return lambda there: (
            isinstance(there, list | tuple)
            and len(there) == len(each)
            and all(test(item) for test, item in zip(each, there, strict=True))
        )
    if not isinstance(wanted, Mapping):
        return lambda there: _equals(there, wanted)
    operators = [name for name in wanted if str(name).startswith("$")]
    compared = [name for name in operators if name not in _LOGIC]
    tests = [
        _operator(name, need) if name in operators else _within(name, need)
        for name, need in wanted.items()
    ]
    if compared and len(operators) < len(wanted):
        raise InvalidInput(f"filter mixes the operators {compared} with field names.")
    return lambda there: (
        bool(operators or isinstance(there, Mapping)) and all(test(there) for test in tests)
    )


def _within(name: Any, need: Any) -> Test:
    test = _test(need)
    return lambda there: isinstance(there, Mapping) and test(field_of(there, name))


def _operands(name: str, need: Any) -> Sequence[Mapping[Any, Any]]:
    """Return the filters, or conditions, that an operator of logic joins."""
    filters = [need] if name == "$not" else need
    is_list = isinstance(filters, list | tuple) and filters
    if not is_list or not all(isinstance(each, Mapping) for each in filters):
        form = "one mapping" if name == "$not" else "a list of at least one mapping"
        raise InvalidInput(f"filter operator {name!r} needs {form}.")
    return cast("Sequence[Mapping[Any, Any]]", filters)


def _operator(name: Any, need: Any) -> Test:
    if name in _LOGIC:
        tests = [_test(each) for each in _operands(name, need)]
        return lambda there: _LOGIC[name](test(there) for test in tests)
    if name not in _COMPARISONS:
        known = ", ".join((*_COMPARISONS, *_LOGIC))
        raise InvalidInput(f"filter operator {name!r} is unknown; use one of {known}.")
    if name in ORDERS and not isinstance(need, int | float | str):
        kind = type(need).__name__
        raise InvalidInput(f"filter operator {name!r} needs a number or a text, not {kind}.")
    if name not in ORDERS and _has_operator(need):
        raise InvalidInput(f"filter operator {name!r} needs a value without operators.")
    return lambda there: _compares(there, name, need)


def _has_operator(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(str(name).startswith("$") or _has_operator(value[name]) for name in value)
    return isinstance(value, list | tuple) and any(map(_has_operator, value))


def field_of(value: Mapping[str, Any], name: str) -> Any:
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
        same = _equals(there, list(wanted) if isinstance(wanted, tuple) else wanted)
        return same is (name == "$eq")
    number, bound = number_of(there), number_of(wanted)
    if number is not None and bound is not None:
        return ORDERS[name](number, bound)
    both_texts = isinstance(there, str) and isinstance(wanted, str)
    return both_texts and ORDERS[name](there, wanted)


def _equals(there: Any, wanted: Any) -> bool:
    # A float of NumPy compares with each element of a list.
    return bool(there == (float(wanted) if isinstance(wanted, float) else wanted))


def number_of(value: Any) -> int | float | None:
    """Return a number, also from a string; None if the value is not a number."""
    try:
        number = float(value) if isinstance(value, str) else value
    except ValueError:
        return None
    return number if isinstance(number, int | float) else None
