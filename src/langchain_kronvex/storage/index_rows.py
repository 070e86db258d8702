"""From stored memories to the rows of the index: one rule for all stores."""

from __future__ import annotations

import math

from langchain_kronvex.core.messages import answer_in
from langchain_kronvex.recall.index import IndexRow
from langchain_kronvex.recall.ranking import Floats, Form
from langchain_kronvex.storage.record import Record

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
    vector: Floats | None = None,
) -> IndexRow:
    """Build the row of a memory; times in seconds since 1970.

    Args:
        seq: The number of the memory in the order of writing.
        text: The text that recall searches.
        memory_type: The type of the memory.
        exchange: A whole exchange, of which `text` is the user's part; None for other memories.
        session_id: The session, "" for none.
        said: When the text was first said.
        created: When the text was last said.
        expires: When the memory expires, None for never.
        pinned: Whether the memory never expires.
        vector: Of the text.
    """
    if exchange is not None:
        form = Form.EXCHANGE
    else:
        form = Form.TURN if memory_type == "episodic" else Form.STATEMENT
    return IndexRow(
        seq=seq,
        text=text,
        reply="" if exchange is None else answer_in(exchange, text)[:_MAX_REPLY_CHARS],
        memory_type=memory_type,
        form=form,
        session_id=session_id,
        said=said,
        created=created,
        expires=math.inf if pinned or expires is None else expires,
        vector=vector,
    )


def index_row_of(seq: int, record: Record) -> IndexRow:
    """Build the row of a record, without a vector."""
    created, expires = record.created_at.timestamp(), record.expires_at
    return index_row(
        seq,
        record.found_by,
        record.type,
        None if record.search_text is None else record.content,
        record.scope.session_id or "",
        record.said_at.timestamp() if record.said_at else created,
        math.floor(created),
        expires.timestamp() if expires else None,
        record.pinned,
    )
