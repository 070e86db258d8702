"""The LoCoMo data file (Maharana et al., ACL 2024) as conversations of turns and questions.

https://github.com/snap-research/locomo, licence CC BY-NC 4.0; no part of it is in this project.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

CATEGORIES = {4: "single-hop", 1: "multi-hop", 2: "temporal", 3: "open-domain", 5: "adversarial"}

_SESSION = re.compile(r"session_(\d+)")
_EVIDENCE = re.compile(r"D:?(\d+):(\d+)")  # also finds "D8:6; D9:17", "D:11:26" and "D30:05"


@dataclass(frozen=True)
class Turn:
    """One thing said: a memory."""

    id: str
    content: str
    said_at: datetime


@dataclass(frozen=True)
class Question:
    """A question and the ids of the turns that answer it."""

    text: str
    evidence: frozenset[str]
    category: int


@dataclass(frozen=True)
class Conversation:
    """One long conversation of two people, and what is asked about it."""

    id: str
    turns: list[Turn]
    questions: list[Question]


def read(path: Path) -> list[Conversation]:
    """Read the file; questions without evidence among the turns are left out."""
    return [_conversation(item) for item in json.loads(path.read_text(encoding="utf-8"))]


def _conversation(item: dict[str, Any]) -> Conversation:
    turns = _turns(item["conversation"])
    known = {turn.id for turn in turns}
    asked = [
        Question(qa["question"], evidence_ids(qa.get("evidence") or []) & known, qa["category"])
        for qa in item["qa"]
    ]
    return Conversation(item["sample_id"], turns, [q for q in asked if q.evidence])


def _turns(conversation: dict[str, Any]) -> list[Turn]:
    """Return the turns, oldest first; the file dates sessions, so a turn takes 30 seconds."""
    numbers = sorted(int(found[1]) for key in conversation if (found := _SESSION.fullmatch(key)))
    return [
        Turn(
            turn["dia_id"],
            f"{turn['speaker']} said: {turn['text'].strip()}",
            _session_start(conversation[f"session_{number}_date_time"])
            + timedelta(seconds=30 * place),
        )
        for number in numbers
        for place, turn in enumerate(conversation[f"session_{number}"])
    ]


def _session_start(written: str) -> datetime:
    """Read a date like "1:56 pm on 8 May, 2023"."""
    start = datetime.strptime(written.strip(), "%I:%M %p on %d %B, %Y")
    return start.replace(tzinfo=timezone.utc)


def evidence_ids(written: list[str]) -> frozenset[str]:
    """Return the turn ids of an evidence list, some of which are misspelt in the file.

    >>> sorted(evidence_ids(["D8:6; D9:17", "D:11:26", "D30:05", "D"]))
    ['D11:26', 'D30:5', 'D8:6', 'D9:17']
    """
    found = (pair for text in written for pair in _EVIDENCE.findall(text))
    return frozenset(f"D{int(session)}:{int(turn)}" for session, turn in found)
