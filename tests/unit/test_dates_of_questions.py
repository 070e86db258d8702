"""The days that a question names."""

from __future__ import annotations

import doctest
import subprocess
import sys
from datetime import date, datetime, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from inside import dates, days_of
from langchain_kronvex import KronvexMemory

from .conversations import NOW as SECONDS
from .conversations import built, row, similarities, statement

NOW = date(2026, 4, 29)  # a Wednesday

NAMED = {
    "What did I read yesterday?": ("2026-04-28", "2026-04-28"),
    "What's on today?": ("2026-04-29", "2026-04-29"),
    "Who rang this morning?": ("2026-04-29", "2026-04-29"),
    "Where was I three days ago?": ("2026-04-26", "2026-04-26"),
    "What broke two weeks ago?": ("2026-04-12", "2026-04-18"),
    "Who visited a month ago?": ("2026-03-15", "2026-04-14"),
    "What did I plant 2 months ago?": ("2026-02-13", "2026-03-15"),
    "Whom did I meet last week?": ("2026-04-22", "2026-04-29"),
    "How often did I run in the past two weeks?": ("2026-04-15", "2026-04-29"),
    "What has happened this week?": ("2026-04-27", "2026-04-29"),
    "What has happened this month?": ("2026-04-01", "2026-04-29"),
    "What has happened this year?": ("2026-01-01", "2026-04-29"),
    "Where did I eat on March 3?": ("2026-03-03", "2026-03-03"),
    "Where did I eat on the 3rd of March?": ("2026-03-03", "2026-03-03"),
    "Where did I eat on Nov 21st, 2019?": ("2019-11-21", "2019-11-21"),
    "Where did I eat on 2024-02-29?": ("2024-02-29", "2024-02-29"),
    "What did I sow in early May 2024?": ("2024-05-01", "2024-05-10"),
    "What did I sow in mid-May 2024?": ("2024-05-11", "2024-05-20"),
    "What did I sow in late February 2024?": ("2024-02-21", "2024-02-29"),
    "What did I sow at the end of June 2024?": ("2024-06-21", "2024-06-30"),
    "And in the first week of June 2024?": ("2024-06-01", "2024-06-07"),
    "And in the first two weeks of June 2024?": ("2024-06-01", "2024-06-14"),
    "And in the last three weeks of June 2024?": ("2024-06-10", "2024-06-30"),
    "And in the last weeks of June 2024?": ("2024-06-24", "2024-06-30"),
    "And in the last two week of June 2024?": ("2024-06-17", "2024-06-30"),
    "And in the second half of June 2024?": ("2024-06-16", "2024-06-30"),
}


@pytest.mark.parametrize("question", NAMED)
def test_days_are_read(question: str) -> None:
    first, last = NAMED[question]
    assert days_of(question, NOW) == (date.fromisoformat(first), date.fromisoformat(last))
    assert days_of(question.upper(), NOW) == days_of(question, NOW)


@pytest.mark.parametrize(
    "question",
    [
        "Where do I live?",
        "What did I do in May?",
        "What did I do in 2023?",
        "I may need 10 of them.",
        "Is the last of the bread gone?",
        "What is 2+2?",
        "agony",
        "",
    ],
)
def test_other_questions_name_no_days(question: str) -> None:
    assert days_of(question, NOW) is None


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("on April 29", date(2026, 4, 29)),
        ("on April 30", date(2025, 4, 30)),
        ("on December 31", date(2025, 12, 31)),
        ("on February 29", date(2024, 2, 29)),
    ],
)
def test_a_date_without_a_year_is_the_latest_that_is_not_in_the_future(
    question: str, expected: date
) -> None:
    assert days_of(question, NOW) == (expected, expected)


@pytest.mark.parametrize(
    "question",
    [
        "99999 weeks ago",
        "9" * 5000 + " days ago",
        "0000-00-00",
        "on 0000-01-01",
        "2026-02-30",
        "2023-13-45",
        "on February 30",
        "on the 0th of May",
        "on May 99",
        "²  days ago",
    ],
)
def test_impossible_days_are_none(question: str) -> None:
    assert days_of(question, NOW) is None


