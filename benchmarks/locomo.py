"""How much of the evidence recall finds on LoCoMo, and what that costs.

    python benchmarks/locomo.py locomo10.json [--embeddings static|none|openai:MODEL] [--top-k 20]

The data file is not part of this project: see `locomo_data.py`. Each conversation goes, turn by
turn and oldest first, into an empty store under one session, which plays the user; then, when all
have their vectors, each question is asked once, with `order_by="similarity"`. The clock of the
memory stands at the last turn. The last row asks again, in a new store, in the default order.

Columns: R@k, any@10, MRR and nDCG@10 as in `scores.py`, in percent, averaged over questions.
Tokens: what the lines of the ten best memories take in a prompt, counted as `max_tokens` is.
Latency: one `recall` with the embedding of the query, in milliseconds. Reliability error: of
`probability`, over every returned memory of every question, where being evidence is being right,
in ten bins of equal width (`scores.reliability_error`); 0 is perfect.

A text said twice by the same person is stored once, and stands for the first such turn.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import embedding_choice
from langchain_kronvex import KronvexMemory, RecalledMemory
from langchain_kronvex.core.context_lines import approximate_tokens, memory_line
from langchain_kronvex.core.types import OrderBy
from locomo_data import CATEGORIES, Conversation, Question, read
from scores import RANKING, ranking_scores, reliability_error
from timing import machine, percentile, table


@dataclass(frozen=True)
class Turns:
    """Which turn a recalled memory stands for."""

    by_id: dict[str, str]
    by_content: dict[str, list[str]]

    def of(self, memories: Sequence[RecalledMemory]) -> list[str | None]:
        """Return the turn of each memory; None where there is none left."""
        found: list[str | None] = []
        for memory in memories:
            own = self.by_id.get(memory.id)
            said = [own] if own else self.by_content[memory.content]
            found.append(next((turn for turn in said if turn not in found), None))
        return found


@dataclass(frozen=True)
class Answer:
    """What one question brought."""

    category: int
    scores: dict[str, float]
    judged: list[tuple[float, bool]]
    tokens: int
    took_ms: float


def fill(memory: KronvexMemory, conversation: Conversation) -> Turns:
    """Store every turn, wait for the vectors, and say which memory is which turn."""
    by_id: dict[str, str] = {}
    by_content: dict[str, list[str]] = {}
    for turn in conversation.turns:
        stored = memory.remember(turn.content, session_id=conversation.id, created_at=turn.said_at)
        by_id[stored.id] = turn.id
        by_content.setdefault(turn.content, []).append(turn.id)
    memory.flush()
    if memory.stats().unembedded:
        sys.exit(f"no vectors: {memory.stats().last_error}")
    # One memory for several turns: then the text alone tells which.
    return Turns(by_id if len(by_id) == len(conversation.turns) else {}, by_content)


def ask(
    memory: KronvexMemory, turns: Turns, user: str, question: Question, **options: Any
) -> Answer:
    """Ask one question and score what comes back."""
    began = time.perf_counter()
    found = memory.recall(question.text, session_id=user, **options)
    took_ms = 1000 * (time.perf_counter() - began)
    ranked = turns.of(found)
    return Answer(
        category=question.category,
        scores=ranking_scores(ranked, question.evidence),
        judged=[
            (memory.probability, turn in question.evidence)
            for memory, turn in zip(found, ranked, strict=True)
        ],
        tokens=sum(approximate_tokens(memory_line(memory) + "\n") for memory in found[:10]),
        took_ms=took_ms,
    )


def answers(
    conversations: list[Conversation], embeddings: str, limit: int | None, **options: Any
) -> Iterator[Answer]:
    """Ask everything, each conversation in a store of its own."""
    for conversation in conversations:
        with (
            tempfile.TemporaryDirectory() as folder,
            KronvexMemory(
                f"sqlite:///{folder}/memory.db",
                clock=lambda now=conversation.turns[-1].said_at: now,  # type: ignore[misc]
                **embedding_choice.arguments(embeddings),
            ) as memory,
        ):
            turns = fill(memory, conversation)
            for question in conversation.questions[:limit]:
                yield ask(memory, turns, conversation.id, question, **options)


def row(label: str, part: list[Answer], top_k: int) -> list[str]:
    """Return the cells of one row; a cut beyond `top_k` has no value."""
    took = [answer.took_ms for answer in part]
    return [
        label,
        str(len(part)),
        *(
            f"{100 * statistics.fmean(answer.scores[name] for answer in part):.1f}"
            if not name.startswith("R@") or int(name[2:]) <= top_k
            else ""
            for name in RANKING
        ),
        f"{statistics.fmean(answer.tokens for answer in part):.0f}",
        f"{statistics.median(took):.2f}",
        f"{percentile(took, 95):.2f}",
        f"{reliability_error(pair for answer in part for pair in answer.judged):.3f}",
    ]


def groups(asked: list[Answer]) -> dict[str, list[Answer]]:
    """Return the rows of the table: all, and each category."""
    named = {
        "all": asked,
        "all but adversarial": [answer for answer in asked if answer.category != 5],
    } | {
        label: [answer for answer in asked if answer.category == category]
        for category, label in CATEGORIES.items()
    }
    return {label: part for label, part in named.items() if part}


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Evidence recall on LoCoMo.")
    parser.add_argument("data", type=Path, help="the LoCoMo data file")
    embedding_choice.add_embeddings(parser)
    parser.add_argument("--top-k", type=int, default=20, help="memories to recall")
    parser.add_argument("--limit", type=int, help="questions of each conversation")
    parser.add_argument(
        "--conversations", type=int, nargs="+", metavar="N", help="only these, counted from 0"
    )
    return parser.parse_args()


def main() -> None:
    """Measure and print the table."""
    given = options()
    conversations = read(given.data)
    if given.conversations is not None:
        conversations = [conversations[n] for n in given.conversations]

    def asked(top_k: int, order_by: OrderBy) -> list[Answer]:
        limits = {"embeddings": given.embeddings, "limit": given.limit}
        return list(answers(conversations, top_k=top_k, order_by=order_by, **limits))

    rows = [
        row(label, part, given.top_k)
        for label, part in groups(asked(given.top_k, "similarity")).items()
    ]
    rows.append(row('all, order_by="confidence"', asked(10, "confidence"), 10))
    costs = ["tokens@10", "recall p50 ms", "p95 ms", "reliability error"]
    print(machine())
    print(f"{len(conversations)} conversations, embeddings: {given.embeddings}")
    print(table(["", "n", *RANKING, *costs], rows))


if __name__ == "__main__":
    main()
