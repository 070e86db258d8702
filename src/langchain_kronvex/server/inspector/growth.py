"""How the number of memories has grown: counts by day or week, as many as a chart can show."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

_LEAST, _MOST_DAYS, _MOST_WEEKS = 14, 60, 104  # bars


def growth(counts: Mapping[date, int], today: date) -> dict[str, Any]:
    """Return the counts of the last days, or weeks if these days do not reach far enough.

    Args:
        counts: How many memories were created on each day.
        today: The last day of the chart.

    Returns:
        `unit` (`day` or `week`), `first` (the day on which the first bar begins), `counts` (of each
        bar), and how many memories are `earlier` or `later` than all bars.
    """
    begin = min(counts, default=today)
    unit, most, end = 1, _MOST_DAYS, today
    if (today - begin).days >= _MOST_DAYS:
        unit, most, end = 7, _MOST_WEEKS, today + timedelta(days=6 - today.weekday())  # a Sunday
    size = max(_LEAST, min((end - begin).days // unit + 1, most))
    bars, earlier, later = [0] * size, 0, 0
    for day, count in counts.items():
        place = size - 1 - (end - day).days // unit
        if place < 0:
            earlier += count
        elif place >= size:
            later += count
        else:
            bars[place] += count
    first = end - timedelta(days=unit * size - 1)
    return {
        "unit": "day" if unit == 1 else "week",
        "first": first.isoformat(),
        "counts": bars,
        "earlier": earlier,
        "later": later,
    }
