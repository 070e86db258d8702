"""Reads the demo's two JSON Lines files; derives questions if there is no file with questions."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

QUESTIONS_PER_USER = 8
MIN_WORDS = 3  # shorter statements are not asked for
MIN_FOREIGN_CHARS = 10  # shorter texts may appear in any message by chance
MAY_BE_EMPTY = ("expects", "says")


class BadInput(Exception):
    """A file cannot be used; the message names the file, the line and the reason."""


@dataclass(frozen=True)
class Message:
    """One line of a transcript."""

    session_id: str
    user_id: str
    role: str
    content: str
    created_at: datetime


@dataclass
class Question:
    """A question, the fact that answers it, and texts that belong to others."""

    user_id: str
    question: str
    expects: str  # "" if this user never told the answer
    foreign: list[str]
    says: str = ""  # what the user tells first, in a session of its own


def read_transcript(path: Path) -> list[Message]:
    """Read `{session_id, user_id, role, content, created_at}` lines, earliest first.

    Raises:
        BadInput: The file is missing or empty, or a line is not valid.
    """
    messages = []
    for where, row in _rows(path, ("session_id", "user_id", "role", "content", "created_at")):
        if row["role"] not in ("user", "assistant"):
            raise BadInput(f'{where}: role must be "user" or "assistant", not {row["role"]!r}')
        messages.append(Message(**row | {"created_at": _aware_time(row["created_at"], where)}))
    return sorted(messages, key=lambda message: message.created_at)


def read_questions(path: Path) -> list[Question]:
    """Read `{user_id, question, expects, foreign}` lines, in which `says` may stand too.

    Raises:
        BadInput: The file is missing or empty, or a line is not valid.
    """
    keys = ("user_id", "question", "expects", "foreign", "says")
    questions = [Question(**row) for _, row in _rows(path, keys)]
    # A text that is foreign to one question of a user is foreign to all that do not say it.
    foreign: dict[str, set[str]] = {}
    for question in questions:
        foreign.setdefault(question.user_id, set()).update(question.foreign)
    for question in questions:
        texts = sorted(foreign[question.user_id])
        question.foreign = [text for text in texts if text not in question.question]
    return questions


def write_questions(questions: Iterable[Question], path: Path) -> None:
    """Write a file for `read_questions`."""
    lines = [json.dumps(vars(question)) + "\n" for question in questions]
    path.write_text("".join(lines), encoding="utf-8")


def exchanges(messages: Iterable[Message]) -> Iterator[list[Message]]:
    """Group messages into [user, assistant]; a message without its counterpart is alone."""
    waiting: dict[tuple[str, str], Message] = {}
    for message in messages:
        conversation = (message.user_id, message.session_id)
        before = waiting.pop(conversation, None)
        if message.role == "assistant":
            yield [before, message] if before else [message]
            continue
        if before:
            yield [before]
        waiting[conversation] = message
    yield from ([message] for message in waiting.values())


def derive_questions(messages: list[Message]) -> list[Question]:
    """Return questions about statements of every user, by three of their rarest words."""
    questions = []
    for user_id in dict.fromkeys(message.user_id for message in messages):
        heard = [one_line(message.content) for message in messages if message.user_id == user_id]
        own = _statements(message for message in messages if message.user_id == user_id)
        others = _statements(message for message in messages if message.user_id != user_id)
        foreign = [
            text
            for text in others
            if len(text) >= MIN_FOREIGN_CHARS and not any(text in line for line in heard)
        ]
        uses = Counter(word for text in own for word in _words(text))
        step = -(-len(own) // QUESTIONS_PER_USER) or 1
        for text in own[::step]:
            rarest = sorted(_words(text), key=lambda word: (uses[word], -len(word), word))[:3]
            question = f"What did I say about {', '.join(rarest)}?"
            questions.append(Question(user_id, question, text, foreign))
    return questions


def _rows(path: Path, keys: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield "file:line" and the checked values of the `keys`, for each line."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from error
    if not any(line.strip() for line in lines):
        raise BadInput(f"{path}:1: the file is empty")
    for number, line in enumerate(lines, start=1):
        if line.strip():
            where = f"{path}:{number}"
            yield where, _row(line, keys, where)


def _row(line: bytes, keys: tuple[str, ...], where: str) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{where}: not a line of JSON ({error})") from error
    if not isinstance(row, dict):
        raise BadInput(f"{where}: not a JSON object")
    row = {"says": ""} | row
    for key in keys:
        if key not in row:
            raise BadInput(f'{where}: "{key}" is missing')
        if key in MAY_BE_EMPTY and row[key] == "":
            continue
        values = row[key] if key == "foreign" else [row[key]]
        if not isinstance(values, list) or not all(_is_text(value) for value in values):
            kind = "a list of non-empty strings" if key == "foreign" else "a non-empty string"
            raise BadInput(f'{where}: "{key}" must be {kind}')
        if key.endswith("_id") and len(row[key]) > 255:
            raise BadInput(f'{where}: "{key}" is longer than 255 characters')
    return {key: row[key] for key in keys}


def _is_text(value: object) -> bool:
    """Return whether a value is text that can be stored: not blank, no NUL, no surrogates."""
    return (
        isinstance(value, str)
        and bool(value.strip())
        and not re.search(r"[\x00\ud800-\udfff]", value)
    )


def _aware_time(text: str, where: str) -> datetime:
    try:
        # Python 3.10 does not accept Z for UTC.
        moment = datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text))
    except ValueError as error:
        raise BadInput(f'{where}: "created_at" is not an ISO 8601 time: {text!r}') from error
    if moment.utcoffset() is None:
        raise BadInput(f'{where}: "created_at" has no time zone; write 2026-03-01T09:30:00+00:00')
    return moment


def _statements(messages: Iterable[Message]) -> list[str]:
    """Return the users' statements, each once; very short ones only if there are no others."""
    said = dict.fromkeys(
        _plain_part(message.content) for message in messages if message.role == "user"
    )
    long_enough = [text for text in said if len(_words(text)) >= MIN_WORDS]
    return long_enough or [text for text in said if _words(text)]


def _plain_part(text: str) -> str:
    """Return the longest part without questions, brackets and control characters.

    Questions state nothing; the others change in a prompt.
    """
    marked = "".join(c if c.isprintable() and c not in "<[]" else "\n" for c in one_line(text))
    return max(re.split(r"\n|[^.!?]*\?", marked), key=len).strip()


def one_line(text: str) -> str:
    """Return a text in one line, so that texts can be compared regardless of white space."""
    return " ".join(text.split())


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w{3,}", text.lower()))
