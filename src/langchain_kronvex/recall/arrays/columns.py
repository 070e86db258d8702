"""The columns of an index; `ScopeIndex` says what they hold."""

from __future__ import annotations

import numpy as np

from langchain_kronvex.recall.arrays.table import Column, Layout
from langchain_kronvex.recall.ranking import AFTER, BEFORE, PRIORS

NEIGHBOURS = len(BEFORE) + len(AFTER)  # of a turn: later ones first
LAST_TURNS = len(BEFORE)  # of a conversation, which the next ones may need
NO_TURN = -2  # in place of one of them

_PRIORS = Column(np.float32, (len(PRIORS),))
MEMORIES = Layout(
    seq=Column(np.int64),
    expires=Column(np.float64),
    created=Column(np.float64),
    true_from=Column(np.float64),
    true_until=Column(np.float64),
    metadata=Column(np.int32),
    year=Column(np.int16),
    month=Column(np.int8),
    day=Column(np.int8),
    type=Column(np.int32),
    form=Column(np.int8),
    session=Column(np.int32),
    conversation=Column(np.int32, fill=-1),
    first_word=Column(np.int32),
    neighbours=Column(np.int32, (NEIGHBOURS,), fill=-1),
    own_length=Column(np.float32),
    length=Column(np.float32),
    priors=_PRIORS,
    vector_scale=Column(np.float32, fill=1),
    reply_length=Column(np.float32),
    language=Column(np.int8),
    asks=Column(np.bool_),
    unanswered=Column(np.bool_),
    instructs=Column(np.bool_),
)
FIRST_WORDS = Layout(count=Column(np.float32), sum=_PRIORS)
TAILS = Layout(
    conversation=Column(np.int32, fill=-1),
    turns=Column(np.int32, (LAST_TURNS,), fill=NO_TURN),
    asks=Column(np.bool_),
    said=Column(np.float64),
)
