"""The record of a turn in an agent's state: its scope, and ids and digests of messages. Pure.

A message of the user is identified by its id. Its text may change, because a middleware redacts it
or the user edits it. Therefore a digest of every text of a message is recorded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from langchain_core.messages import BaseMessage
from typing_extensions import TypedDict

from langchain_kronvex.core.messages import text_of
from langchain_kronvex.core.types import Scope
from langchain_kronvex.middleware.agent_messages import digest, new_words, words_of_user

MAX_HEARD = 100  # messages of the user; edits of older ones are not noticed
_MAX_TEXTS = 4  # of one message


class TurnRecord(TypedDict):
    """The record of a turn in an agent's state.

    Attributes:
        id: Made from the id and the text of the user's message.
        user_id: The user.
        session_id: The session.
        save: Whether the turn is saved.
        open: Whether the turn has begun and not ended.
        words: The ids of the user's messages in this turn.
        heard: The digests of each user message's texts, as of the start and end of turns.
    """

    id: str
    user_id: str | None
    session_id: str | None
    save: bool
    open: bool
    words: list[str]
    heard: dict[str, list[str]]


def beginning(
    messages: Sequence[BaseMessage], scope: Scope, earlier: TurnRecord | None, *, save: bool
) -> tuple[TurnRecord, bool] | None:
    """Return the record of the turn of these messages, and whether a message of it is new.

    None if the user said nothing. If no message is new or edited, an earlier turn continues.

    New messages are those since the last answer that are not in the record, or else edited ones.
    Messages of a turn that never reached the model are not used by a later turn, because they may
    have been blocked.

    Args:
        messages: The agent's messages.
        scope: The user and the session.
        earlier: The record of the previous turn of the thread.
        save: Whether the turn should be saved.
    """
    theirs = earlier is not None and scope_of(earlier) != scope
    known = earlier["heard"] if earlier else {}
    before = earlier["words"] if earlier and not theirs else []
    unanswered = earlier["words"] if earlier and earlier["open"] else []
    words, lately = words_of_user(messages), {word.id for word in new_words(messages)}
    unheard = [word for word in words if word.id in lately and str(word.id) not in known]
    # A message that changed while the user sent a new one was not edited by the user.
    changed = [w for w in words if w.id not in unanswered and _changed(w, known)]
    edited = [] if unheard else changed
    fresh = unheard or edited
    said = fresh or [word for word in words if word.id in before] or words
    if not said:  # the user said nothing, or it was replaced by a summary
        return (earlier, False) if earlier and unanswered and before else None
    forgotten = {str(word.id) for word in edited}
    heard = {id_: texts for id_, texts in known.items() if id_ not in forgotten}
    record = TurnRecord(
        id=name_of(said[-1]),
        user_id=scope.user_id,
        session_id=scope.session_id,
        save=save,
        open=True,
        words=[str(word.id) for word in fresh] or before,
        heard=heard_of(words, heard),
    )
    return record, bool(fresh)


def scope_of(record: TurnRecord) -> Scope:
    """Return the scope of a turn."""
    return Scope(record["user_id"], record["session_id"])


def words_in(messages: Sequence[BaseMessage], record: TurnRecord) -> list[BaseMessage]:
    """Return the user's messages of a turn, from these messages."""
    return [word for word in words_of_user(messages) if word.id in record["words"]]


def heard_of(words: Sequence[BaseMessage], heard: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the digests of the user's messages, including those of their present texts."""
    return {
        str(word.id): _with(heard.get(str(word.id), []), digest(word))
        for word in words[-MAX_HEARD:]
    }


def name_of(question: BaseMessage) -> str:
    """Return the id of the turn that a message starts."""
    return hashlib.sha256(f"{question.id}\n{text_of(question)}".encode()).hexdigest()


def _changed(word: BaseMessage, known: dict[str, list[str]]) -> bool:
    return str(word.id) in known and digest(word) not in known[str(word.id)]


def _with(texts: list[str], text: str) -> list[str]:
    return texts if text in texts else [*texts, text][-_MAX_TEXTS:]
