"""Whether recall says what is true now, and in which languages it finds what was said.

    python benchmarks/truth.py cases.json [--embeddings static|none|provider:MODEL|FILE.py:CLASS]

The cases are yours, as JSON; any part may be left out:

    {"updates": [{"old": "I live in Lisbon.", "new": "I've moved to Porto.",
                  "question": "Where do I live?", "asked_before": "Where am I living?"}],
     "distractors": ["I grew up near Cork."], "acknowledgements": ["Noted!"],
     "unknown": ["I don't know that yet."],
     "languages": {"German": [["Ich esse kein Fleisch.", "Was esse ich nicht?"]]}}

Every case has a memory of its own, in which all that is said is a session by itself; five memories
are recalled. All figures are percentages of cases.

Updates: the old fact 120 days ago, the new one 10 days ago, and up to 30 of the distractors between
and after them; then the question. Told as turns, as exchanges (which an acknowledgement answers)
or as statements. *Newest first*: the new fact is the first of all; *above*: it comes before the old
one; *found*: it is among the five.

Asked before: the new fact 60 days ago, distractors, and in the last weeks the question in other
words, once or five times, each time with a reply from `unknown`; then the question. *A question
above*: one of those exchanges comes before the fact.

Languages: the facts of a language are statements of one user, a day apart; then each question, by
similarity. *First*, *among five*: the fact that answers it.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import cycle, product
from pathlib import Path
from typing import Any, get_args

import embedding_choice
from langchain_kronvex import KronvexMemory
from langchain_kronvex.core.types import OrderBy
from timing import machine, table

NOW = datetime(2026, 1, 1, 9, tzinfo=timezone.utc)
USER, TOP_K, MOST_DISTRACTORS = "user", 5, 30
ORDERS: tuple[OrderBy, ...] = get_args(OrderBy)
FORMS = {"turns": "episodic", "exchanges": "exchange", "statements": "semantic"}
Case = dict[str, str]


@dataclass(frozen=True)
class Said:
    """A thing that was said; the mark tells it from others in what is recalled."""

    days_ago: float
    text: str
    mark: str = ""
    form: str = "exchange"
    reply: str = ""


@contextmanager
def told(said: Sequence[Said], **options: Any) -> Iterator[tuple[KronvexMemory, dict[str, str]]]:
    """Tell everything to an empty memory; gives it, and the mark of each id."""
    now, marks = NOW, dict[str, str]()
    with KronvexMemory("sqlite://", clock=lambda: now, **options) as memory:
        for number, each in enumerate(sorted(said, key=lambda each: -each.days_ago)):
            now, whose = (
                NOW - timedelta(each.days_ago),
                {"user_id": USER, "session_id": f"{number}"},
            )
            if each.form == "exchange":
                stored = memory.save_exchange(each.text, each.reply, **whose)
            else:
                stored = [memory.remember(each.text, memory_type=each.form, **whose)]  # type: ignore[arg-type]
            marks.update((found.id, each.mark) for found in stored)
        now = NOW
        memory.flush()
        yield memory, marks


def recalled(
    said: Sequence[Said], questions: Sequence[str], order_by: OrderBy, **options: Any
) -> list[list[str]]:
    """Tell everything to an empty memory, and return the marks of what each question brings."""
    with told(said, **options) as (memory, marks):
        return [
            [
                marks[found.id]
                for found in memory.recall(question, user_id=USER, top_k=TOP_K, order_by=order_by)
            ]
            for question in questions
        ]


class Cases:
    """The cases of a file, as what is said before each question."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.updates: list[Case] = data.get("updates", [])
        self.languages: dict[str, list[tuple[str, str]]] = data.get("languages", {})
        self._others: list[str] = data.get("distractors", [])
        self._replies: list[str] = data.get("acknowledgements") or ["Noted."]
        self._unknown: list[str] = data.get("unknown") or ["I don't know."]

    def _beside(self, case: Case, days: float, form: str) -> list[Said]:
        """Return distractors, spread over the days: the same ones whenever a case is told."""
        draw = random.Random(case["question"])
        chosen = draw.sample(self._others, min(MOST_DISTRACTORS, len(self._others)))
        return [
            Said(days * (n + 0.5) / len(chosen), text, form=form, reply=draw.choice(self._replies))
            for n, text in enumerate(chosen)
        ]

    def updated(self, case: Case, form: str) -> list[Said]:
        """Return what is said before the question about a fact that has changed."""
        return [
            Said(120, case["old"], "old", form, self._replies[0]),
            Said(10, case["new"], "new", form, self._replies[0]),
            *self._beside(case, 120, form),
        ]

    def asked(self, case: Case, form: str, times: int) -> list[Said]:
        """Return what is said before a question that was asked before, in vain."""
        replies = zip(range(times), cycle(self._unknown), strict=False)
        return [
            Said(60, case["new"], "fact", form, self._replies[0]),
            *(Said(17 - n, case["asked_before"], "asked", reply=reply) for n, reply in replies),
            *self._beside(case, 58, "exchange"),
        ]