PARTS = st.sampled_from(
    "last past first second third early mid late end beginning half of the on in this a an two "
    "three twelve 0 1 29 30 31 99 100 999 1000 99999 1900 2024 2100 0000 day days week weeks month "
    "months year years ago yesterday today morning february march may august - , ² ٣ ५ İ ſ \u202e"
    " \x00 \ud800".split(" ")
)
MOMENTS = st.dates() | st.sampled_from([date.min, date.max, date(2024, 2, 29), date(1900, 3, 1)])


@given(st.text() | st.lists(PARTS, max_size=8).map(" ".join), MOMENTS)
@example("yesterday", date.min)
@example("february 29", date(3, 1, 1))
@example("the last weeks of august", NOW)
def test_any_text_at_any_time_has_days_in_order_or_none(text: str, now: date) -> None:
    found = days_of(text, now)
    assert found is None or found[0] <= found[1]


RELATIVE = st.sampled_from(
    ["{} days ago", "{} weeks ago", "{} months ago", "last {} weeks", "past {} months"]
)


@given(RELATIVE, st.integers(0, 99), st.dates(date(1950, 1, 1), date(2100, 1, 1)))
def test_days_that_are_counted_back_are_never_in_the_future(
    words: str, count: int, now: date
) -> None:
    found = days_of(words.format(count), now)
    assert found is not None
    assert found[0] <= found[1] <= now


@given(st.dates(date(1900, 1, 1), date(2099, 12, 31)), MOMENTS)
def test_a_whole_date_is_that_day_whenever_it_is_asked(day: date, now: date) -> None:
    month, number, year = f"{day:%B}", day.day, day.year
    written_in_words = (f"{month} {number}, {year}", f"{number} {month[:3]} {year}")
    for written in (day.isoformat(), *written_in_words):
        assert days_of(f"What happened on {written}?", now) == (day, day)


def test_memories_of_the_days_are_found_first_except_statements() -> None:
    day = 86_400
    rows = [
        row(n, "The soup was good.", created=SECONDS - n * day, session_id=f"s{n}")
        for n in range(1, 6)
    ]
    facts = [statement(10 + n, "The soup was good.", created=SECONDS - n * day) for n in (2, 4)]
    index = built([*rows, *facts])
    asked = {number: f"Which soup {number} days ago?" for number in (2, 3, 5)}
    for number, question in {1: "Which soup yesterday?", **asked}.items():
        found = similarities(index, question)
        turns = {seq: found[seq] for seq in range(1, 6)}
        assert max(turns, key=turns.__getitem__) == number
        assert found[12] == found[14]


def test_the_examples_hold() -> None:
    failed, tried = doctest.testmod(dates)
    assert (failed, tried > 0) == (0, True)


@pytest.mark.slow
def test_months_are_english_in_a_process_of_another_language() -> None:
    run = (
        "import calendar; calendar.month_name = ['', *'janvier février mars avril mai juin juillet "
        "août septembre octobre novembre décembre'.split()];"
        "from datetime import date;"
        "from langchain_kronvex.recall.dates import days_of;"
        "print(days_of('on July 12', date(2026, 8, 1))[0])"
    )
    done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "2026-07-12"


@pytest.mark.parametrize("day", [1, 2, 12, 30])
def test_a_number_alone_names_no_day(day: int) -> None:
    said = datetime(2026, 12, day, tzinfo=timezone.utc)
    with KronvexMemory("sqlite://", clock=lambda: said) as memory:
        stored = memory.remember(f"number {day}", user_id="ana")
        alone = memory.explain(f"number {day}", stored.id, user_id="ana")
        assert alone.shares["dates"] == 0
        dated = memory.explain(f"number on December {day}", stored.id, user_id="ana")
        assert dated.shares["dates"] > 0
