"""Days or weeks of a chart."""

from __future__ import annotations

from datetime import date, timedelta

from inside import growth

TODAY = date(2026, 11, 30)  # a Monday


def ago(days: int) -> date:
    return TODAY - timedelta(days=days)


def test_young_memories_are_counted_by_day() -> None:
    found = growth({TODAY: 2, ago(1): 1, ago(59): 4}, TODAY)

    assert (found["unit"], found["first"]) == ("day", ago(59).isoformat())
    assert found["counts"] == [4, *[0] * 57, 1, 2]
    assert (found["earlier"], found["later"]) == (0, 0)


def test_older_ones_are_counted_by_week_which_begins_on_a_monday() -> None:
    found = growth({TODAY: 2, ago(1): 1, ago(7): 3, ago(60): 4}, TODAY)

    assert found["unit"] == "week"
    assert date.fromisoformat(found["first"]).isoweekday() == 1
    assert found["counts"][-2:] == [4, 2]
    assert sum(found["counts"]) == 10
    assert len(found["counts"]) == 14


def test_what_the_chart_cannot_hold_is_only_counted() -> None:
    found = growth({TODAY: 1, date(1, 1, 1): 5, date(9999, 12, 31): 6, ago(-1): 2}, TODAY)

    assert len(found["counts"]) == 104
    assert (found["earlier"], found["later"], found["counts"][-1]) == (5, 6, 3)
    assert growth({}, TODAY)["counts"] == [0] * 14
    assert growth({ago(-1): 1}, TODAY)["later"] == 1
