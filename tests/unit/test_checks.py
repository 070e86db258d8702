"""Validation at the limits of what is allowed."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inside import validation as checks
from langchain_kronvex import InvalidInput

NOW = datetime(2026, 4, 28, tzinfo=timezone.utc)
STORABLE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(STORABLE.filter(str.strip))
def test_storable_texts_come_back_unchanged(text: str) -> None:
    assert checks.check_content(text) == text
    assert checks.check_query(text) == text
    if len(text) <= 255:
        assert checks.check_id(text, "user_id") == text


@given(st.text())
def test_every_text_is_stored_unchanged_or_rejected(text: str) -> None:
    storable = bool(text.strip()) and "\0" not in text
    storable &= not any("\ud800" <= character <= "\udfff" for character in text)
    try:
        assert checks.check_content(text) == text
        assert storable
    except InvalidInput:
        assert not storable


@pytest.mark.parametrize("length", [1, 255])
def test_ids_up_to_the_limit(length: int) -> None:
    assert checks.check_id("x" * length, "id") == "x" * length


def test_a_missing_optional_id_is_none() -> None:
    assert checks.check_optional_id(None, "user_id") is None
    with pytest.raises(InvalidInput, match="user_id"):
        checks.check_optional_id("", "user_id")


def test_a_query_may_be_any_text_that_is_not_blank() -> None:
    for query in ("\0a", "\ud800", "%", "x" * checks.MAX_QUERY_CHARS):
        assert checks.check_query(query) == query
    assert checks.check_query("a" * 1_000_000 + "b").endswith("ab")
    for query in ("", " \n", "\u3000", None, 1):
        with pytest.raises(InvalidInput, match="query"):
            checks.check_query(query)


def test_types() -> None:
    assert [checks.check_type(name) for name in checks.MEMORY_TYPES] == list(checks.MEMORY_TYPES)
    with pytest.raises(InvalidInput, match="episodic, semantic, procedural"):
        checks.check_type("gossip")


@pytest.mark.parametrize("value", [0, 1, 10**9, 10**30])
def test_counts(value: int) -> None:
    assert checks.check_count(value, "limit", least=0) == value


@pytest.mark.parametrize("value", [-1, True, False, 1.0, "1", None])
def test_values_that_are_not_counts_are_rejected(value: Any) -> None:
    with pytest.raises(InvalidInput, match=r"limit .* at least 0"):
        checks.check_count(value, "limit", least=0)


@pytest.mark.parametrize("value", [0, 1, 0.0, 1.0, 0.5, 5e-324])
def test_shares(value: float) -> None:
    assert checks.check_share(value, "threshold") == float(value)


def test_times_are_converted_to_utc() -> None:
    kathmandu = timezone(timedelta(hours=5, minutes=45))
    moment = datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=kathmandu)
    checked = checks.check_time(moment, "created_at")
    assert checked == moment
    assert checked.tzinfo is timezone.utc
    assert checked.isoformat() == "2025-12-31T18:15:00.000001+00:00"


@given(st.integers(1, 36_500) | st.floats(1e-5, 36_500))
def test_expiry_is_the_date_plus_the_days(ttl_days: float) -> None:
    assert checks.expiry(NOW, ttl_days) == NOW + timedelta(days=ttl_days)


def test_without_a_lifetime_there_is_no_expiry() -> None:
    assert checks.expiry(NOW, None) is None


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_json_metadata_comes_back_equal_as_a_copy(metadata: dict[str, Any]) -> None:
    checked = checks.check_metadata(metadata)
    assert checked == metadata
    assert checked is not metadata


def test_no_metadata_is_empty_metadata() -> None:
    assert checks.check_metadata(None) == {}
    assert checks.check_metadata({}) == {}


@pytest.mark.parametrize(
    "value", [{1: 1}, {"a": {1: 1}}, {"a": [{"b": {2: 3}}]}, {"a": {1: "x", "1": "y"}}], ids=repr
)
def test_keys_must_be_strings_at_any_depth(value: Any) -> None:
    with pytest.raises(InvalidInput, match="metadata"):
        checks.check_metadata(value)
