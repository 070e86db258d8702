"""How an answer is read: what is forgiven, and what is refused and how it is said."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, ConfigDict, field_validator

from inside import MAX_FACT_CHARS, MAX_FAULTS, Batch, Confirmed, read_answer
from langchain_kronvex import ConsolidationRefused
from langchain_kronvex.consolidation import Fact, Preference, Procedure

from .batches import MAY, batch, exchange, fact, known

SCHEMAS = (Fact, Preference, Procedure)
SECRET = "zebra"


def read(raw: dict[str, Any], shown: Any = None, **options: Any) -> Any:
    return read_answer(raw, shown or batch("a", "b", "c"), SCHEMAS, **options)


def refusal(raw: dict[str, Any], shown: Any = None, **options: Any) -> str:
    with pytest.raises(ConsolidationRefused) as raised:
        read(raw, shown, **options)
    assert SECRET not in str(raised.value)
    return str(raised.value)


def test_a_fact() -> None:
    new = fact("Ana lives in Porto.", 2, 1, 2, reason="home", since="2026-05", replaces=4)
    added = read({"Fact": [new]}, batch("a", "b", known=[known(4)])).added[0]
    assert (added.content, added.memory_type, added.schema) == (
        "Ana lives in Porto.", "semantic", "Fact",
    )  # fmt: skip
    assert (added.sources, added.replaces, added.reason) == (("e1", "e2"), "k4", "home")
    assert added.fields == {}
    assert added.created_at == MAY + timedelta(days=1)
    assert added.valid_from == datetime(2026, 5, 1, tzinfo=timezone.utc)


@pytest.mark.parametrize("raw", [{}, {"Fact": []}, {"Fact": None, "confirmed": None}], ids=str)
def test_nothing_is_worth_keeping(raw: dict[str, Any]) -> None:
    found = read(raw)
    assert not found.added
    assert not found.confirmed


def test_types_come_from_the_schemas() -> None:
    found = read({"Procedure": [fact("Answer in German.")], "Preference": [fact("Likes tea.")]})
    assert [each.memory_type for each in found.added] == ["preference", "procedural"]


class Diet(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")
    memory_type: ClassVar[str] = "preference"
    food: str
    noticed: datetime | None = None

    @field_validator("food")
    @classmethod
    def _edible(cls, food: str) -> str:
        if food == SECRET:
            raise ValueError(f"{food} is not edible")
        return food


def test_a_schema_with_fields_keeps_them() -> None:
    raw = {"Diet": [{"food": "nuts", "noticed": "2026-05-01T00:00:00Z", "sources": [1]}]}
    added = read_answer(raw, batch(), [Diet]).added[0]
    assert added.fields == {"food": "nuts", "noticed": "2026-05-01T00:00:00Z"}
    assert added.content == "Diet: food: nuts; noticed: 2026-05-01T00:00:00Z"
    assert added.memory_type == "preference"


@pytest.mark.parametrize(
    "item",
    [
        {"food": SECRET, "sources": [1]},
        {"food": "nuts", "sources": [1], SECRET: SECRET},
        {"food": "nuts", "noticed": SECRET, "sources": [1]},
        {"sources": [1]},
    ],
    ids=str,
)
def test_faults_of_fields_do_not_quote_the_answer(item: dict[str, Any]) -> None:
    with pytest.raises(ConsolidationRefused, match=r"^Diet 1: ") as raised:
        read_answer({"Diet": [item]}, batch(), [Diet])
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        ("2026-04-30", (2026, 4, 30)),
        ("2026-05-02T10:00:00Z", (2026, 5, 2)),
        ("2019", (2019, 1, 1)),
        (None, None),
        ("", None),
        ("2026-06", None),  # later than what was said: a plan
    ],
)
def test_since_or_the_date_of_the_oldest_source(since: str | None, expected: Any) -> None:
    added = read({"Fact": [fact("A.", 2, 1, since=since)]}).added[0]
    assert added.valid_from == (datetime(*expected, tzinfo=timezone.utc) if expected else MAY)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({SECRET: []}, "The answer: leave out the fields"),
        ({"Fact": SECRET}, "The answer: Fact is wrong (list_type)."),
        ({"Fact": [SECRET]}, "Fact 1: it is wrong"),
        ({"Fact": [{**fact(), SECRET: 1}]}, "Fact 1: leave out the fields"),
        ({"Fact": [fact(sources=SECRET)]}, "Fact 1: sources is wrong (list_type)."),
        ({"Fact": [{"text": "A."}]}, "Fact 1: sources is wrong (missing)."),
        ({"Fact": [{"sources": [1]}]}, "Fact 1: text is wrong (missing)."),
        ({"Fact": [fact(), fact("B.", 9)]}, "Fact 2: exchange 9 does not exist; numbers go from 1"),
        ({"Fact": [fact(sources=[])]}, "Fact 1 has no sources"),
        ({"Fact": [fact(" \n\0")]}, "Fact 1 has 0 characters; 1 to 500"),
        ({"Fact": [fact("a" * (MAX_FACT_CHARS + 1))]}, "Fact 1 has 501 characters"),
        ({"Fact": [fact(since=SECRET)]}, "Fact 1: since is not a date"),
        ({"Fact": [fact(since="2026-13")]}, "Fact 1: since is not a date"),
        ({"Fact": [fact(since="2026-02-30")]}, "Fact 1: since is not a date"),
        ({"Fact": [fact(since="0000")]}, "Fact 1: since is not a date"),
        ({"Fact": [fact(replaces=1)]}, "Fact 1: known fact 1 does not exist; there are none."),
        ({"confirmed": [{"known": 1, "sources": [1]}]}, "confirmed 1: known fact 1 does not exist"),
        ({"Fact": [fact("\ud800")]}, "is wrong"),
    ],
    ids=str,
)
def test_what_is_refused(raw: dict[str, Any], said: str) -> None:
    assert said in refusal(raw)


def test_all_faults_are_listed_at_once() -> None:
    raw = {"Fact": [fact("A.", 7, since="soon"), fact("", 8)], "Procedure": [fact("B.", 9)]}
    faults = re.findall(r"(\w+ \d)(?:: (exchange|since)| has (0))", refusal(raw))
    assert ["".join(fault) for fault in faults] == [
        "Fact 1exchange", "Fact 1since", "Fact 20", "Fact 2exchange", "Procedure 1exchange",
    ]  # fmt: skip


def test_the_list_of_faults_has_an_end() -> None:
    said = refusal({"Fact": [fact(str(n), 100 + n) for n in range(1000)]})
    assert said.count("does not exist") <= MAX_FAULTS
    assert "more." in said
    assert len(refusal({"Fact": [SECRET] * 1000})) < 2_000


def test_the_assistants_words_alone_are_no_evidence() -> None:
    shown = Batch([exchange(1, "", "You live in Rome."), exchange(2, "Yes, right.", "Good.")])
    assert "assistant's words alone" in refusal({"Fact": [fact("Ana lives in Rome.", 1)]}, shown)
    assert read({"Fact": [fact("Ana lives in Rome.", 1, 2)]}, shown).added[0].sources == (
        "e1", "e2",
    )  # fmt: skip


def test_more_operations_than_allowed() -> None:
    raw = {"Fact": [fact("A."), fact("B.")], "confirmed": [{"known": 1, "sources": [1]}]}
    shown = batch("a", known=[known(1)])
    assert "There are 3 entries; at most 2" in refusal(raw, shown, max_operations=2)
    assert len(read(raw, shown, max_operations=3).added) == 2


CONFIRMED = {"known": 1, "sources": [1]}


@pytest.mark.parametrize(
    "raw",
    [
        {"Fact": [fact("A.", replaces=1), fact("B.", replaces=1)]},
        {"Fact": [fact("A.", replaces=1)], "confirmed": [CONFIRMED]},
        {"confirmed": [CONFIRMED, CONFIRMED]},
        {"Fact": [fact("A.", replaces=1), fact("Ana lives in Lisbon.")]},
    ],
    ids=str,
)
def test_a_known_fact_is_changed_once(raw: dict[str, Any]) -> None:
    shown = batch("a", known=[known(1), known(2, "Ana is 30.")])
    assert refusal(raw, shown) == "Known fact 1 is changed by more than one entry."


def test_what_was_said_later_is_not_replaced() -> None:
    shown = batch("a", "b", known=[known(1, days_before=-1), known(2, days_before=-2)])
    assert read({"Fact": [fact("A.", 2, replaces=1)]}, shown).added[0].replaces == "k1"
    assert "said later" in refusal({"Fact": [fact("A.", 1, replaces=1)]}, shown)
    assert "said later" in refusal({"Fact": [fact("A.", 1, 2, replaces=2)]}, shown)


def test_entries_that_say_the_same_become_one() -> None:
    shown = batch("a", "b", known=[known(1)])
    raw = {
        "Fact": [fact("Ana likes tea", 2)],
        "Preference": [fact("ana  likes tea.", 1, replaces=1, since="2026-01")],
    }
    (added,) = read(raw, shown).added
    assert (added.sources, added.replaces, added.schema) == (("e1", "e2"), "k1", "Fact")
    assert added.valid_from.month == 1
    twice = {"Fact": [fact("A.", replaces=1), fact("A.", replaces=1)]}
    assert read(twice, shown).added[0].replaces == "k1"


def test_a_repeated_entry_cannot_replace_two_facts() -> None:
    shown = batch("a", known=[known(1), known(2, "Ana is 30.")])
    raw = {"Fact": [fact("A.", replaces=1), fact("A.", replaces=2)]}
    assert "more than one entry" in refusal(raw, shown)


def test_what_repeats_a_known_fact_confirms_it() -> None:
    shown = batch("a", "b", known=[known(1), known(2, "Ana is 30."), known(None, "Ana sings.")])
    repeated = {"Fact": [fact("ana lives in lisbon", 2, replaces=1), fact("Ana sings.")]}
    found = read(repeated, shown)
    assert not found.added
    assert found.confirmed == (Confirmed("k1", ("e2",)),)
    both = {**repeated, "confirmed": [{"known": 1, "sources": [1]}]}
    assert read(both, shown).confirmed == (Confirmed("k1", ("e1", "e2")),)
    wrong = {"Fact": [fact("Ana lives in Lisbon.", replaces=2)]}
    assert "known already" in refusal(wrong, shown)


def test_a_fact_stated_directly_can_be_neither_replaced_nor_confirmed() -> None:
    shown = batch("a", known=[known(None)])
    assert "there are none" in refusal({"Fact": [fact("A.", replaces=1)]}, shown)
    assert "there are none" in refusal({"confirmed": [CONFIRMED]}, shown)
