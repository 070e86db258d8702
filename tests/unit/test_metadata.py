"""A filter marks the same memories whether it tests columns of metadata or one value at a time."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from inside import MetadataTable, parse_filter

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([2**53 + 1, 0.5, "2", "a", "ä"])
)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=2), st.dictionaries(st.just("y"), SCALARS))
NAMES = st.sampled_from(["x", "x.y", "z"])
METADATA = st.dictionaries(st.sampled_from(["x", "x.y", "z"]), VALUES, max_size=3)
ORDERS = st.dictionaries(
    st.sampled_from(["$gt", "$gte", "$lt", "$lte"]),
    st.one_of(st.integers(-3, 3), st.sampled_from([2**53 + 1, 0.5, "2", "a"])),
    min_size=1,
)
EQUALS = st.dictionaries(st.sampled_from(["$eq", "$ne"]), VALUES, min_size=1)
FIELDS = st.dictionaries(NAMES, st.one_of(VALUES, ORDERS, EQUALS), min_size=1, max_size=2)
FILTERS: st.SearchStrategy[Any] = st.recursive(
    FIELDS,
    lambda inner: st.one_of(
        st.dictionaries(
            st.sampled_from(["$and", "$or", "$nor"]), st.lists(inner, min_size=1, max_size=3),
            min_size=1, max_size=2,
        ),
        st.fixed_dictionaries({"$not": inner}),
    ),
    max_leaves=4,
)  # fmt: skip


@given(st.lists(METADATA, max_size=8), st.lists(METADATA, max_size=4), FILTERS)
def test_columns_mark_what_single_tests_accept(
    first: list[dict[str, Any]], later: list[dict[str, Any]], wanted: dict[str, Any]
) -> None:
    parsed = parse_filter(wanted)
    assert parsed is not None
    table, every = MetadataTable(), []
    for batch in (first, later):  # columns grow
        every += batch
        numbers = [table.texts.number(json.dumps(each)) for each in every]
        marked = table.mask(parsed)[numbers] if numbers else []
        assert list(marked) == [parsed.accepts(each) for each in every]
