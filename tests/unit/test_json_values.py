"""JSON values and their texts: equal values have equal texts, and come back unchanged."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inside import canonical_json
from langchain_kronvex import InvalidInput

ANY_TEXT = st.text(st.characters(), max_size=20)  # lone surrogates and NUL as well
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
@settings(deadline=None)
def test_values_come_back_unchanged(value: Any) -> None:
    text = canonical_json(value, "value")
    text.encode()
    assert "\0" not in text
    assert json.loads(text) == value


@given(st.dictionaries(ANY_TEXT, VALUES, min_size=2, max_size=5))
@settings(deadline=None)
def test_the_order_of_a_mapping_does_not_matter(value: dict[str, Any]) -> None:
    turned = dict(reversed(value.items()))
    assert canonical_json(turned, "value") == canonical_json(value, "value")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (float("nan"), "NaN"),
        ({"a": [float("inf")]}, "infinity"),
        (b"bytes", "bytes"),
        ({1: "a"}, "strings as keys"),
        ({"a": {1, 2}}, "set"),
        (object(), "object"),
        (10**5000, "cannot be stored"),
        (json.loads("[" * 200 + "]" * 200), "nested deeper"),
        ("x" * (16 * 1024 * 1024), "characters"),
    ],
    ids=["nan", "inf", "bytes", "key", "set", "object", "digits", "deep", "long"],
)
def test_values_that_are_not_json_are_rejected(value: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        canonical_json(value, "value")
