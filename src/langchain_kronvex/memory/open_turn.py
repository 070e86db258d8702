"""The turn under way: what it has saved already is not what it wants to recall."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from langchain_core.messages import BaseMessage

from langchain_kronvex.core.messages import exchange_contents

# The contents of the memories that the turn has saved so far. Texts and not ids, because saving may
# still be going on in the background.
OPEN_TURN: ContextVar[frozenset[str]] = ContextVar("kronvex_open_turn", default=frozenset())


@contextmanager
def open_turn(words: Iterable[BaseMessage]) -> Iterator[None]:
    """Leave the memories of these messages out of what is recalled in this context.

    Args:
        words: The messages of the user in this turn.
    """
    before = OPEN_TURN.get()
    OPEN_TURN.set(before | exchange_contents(words))
    try:
        yield
    finally:
        OPEN_TURN.set(before)  # a stream may be closed in another context, where `reset` fails
