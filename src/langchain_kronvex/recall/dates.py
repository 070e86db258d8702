"""The days that a question speaks of: "yesterday", "two weeks ago", "on July 12", "late August".

English only. Pure functions; `now` is an argument. Weeks begin on Mondays, and all days are UTC.
"""

from __future__ import annotations

import calendar
import re
from datetime import date, timedelta

from langchain_kronvex.recall.tokenizer import MONTHS

Days = tuple[date, date]  # the first and the last

# Not those of `calendar`, which are in the language of the process.
_MONTH = "|".join(f"{name[:3]}(?:{name[3:]})?" for name in MONTHS)
_NUMBERS = "zero a two three four five six seven eight nine ten eleven twelve".split()
_NUMBER = r"\d{1,3}|an?|one|" + "|".join(_NUMBERS[2:])
_UNIT = r"(day|week|month|year)s?"

_AGO = re.compile(rf"\b({_NUMBER}) {_UNIT} ago\b")
_PAST = re.compile(rf"\b(?:last|past) (?:({_NUMBER}) )?{_UNIT}\b(?! of)")
_THIS = re.compile(r"\bthis (week|month|year)\b")
_YEAR = r"(?:,? (?:of )?((?:19|20)\d\d))?"
_DAY = r"(\d{1,2})(?:st|nd|rd|th)?"
_DAY_OF_MONTH = re.compile(rf"\b(?:({_MONTH}) {_DAY}|{_DAY} (?:of )?({_MONTH})){_YEAR}\b")
_ISO = re.compile(r"\b((?:19|20)\d\d)-(\d\d)-(\d\d)\b")
_PART_OF_MONTH = re.compile(
    rf"\b(?:(early|mid|late|(?:beginning|middle|end) of|(?:first|last)(?: two| three)? weeks? of"
    rf"|(?:first|second) half of)[ -])({_MONTH}){_YEAR}\b"
)
_PARTS = {  # the first and the last day; 0 for the last of the month
    "early": (1, 10), "beginning of": (1, 10), "mid": (11, 20), "middle of": (11, 20),
    "late": (21, 0), "end of": (21, 0), "first week of": (1, 7), "first two week of": (1, 14),
    "first three week of": (1, 21), "last week of": (-6, 0), "last two week of": (-13, 0),
    "last three week of": (-20, 0), "first half of": (1, 15), "second half of": (16, 0),
}  # fmt: skip
_ANY = re.compile(
    r"\d|\b(?:ago|yesterday|today|last|past|this|early|mid|late|beginning|middle|end|first|second)\b"
)
_LENGTHS = {"day": 1, "week": 7, "month": 30, "year": 365}


def days_of(question: str, now: date) -> Days | None:
    """Return the days that a question names; None if it names none, or only a month or a year.

    A date without a year is the latest one that is not in the future.

    >>> days_of("What did we cook in the last week of August 2023?", date(2026, 1, 1))
    (datetime.date(2023, 8, 25), datetime.date(2023, 8, 31))
    """
    text = question.lower()
    if not _ANY.search(text):
        return None
    try:
        return _relative(text, now) or _absolute(text, now)
    except (ValueError, OverflowError):  # February 30; a day before the year 1
        return None


def _relative(text: str, now: date) -> Days | None:
    if "yesterday" in text:
        return now - timedelta(1), now - timedelta(1)
    if "today" in text or "this morning" in text:
        return now, now
    if found := _AGO.search(text):
        count, unit = _number(found[1]), found[2]
        middle, about = now - timedelta(count * _LENGTHS[unit]), _LENGTHS[unit] // 2
        return middle - timedelta(about), min(middle + timedelta(about), now)
    if found := _PAST.search(text):
        return now - timedelta(_number(found[1] or "a") * _LENGTHS[found[2]]), now
    if found := _THIS.search(text):
        back = {"week": now.weekday(), "month": now.day - 1, "year": now.timetuple().tm_yday - 1}
        return now - timedelta(back[found[1]]), now
    return None


def _absolute(text: str, now: date) -> Days | None:
    if found := _ISO.search(text):
        day = date(*map(int, found.groups()))
        return day, day
    if found := _DAY_OF_MONTH.search(text):
        month, number, year = found[1] or found[4], int(found[2] or found[3]), found[5]
        day = _dated(month, number, year, now)
        return day, day
    if found := _PART_OF_MONTH.search(text):
        start = _dated(found[2], 1, found[3], now)
        length = calendar.monthrange(start.year, start.month)[1]
        first, last = _PARTS[found[1].replace("weeks", "week")]
        return (
            start.replace(day=first if first > 0 else length + first),
            start.replace(day=last or length),
        )
    return None


def _dated(month: str, day: int, year: str | None, now: date) -> date:
    number = next(n for n, name in enumerate(MONTHS, 1) if name.startswith(month[:3]))
    latest = now.year - ((number, day) > (now.month, now.day))
    latest -= latest % 4 if (number, day) == (2, 29) else 0
    return date(int(year or latest), number, day)


def _number(text: str) -> int:
    if text.isdigit():
        return int(text)
    return 1 if text in ("a", "an", "one") else _NUMBERS.index(text)
