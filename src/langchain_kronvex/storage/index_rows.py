"""What the index needs to know of a stored memory, whatever store it comes from."""

from __future__ import annotations

import math

from langchain_kronvex.core.messages import answer_in
from langchain_kronvex.recall.index import IndexRow
from langchain_kronvex.recall.ranking import Floats, Form

_MAX_REPLY_CHARS = 20_000  # of a reply, by which an exchange is found


def index_row(
    seq: int,
    text: str,
    memory_type: str,
    exchange: str | None,
    session_id: str,
    said: float,
    created: int,
    expires: float | None,
    pinned: bool,
    vector: Floats | None,
) -> IndexRow:
    """Build what the index needs; times in seconds since 1970.

    Args:
        seq: Its number in the order of writing.
        text: What it is found by.
        memory_type: Its type.
        exchange: All of an exchange, of which `text` is the user's part; None for anything else.
        session_id: Its session, "" for none.
        said: When it was first said.
        created: When it was last said.
        expires: When it expires, None for never.
        pinned: It does not expire.
        vector: Of the text.
    """
    return IndexRow(
        seq=seq,
        text=text,
        reply="" if exchange is None else answer_in(exchange, text)[:_MAX_REPLY_CHARS],
        memory_type=memory_type,
        form=_form_of(memory_type, exchange=exchange is not None),
        session_id=session_id,
        said=said,
        created=created,
        expires=math.inf if pinned or expires is None else expires,
        vector=vector,
    )


def _form_of(memory_type: str, *, exchange: bool) -> Form:
    """Tell by which formula a memory is found."""
    if exchange:
        return Form.EXCHANGE
    return Form.TURN if memory_type == "episodic" else Form.STATEMENT
