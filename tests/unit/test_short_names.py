"""Long names are shortened, and different names stay different."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from inside import short_name


def test_a_short_name_stays_as_it_is() -> None:
    assert short_name("a" * 255) == "a" * 255
    assert len(short_name("a" * 256)) < 255


@given(st.lists(st.text(max_size=300), unique=True, max_size=8))
@settings(deadline=None)
def test_different_names_stay_different(names: list[str]) -> None:
    names = [name for name in names if name.isprintable()]
    assert len({short_name(name) for name in names}) == len(names)


def test_no_name_equals_the_digest_of_another() -> None:
    long = "x" * 1000
    assert short_name(short_name(long)) != short_name(long)