def places(marks: Sequence[list[str]], mark: str) -> list[int]:
    """Return the first place of a mark in each list; where it is missing, it comes after all."""
    return [each.index(mark) if mark in each else TOP_K for each in marks]


def percent(flags: Sequence[bool]) -> str:
    """Return the share of true ones, in percent."""
    return f"{100 * sum(flags) / len(flags):.0f}"


def shares(at: Sequence[int]) -> list[str]:
    """Return in which share of lists something is first, and in which it is at all."""
    return [percent([place < limit for place in at]) for limit in (1, TOP_K)]


def above(at: Sequence[int], other: Sequence[int]) -> str:
    """Return in which share of lists one thing comes before another."""
    return percent([one < two for one, two in zip(at, other, strict=True)])


def update_rows(cases: Cases, options: Any) -> Iterator[list[str]]:
    """Yield a row for each form and order."""
    for (name, form), order in product(FORMS.items(), ORDERS):
        marks = [
            recalled(cases.updated(case, form), [case["question"]], order, **options)[0]
            for case in cases.updates
        ]
        new, old = places(marks, "new"), places(marks, "old")
        first, found = shares(new)
        yield [name, order, first, above(new, old), found]


def asked_rows(cases: Cases, options: Any) -> Iterator[list[str]]:
    """Yield a row for each number of askings, form of the fact, and order."""
    for times, name, order in product((1, 5), ("exchanges", "statements"), ORDERS):
        marks = [
            recalled(cases.asked(case, FORMS[name], times), [case["question"]], order, **options)[0]
            for case in cases.updates
        ]
        fact, asked = places(marks, "fact"), places(marks, "asked")
        yield [f"{times} x", name, order, *shares(fact), above(asked, fact)]


def language_rows(cases: Cases, options: Any) -> Iterator[list[str]]:
    """Yield a row for each language.

    By similarity, because what one question brings would be ordered differently for the next.
    """
    for language, pairs in cases.languages.items():
        said = [
            Said(len(pairs) - n, fact, f"{n}", FORMS["statements"])
            for n, (fact, _) in enumerate(pairs)
        ]
        questions = [question for _, question in pairs]
        found = recalled(said, questions, "similarity", **options)
        at = [places([marks], f"{n}")[0] for n, marks in enumerate(found)]
        yield [language, str(len(pairs)), *shares(at)]


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description="What is true now, and in which languages.")
    parser.add_argument("data", type=Path, help="the file of cases")
    embedding_choice.add_embeddings(parser)
    given = parser.parse_args()
    cases = Cases(json.loads(given.data.read_text(encoding="utf-8")))
    options = embedding_choice.arguments(given.embeddings)

    print(machine())
    print(f"{len(cases.updates)} cases of updates, embeddings: {given.embeddings}")
    shown = ["first", "among five"]
    tables = [
        (["updates", "order", "newest first", "above the older", "found"], update_rows),
        (["asked before", "fact told in", "order", *shown, "a question above"], asked_rows),
        (["language", "facts", *shown], language_rows),
    ]
    for header, rows in tables:
        if cases.languages if rows is language_rows else cases.updates:
            print(f"\n{table(header, rows(cases, options))}")


if __name__ == "__main__":
    main()
