"""The command `eval`: how well a store recalls, measured on questions of one's own."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from langchain_kronvex.cli.opening import Add, Parents, add_command, opened
from langchain_kronvex.cli.terminal import note, say, say_json, say_table
from langchain_kronvex.core import errors
from langchain_kronvex.core.context_lines import approximate_tokens
from langchain_kronvex.core.validation import check_content, check_id, check_query
from langchain_kronvex.memory.memory import KronvexMemory

_AT = (1, 5, 10)
_PAGE = 1000
_FORMAT = '{"question": "…", "user_id": "…", "memory_id": "…"} or "text" for "memory_id"'


@dataclass(frozen=True, slots=True)
class Question:
    """A line of the file: a question of a user, and the memory that answers it."""

    line: int
    question: str
    user_id: str
    memory_id: str | None
    text: str | None


def add_eval_command(add: Add, parents: Parents) -> None:
    """Add the command."""
    keys = "one object: questions, recall (at 1, 5 and 10), context_tokens, milliseconds, misses, "
    keys += "leaks"
    purpose = "measure what recall finds, and that no user finds another's memories"
    option = add_command(add, "eval", _eval, purpose, parents, keys)
    option("file", metavar="FILE.jsonl", help=f"lines of {_FORMAT}; - for stdin".replace("%", "%%"))
    least = "the exit code is 1 if fewer are among the first five, from 0 to 1"
    option("--min-recall", type=_share, default=0.0, help=least)


def _eval(asked: argparse.Namespace) -> int:
    is_stdin = asked.file == "-"
    text = sys.stdin.read() if is_stdin else Path(asked.file).read_text(encoding="utf-8")
    lines = text.splitlines()
    questions = [_question(n, line) for n, line in enumerate(lines, 1) if line.strip()]
    if not questions:
        raise errors.InvalidInput(f"{asked.file} holds no question; write lines of {_FORMAT}.")
    with opened(asked, vectors=True) as memory:
        result = _measured(memory, questions)
    if asked.json:
        say_json(result)
    else:
        _say_result(result)
    is_low = result["recall"]["5"] < asked.min_recall
    if is_low:
        note(f"recall@5 is below {asked.min_recall:g}.")
    return int(bool(result["leaks"]) or is_low)


def _share(given: str) -> float:
    try:
        share = float(given)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{given!r} is not from 0 to 1")
    return share


def _question(number: int, line: str) -> Question:
    """Read a line of the file.

    Raises:
        InvalidInput: it is not a question with its answer.
    """
    try:
        given = json.loads(line)
        id_, text = given.get("memory_id"), given.get("text")
        if (id_ is None) == (text is None):
            raise errors.InvalidInput("Name the memory by memory_id or by text.")
        user = check_id(given.get("user_id"), "user_id")
        check_content(text, "text") if id_ is None else check_id(id_, "memory_id")
        return Question(number, check_query(given.get("question")), user, id_, text)
    except (ValueError, TypeError, AttributeError) as error:
        why = f" {error}" if isinstance(error, errors.KronvexError) else ""
        raise errors.InvalidInput(f"Line {number} is not {_FORMAT}.{why}") from None


def _measured(memory: KronvexMemory, questions: Sequence[Question]) -> dict[str, Any]:
    users = sorted({each.user_id for each in questions})
    for user in users:  # the first recall of a user reads all their memories
        memory.recall("anything", user_id=user)
    places, milliseconds, tokens = list[int | None](), list[float](), list[int]()
    misses, leaks = list[dict[str, Any]](), list[dict[str, Any]]()
    for each in questions:
        gold = _gold(memory, each)
        began = time.perf_counter()
        found = _found(memory, each.question, each.user_id)
        milliseconds.append((time.perf_counter() - began) * 1000)
        place = next((n for n, id_ in enumerate(found, 1) if id_ in gold), None)
        places.append(place)
        context = memory.inject_context(each.question, user_id=each.user_id).context
        tokens.append(approximate_tokens(context))
        named = {"line": each.line, "question": each.question, "user_id": each.user_id}
        if place is None:
            misses.append({**named, **_why(memory, each, gold)})
        if len(users) > 1:
            other = users[(users.index(each.user_id) + 1) % len(users)]
            if gold & {*_found(memory, each.question, other)}:
                leaks.append({**named, "found_by": other})
    at = {str(k): sum(p is not None and p <= k for p in places) / len(places) for k in _AT}
    figures = {"context_tokens": _spread(tokens), "milliseconds": _spread(milliseconds)}
    return {"questions": len(places), "recall": at, **figures, "misses": misses, "leaks": leaks}


def _found(memory: KronvexMemory, question: str, user: str) -> list[str]:
    found = memory.recall(question, user_id=user, top_k=max(_AT), order_by="similarity")
    return [each.id for each in found]


def _gold(memory: KronvexMemory, each: Question) -> set[str]:
    """Return the ids of the memories that answer a question."""
    if each.memory_id is not None:
        return {each.memory_id}
    gold, offset = set[str](), 0
    while page := memory.memories(user_id=each.user_id, limit=_PAGE, offset=offset):
        gold |= {m.id for m in page if (each.text or "").casefold() in m.content.casefold()}
        offset += _PAGE
    return gold


def _why(memory: KronvexMemory, each: Question, gold: set[str]) -> dict[str, Any]:
    """Return the place of the best memory that was missed, and what kept it out."""
    options: dict[str, Any] = {"user_id": each.user_id, "top_k": max(_AT)}
    try:
        explained = [memory.explain(each.question, id_, **options) for id_ in sorted(gold)]
    except errors.MemoryNotFound:
        explained = []
    except errors.NotSupported as error:
        return {"place": None, "kept_out": [errors.described(error)]}
    if not explained:
        return {"place": None, "kept_out": ["the user has no such memory"]}
    best = min(explained, key=lambda e: e.place or float("inf"))
    return {"place": best.place, "kept_out": best.kept_out}


def _spread(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    p95 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    return {"median": round(median(ordered), 2), "p95": round(p95, 2)}


def _say_result(result: dict[str, Any]) -> None:
    say(f"{'questions':16}{result['questions']:8,}")
    for k, share in result["recall"].items():
        say(f"{f'recall@{k}':16}{share:8.1%}")
    for name in ("context_tokens", "milliseconds"):
        spread = result[name]
        say(f"{name.replace('_', ' '):16}{spread['median']:8,}  (p95 {spread['p95']:,})")
    if misses := result["misses"]:
        say("")
        head = ("line", "user_id", "place", "kept_out", "question")
        told = [{**each, "kept_out": ", ".join(each["kept_out"])} for each in misses]
        say_table(("missed in line", *head[1:]), [[each[name] for name in head] for each in told])
    for leak in result["leaks"]:
        note(f"line {leak['line']}: the user {leak['found_by']!r} finds the memory as well")
