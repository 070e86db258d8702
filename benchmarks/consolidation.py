"""What consolidation with a language model adds to recall, what it gets wrong, and what it costs.

    python benchmarks/consolidation.py [MODEL] DATA [DATA ...] [--limit N] [--conversations N ...]

MODEL is a name for LangChain's `init_chat_model`, such as `openai:gpt-5-mini`. Without it, or as
`scripted`, the rules of `scripted_extractor.py` take its place: those figures prove the plumbing,
not a model. DATA is the LoCoMo file (`locomo_data.py`), a file of cases (`truth.py`), or both; no
part of either is in this project. All figures are percentages, unless the header names a unit.

Updates, as in `truth.py`: each case is told as exchanges, and consolidated. A derived memory stands
for the newest of its sources.

Evidence, as in `locomo.py`: each conversation is stored turn by turn, with both people as one user;
its questions are asked by similarity before it is consolidated, and again after. R@k is the share
of the evidence among the first k memories. *Beside derived ones*: a derived memory brings the turns
that are its sources. *Of which verbatim*: only turns themselves count, so that the places they lose
to derived memories are visible.

Junk: derived memories without support in their sources. Less than half of their words (stems,
without function words and dates) are in what the sources say, or they name a number or a month
that is neither there nor near a source's date: the day within 7 days, the month within 31, the year
within 366. "User" does not count as a word, because a sentence about "I" needs it.

Tokens are those that the provider reports. The scripted extractor counts them as `max_tokens` does.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
from calendar import month_name
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import locomo
import truth
from langchain_kronvex import KronvexMemory, Memory
from langchain_kronvex.consolidation import ConsolidationReport, KronvexConsolidator
from langchain_kronvex.recall.tokenizer import terms
from locomo_data import Conversation, Question, read
from scripted_extractor import ScriptedExtractor
from timing import machine, table

SCRIPTED = "scripted"
ALONE, BESIDE, VERBATIM = "verbatim alone", "beside derived ones", "of which verbatim"
CUTS = (1, 5, 10)
COUNTS = ("exchanges", "added", "superseded", "confirmed", "refused", "set_aside", "calls")
NAMED = re.compile(rf"\b(?:{'|'.join(month_name[1:])}|\d+)\b", re.IGNORECASE)
NO_WORDS = {"user"}
MOST = 100_000  # memories of a user


@dataclass
class Costs:
    """What the consolidations of one data file did."""

    report: ConsolidationReport = field(default_factory=ConsolidationReport)
    derived: list[bool] = field(default_factory=list)  # whether each is junk

    def consolidate(self, memory: KronvexMemory, model: Any, user: str) -> None:
        """Consolidate a user, and judge what there is now."""
        self.report += KronvexConsolidator(memory, model).run(user)
        memory.flush()
        stored = memory.memories(user_id=user, limit=MOST, include_superseded=True)
        said = {each.id: each for each in stored}
        self.derived += [
            is_junk(each.content, [said[id_] for id_ in each.sources if id_ in said])
            for each in stored
            if each.sources
        ]

    def row(self, name: str) -> list[str]:
        """Return the cells of its row."""
        report, exchanges = self.report, max(self.report.exchanges, 1)
        return [
            name,
            *(f"{getattr(report, count)}" for count in COUNTS),
            f"{report.input_tokens / exchanges:.0f}",
            f"{report.output_tokens / exchanges:.0f}",
            f"{report.seconds:.1f}",
            truth.percent(self.derived) if self.derived else "",
        ]


def is_junk(text: str, sources: Sequence[Memory]) -> bool:
    """Return whether a derived text has no support in its sources; see above."""
    said = " ".join(source.content for source in sources)
    told = set(terms(NAMED.sub("", text), "english")) - NO_WORDS
    has_words = 2 * len(told & set(terms(said, "english"))) >= len(told)
    near = {part for source in sources for part in date_parts_near(source.created_at)}
    return not has_words or not named(text) <= named(said) | near


def named(text: str) -> set[str]:
    """Return the numbers and months that a text names."""
    return {each.casefold().lstrip("0") for each in NAMED.findall(text)}


def date_parts_near(date: datetime) -> Iterator[str]:
    """Yield the days, months and years that count as near a date."""
    for days in range(-7, 8):
        yield f"{(date + timedelta(days)).day}"
    for days in (-31, 0, 31):
        yield month_name[(date + timedelta(days)).month].casefold()
    for days in (-366, 0, 366):
        yield f"{(date + timedelta(days)).year}"


# -- updates -------------------------------------------------------------------------------------


def marks_by_order(cases: truth.Cases, model: Any, costs: Costs) -> dict[str, list[list[str]]]:
    """Return, for each order, the marks of what each case's question brings.

    The default order comes first: it depends on what was recalled before, the other one does not.
    """
    found: dict[str, list[list[str]]] = {order: [] for order in truth.ORDERS}
    for case in cases.updates:
        with truth.told(cases.updated(case, "exchange")) as (memory, marks):
            if model is not None:
                costs.consolidate(memory, model, truth.USER)
            for order in truth.ORDERS:
                recalled = memory.recall(
                    case["question"], user_id=truth.USER, top_k=truth.TOP_K, order_by=order
                )
                found[order].append([marks[(each.sources or (each.id,))[-1]] for each in recalled])
    return found


def update_rows(cases: truth.Cases, model: Any, costs: Costs) -> Iterator[list[str]]:
    """Yield a row for each order, without derived memories and with them."""
    for name, of in ((ALONE, None), (BESIDE, model)):
        for order, marks in marks_by_order(cases, of, costs).items():
            new, old = truth.places(marks, "new"), truth.places(marks, "old")
            first, among = truth.shares(new)
            yield [name, order, first, truth.above(new, old), among]


# -- evidence ------------------------------------------------------------------------------------


def evidence_rows(
    conversations: Iterable[Conversation], limit: int | None, model: Any, costs: Costs
) -> list[list[str]]:
    """Return a row for each way to count."""
    shares: dict[str, list[list[float]]] = {ALONE: [], BESIDE: [], VERBATIM: []}
    derived: list[int] = []  # of each question
    for conversation in conversations:
        asked, now = conversation.questions[:limit], conversation.turns[-1].said_at
        with KronvexMemory("sqlite://", clock=lambda now=now: now) as memory:  # type: ignore[misc]
            turns = locomo.fill(memory, conversation).by_content
            said = memory.memories(user_id=conversation.id, limit=MOST)
            turn_of = {each.id: turns[each.content][0] for each in said}
            before = [ask(memory, conversation.id, question) for question in asked]
            costs.consolidate(memory, model, conversation.id)
            after = [ask(memory, conversation.id, question) for question in asked]
        for question, alone, beside in zip(asked, before, after, strict=True):
            found = question.evidence
            verbatim = [() if each.sources else (each.id,) for each in beside]
            shares[ALONE].append(evidence_found(found, [(each.id,) for each in alone], turn_of))
            shares[BESIDE].append(
                evidence_found(found, [each.sources or (each.id,) for each in beside], turn_of)
            )
            shares[VERBATIM].append(evidence_found(found, verbatim, turn_of))
            derived.append(verbatim.count(()))
    number = {BESIDE: f"{statistics.fmean(derived):.1f}"}
    columns = {name: zip(*scores, strict=True) for name, scores in shares.items()}
    return [
        [name, *(f"{100 * statistics.fmean(each):.1f}" for each in at), number.get(name, "")]
        for name, at in columns.items()
    ]


def ask(memory: KronvexMemory, user: str, question: Question) -> Sequence[Memory]:
    """Return what a question brings."""
    return memory.recall(question.text, user_id=user, top_k=max(CUTS), order_by="similarity")


def evidence_found(
    evidence: frozenset[str], found: Sequence[Sequence[str]], turn_of: dict[str, str]
) -> list[float]:
    """Return the share of the evidence within each cut of lists of ids."""
    brought = [{turn_of[id_] for ids in found[:cut] for id_ in ids} for cut in CUTS]
    return [len(evidence & turns) / len(evidence) for turns in brought]


# -- all -----------------------------------------------------------------------------------------


def measured(path: Path, given: argparse.Namespace, model: Any, costs: Costs) -> str:
    """Measure one data file and return its table."""
    data = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(data, dict):
        header = ["updates", "order", "newest first", "above the older", "found"]
        return table(header, update_rows(truth.Cases(data), model, costs))
    conversations = read(path)
    if given.conversations is not None:
        conversations = [conversations[n] for n in given.conversations]
    header = ["evidence", *(f"R@{cut}" for cut in CUTS), f"derived among {max(CUTS)}, number"]
    return table(header, evidence_rows(conversations, given.limit, model, costs))


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description="What consolidation adds, errs and costs.")
    parser.add_argument("given", nargs="+", metavar="[MODEL] DATA", help="a model's name; files")
    parser.add_argument("--limit", type=int, help="questions of each conversation")
    parser.add_argument(
        "--conversations", type=int, nargs="+", metavar="N", help="only these, counted from 0"
    )
    given = parser.parse_args()
    name = SCRIPTED if Path(given.given[0]).exists() else given.given.pop(0)
    model = ScriptedExtractor() if name == SCRIPTED else name

    print(machine())
    print(f"model: {name}")
    if name == SCRIPTED:
        print("a few rules, no language model: these figures prove the plumbing, not a model")
    costs = []
    for path in map(Path, given.given):
        of_file = Costs()
        print(f"\n{measured(path, given, model, of_file)}")
        costs.append(of_file.row(path.name))
    counts = [count.replace("_", " ") for count in COUNTS]
    per = ["tokens read per exchange", "written", "seconds", "junk"]
    print(f"\n{table(['numbers', *counts, *per], costs)}")


if __name__ == "__main__":
    main()
