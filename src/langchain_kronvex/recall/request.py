"""What goes between a store and an index: a memory to index, and a question to the memories."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime

from langchain_kronvex.core.filters import Filter
from langchain_kronvex.core.records import Floats, Scope
from langchain_kronvex.recall.ranking import Form


@dataclass(frozen=True, slots=True)
class IndexRow:
    """A memory to be indexed. Times in seconds since 1970, UTC.

    The memory is found by `text`; `said` is when it was first said. Neither changes for one `seq`,
    so that its neighbours stay the same; later memories have greater ones. `created` is when the
    text was last said. `reply` is the answer of an exchange; it may be added later, and grow.
    `metadata` is JSON. `true_until` is infinite unless another memory has superseded this one.
    """

    seq: int
    text: str
    memory_type: str
    form: Form
    session_id: str
    said: float
    created: float
    expires: float
    vector: Floats | None
    reply: str = ""
    metadata: str = "{}"
    true_from: float = -math.inf
    true_until: float = math.inf


@dataclass(slots=True, kw_only=True)  # not frozen: then it takes twice as long to make one
class RecallRequest:
    """What to recall, with every value checked. It is never changed; see `dataclasses.replace`.

    Attributes:
        query: The text to look for.
        scope: Whose memories.
        top_k: At most this many.
        now: Memories that expired by then are invisible.
        memory_types: Only these types; None for all.
        filter: Tests the metadata; None for no condition.
        since, until: The first moment at which a memory may have been said last, and the first one
            after it.
        as_of: Only what was true at this moment, superseded or not.
        include_superseded: Also what another memory has superseded; true with `as_of`.
        threshold: The least similarity, from 0 to 1.
        include_shared: Also search the agent-level memories.
        vector: The unit vector of the query; None to search by words alone.
        model: The name of the embeddings the vector comes from.
        is_encoded: Whether they are an encoder that reads whole texts, not the bundled table.
        is_counted: Whether it counts as an access of what is found.
    """

    query: str
    scope: Scope
    top_k: int
    now: datetime
    memory_types: tuple[str, ...] | None = None
    filter: Filter | None = None
    since: datetime | None = None
    until: datetime | None = None
    as_of: datetime | None = None
    include_superseded: bool = False
    threshold: float = 0.0
    include_shared: bool = False
    vector: Floats | None = None
    model: str | None = None
    is_encoded: bool = False
    is_counted: bool = True

    def by_owner(self) -> list[RecallRequest]:
        """Return one request for each owner to search: the user, then the agent level if shared."""
        own = replace(self, include_shared=False)
        if not (self.include_shared and self.scope):
            return [own]
        return [own, replace(own, scope=Scope())]
