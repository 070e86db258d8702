"""How much recall finds of what an assistant used for its replies in RealMem's long chats.

    python benchmarks/realmem.py dataset/*_dialogues_256k.json [--embeddings static|none|…]

RealMem (https://github.com/AvatarMemory/RealMemBench, licence MIT) has chats of ten users with an
assistant, in some 200 sessions each. It names the facts that each session brought, the turn they
stand in, and those that the assistant used for some replies. No part of it is in this project.

Sessions are told in order, each under its own `session_id`: once the facts as statements, once
what was said as exchanges. A message that such a reply answers is a question to what was told in
the sessions before, in order of similarity. *R@k*: the share of the facts, or of the exchanges
they stand in, that are among the first k; in percent, averaged over questions.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any

import embedding_choice
from langchain_kronvex import KronvexMemory
from scores import CUTS, ranking_scores
from timing import machine, table

USER = "user"
Session = dict[str, Any]


def told_as_statements(memory: KronvexMemory, session: Session) -> dict[str, str]:
    """Store the facts of a session; returns what is stored for each."""
    whose = {"user_id": USER, "session_id": session["session_uuid"]}
    facts = [str(fact["content"]) for fact in session["extracted_memory"]]
    return {fact: memory.remember(fact, memory_type="semantic", **whose).content for fact in facts}


def told_as_exchanges(memory: KronvexMemory, session: Session) -> dict[str, str]:
    """Store what was said in a session; returns the exchange that each fact is in."""
    whose = {"user_id": USER, "session_id": session["session_uuid"]}
    of_text: dict[str, str] = {}
    for asked, replied in pairwise(session["dialogue_turns"]):
        texts = [each["content"].strip() for each in (asked, replied)]
        if asked["speaker"] == "User" != replied["speaker"] and all(texts):
            of_text |= dict.fromkeys(texts, memory.save_exchange(*texts, **whose)[0].content)
    facts = session["extracted_memory"]
    source = {str(fact["content"]): fact["source_content_snapshot"].strip() for fact in facts}
    return {fact: of_text[text] for fact, text in source.items() if text in of_text}


FORMS = {"facts as statements": told_as_statements, "exchanges": told_as_exchanges}


def questions(session: Session) -> Iterator[tuple[str, list[str]]]:
    """Yield the questions of a session, with the facts that the reply to each used."""
    for asked, replied in pairwise(session["dialogue_turns"]):
        if asked.get("is_query"):
            yield asked["content"], [str(fact["content"]) for fact in replied["memory_used"]]


def scores(path: Path, form: str, embeddings: str) -> Iterator[dict[str, float]]:
    """Tell one user's sessions to an empty memory, and yield the scores of each question."""
    now, stored = datetime.min.replace(tzinfo=timezone.utc), dict[str, str]()
    options = embedding_choice.arguments(embeddings)
    with KronvexMemory("sqlite://", clock=lambda: now, **options) as memory:
        for session in json.loads(path.read_text(encoding="utf-8"))["dialogues"]:
            day = datetime.fromisoformat(session["current_time"][:10] + "T08:00:00+00:00")
            now = max(day, now + timedelta(hours=2))  # several sessions may have one day
            memory.flush()
            for question, used in questions(session):
                if evidence := {stored[fact] for fact in used if fact in stored}:
                    found = memory.recall(question, user_id=USER, top_k=20, order_by="similarity")
                    yield ranking_scores([each.content for each in found], evidence)
            stored |= FORMS[form](memory, session)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description="Evidence recall on RealMem.")
    parser.add_argument("data", type=Path, nargs="+", help="the files of the users")
    embedding_choice.add_embeddings(parser)
    given = parser.parse_args()
    names, rows = [f"R@{cut}" for cut in CUTS], []
    for form in FORMS:
        asked = [each for path in given.data for each in scores(path, form, given.embeddings)]
        means = (100 * statistics.fmean(each[name] for each in asked) for name in names)
        rows.append([form, len(asked), *(f"{mean:.1f}" for mean in means)])
    print(machine())
    print(f"{len(given.data)} users, embeddings: {given.embeddings}")
    print(table(["told as", "n", *names], rows))


if __name__ == "__main__":
    main()
