"""What is lost above the size up to which recall weighs every memory of a user.

    python benchmarks/preselection.py locomo10.json [10000 30000 100000]

All conversations of the file (see `locomo_data.py`) and as many synthetic memories as make up the
size (`workload.py`) belong to one user. Every question is asked twice: weighing every memory, and
only the likely ones, as `langchain_kronvex.recall.prefilter` chooses them. Columns: R@10 of either,
in percent; which share of the ten best found by weighing all are found; the p50 of both.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from statistics import fmean, median

from langchain_kronvex import KronvexMemory, MemoryDraft
from langchain_kronvex.recall import prefilter
from locomo_data import Conversation, Question, read
from scores import ranking_scores
from timing import machine, table
from workload import Workload

SIZES = [10_000, 30_000, 100_000]
EVERYTHING = sys.maxsize


def fill(memory: KronvexMemory, conversations: list[Conversation], size: int) -> dict[str, str]:
    """Store everything under one user; return which turn each memory is."""
    drafts = [
        MemoryDraft(turn.content, user_id="all", session_id=each.id, created_at=turn.said_at)
        for each in conversations
        for turn in each.turns
    ]
    names = [f"{each.id} {turn.id}" for each in conversations for turn in each.turns]
    others = [
        MemoryDraft(
            draft.content, user_id="all", session_id=draft.session_id, created_at=draft.created_at
        )
        for draft in Workload().drafts(max(size - len(drafts), 0))
    ]
    stored = memory.remember_many(drafts)
    memory.remember_many(others)
    return {found.id: name for found, name in zip(stored, names, strict=True)}


def answers(
    memory: KronvexMemory, questions: list[Question], up_to: int
) -> tuple[list[list[str]], float]:
    """Return the ids of the ten best for each question, and the p50 in milliseconds."""
    prefilter.LIMITS = prefilter.Limits(exact_up_to=up_to)
    found: list[list[str]] = []
    took: list[float] = []
    memory.recall(questions[0].text, user_id="all")
    for question in questions:
        began = time.perf_counter()
        best = memory.recall(question.text, user_id="all", top_k=10, order_by="similarity")
        took.append(1000 * (time.perf_counter() - began))
        found.append([each.id for each in best])
    return found, median(took)


def row(conversations: list[Conversation], size: int) -> list[str]:
    """Measure one size."""
    usual = prefilter.Limits().exact_up_to
    asked = [(each.id, question) for each in conversations for question in each.questions]
    questions = [question for _, question in asked]
    with KronvexMemory("sqlite://") as memory:
        turn_of = fill(memory, conversations, size)
        every, every_ms = answers(memory, questions, EVERYTHING)
        likely, likely_ms = answers(memory, questions, usual)
    recalls = [
        100 * fmean(
            ranking_scores(
                [turn_of.get(id_) for id_ in ids], {f"{of} {turn}" for turn in question.evidence}
            )["R@10"]
            for (of, question), ids in zip(asked, found, strict=True)
        )
        for found in (every, likely)
    ]  # fmt: skip
    same = fmean(len(set(a) & set(b)) / len(a) for a, b in zip(every, likely, strict=True))
    shown = [*recalls, 100 * same, every_ms, likely_ms]
    return [f"{size:,}", *(f"{value:.1f}" for value in shown)]


def main() -> None:
    """Print the table."""
    conversations = read(Path(sys.argv[1]))
    sizes = [int(size) for size in sys.argv[2:]] or SIZES
    header = ["memories", "R@10 of all", "R@10 of likely", "same ten", "all ms", "likely ms"]
    print(machine())
    print(table(header, [row(conversations, size) for size in sizes]))


if __name__ == "__main__":
    main()
