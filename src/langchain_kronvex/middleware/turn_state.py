"""What an agent's state holds of a turn: whose it is, and what was said; ids and digests. Pure.

A message of the user is known by its id. Its text may change: a middleware redacts it, or the
user edits it. So every text under which an id was heard is kept, as a digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from langchain_core.messages import BaseMessage
from typing_extensions import TypedDict

from langchain_kronvex.core.messages import text_of
from langchain_kronvex.core.types import Scope
from langchain_kronvex.middleware.agent_messages import new_words, words_of_user

# Of so many messages of the user it is seen when they are edited.
MOST_HEARD = 100
_MOST_TEXTS = 4


class TurnRecord(TypedDict):
    """What an agent's state holds of a turn.

    Attributes:
        id: Of the user's message, and what it says.
        user_id: Whose turn it is.
        session_id: The conversation.
        save: Whether it is saved at all.
        open: It was begun and did not end yet.
        words: Ids of the messages that the user says with this turn.
        saved: Of these the ones that are saved, each with the digest of what was saved.
        exchange: Id of the exchange that the answer completes, if it is known.
        answer: Id of the last answer that was saved.
        heard: Digests of what each message of the user said when a turn began and ended.
    """

    id: str
    user_id: str | None
    session_id: str | None
    save: bool
    open: bool
    words: list[str]
    saved: dict[str, str]
    exchange: str | None
    answer: str | None
    heard: dict[str, list[str]]


class Beginning(NamedTuple):
    """How a turn begins.

    Attributes:
        record: Of the turn.
        fresh: The user says something new with it; else an earlier one goes on.
        edited: What is new has the id of something said before.
    """

    record: TurnRecord
    fresh: bool
    edited: bool


def beginning(
    messages: Sequence[BaseMessage], scope: Scope, earlier: TurnRecord | None, *, save: bool
) -> Beginning | None:
    """Return how the turn begins that these messages ask for; None when the user said nothing.

    New is what was said since the last answer and not heard before, or else what was edited. Words
    of a turn that never came to the model are not taken up by a later one: they may have been
    blocked.

    Args:
        messages: The agent's messages.
        scope: Whose turn it is.
        earlier: The record of the turn before this one, in the same thread.
        save: Whether it is to be saved at all.
    """
    theirs = earlier is not None and scope_of(earlier) != scope
    known = earlier["heard"] if earlier else {}
    before = earlier["words"] if earlier and not theirs else []
    unanswered = earlier["words"] if earlier and earlier["open"] else []
    words, lately = words_of_user(messages), {word.id for word in new_words(messages)}
    unheard = [word for word in words if word.id in lately and str(word.id) not in known]
    # What was changed while the user says something else, was not changed by the user.
    changed = [w for w in words if w.id not in unanswered and _changed(w, known)]
    edited = [] if unheard else changed
    fresh = unheard or edited
    said = fresh or [word for word in words if word.id in before] or words
    if not said:  # what was said is summarised away, or nothing was
        return Beginning(earlier, False, False) if earlier and unanswered and before else None
    former = earlier if earlier and not fresh and not theirs else None
    forgotten = {str(word.id) for word in edited}
    heard = {id_: texts for id_, texts in known.items() if id_ not in forgotten}
    record = TurnRecord(
        id=name_of(said[-1]),
        user_id=scope.user_id,
        session_id=scope.session_id,
        save=save,
        open=True,
        words=former["words"] if former else [str(word.id) for word in fresh],
        saved=former["saved"] if former else {},
        exchange=former["exchange"] if former else None,
        answer=earlier["answer"] if earlier else None,
        heard=heard_of(words, heard),
    )
    return Beginning(record, bool(fresh), bool(edited))


def scope_of(record: TurnRecord) -> Scope:
    """Return whose turn it is."""
    return Scope(record["user_id"], record["session_id"])


def words_in(messages: Sequence[BaseMessage], record: TurnRecord) -> list[BaseMessage]:
    """Return what the user says with a turn, as these messages have it."""
    return [word for word in words_of_user(messages) if word.id in record["words"]]


def heard_of(words: Sequence[BaseMessage], heard: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the digests of what the user said, with those of what it says now."""
    return {
        str(word.id): _with(heard.get(str(word.id), []), digest(word))
        for word in words[-MOST_HEARD:]
    }


def digest(message: BaseMessage) -> str:
    """Return by what a text is told from another one."""
    return hashlib.sha256(text_of(message).encode()).hexdigest()[:16]


def name_of(question: BaseMessage) -> str:
    """Return the id of the turn that a message asks for."""
    return hashlib.sha256(f"{question.id}\n{text_of(question)}".encode()).hexdigest()


def _changed(word: BaseMessage, known: dict[str, list[str]]) -> bool:
    return str(word.id) in known and digest(word) not in known[str(word.id)]


def _with(texts: list[str], text: str) -> list[str]:
    return texts if text in texts else [*texts, text][-_MOST_TEXTS:]
