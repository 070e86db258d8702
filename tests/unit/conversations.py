"""Memories as the index is told of them, drawn at random, and questions to ask of them."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from inside import Floats, Form, Hits, IndexRow, Limits, RecallRequest, Scope, ScopeIndex, search

NOW = 1_750_000_000.0
AT = datetime.fromtimestamp(NOW, timezone.utc)
# Ways to search: by scoring every memory, or the likely ones alone however small the store is.
WAYS = {"exact": None, "likely": Limits(exact_up_to=3, by_words=8, by_vectors=4, latest=4)}
WORDS = (
    "ana tom tea cello garage lisbon when where? i my yesterday 2023 march the of running runs"
).split()
QUERIES = [
    "when did ana play the cello in lisbon?", "tom", "tea tea garage", "march 2023", "the of",
    "where", "unknown", "does tom run for coffee?",
]  # fmt: skip


def row(seq: int, text: str, **fields: Any) -> IndexRow:
    return IndexRow(
        **{
            "seq": seq,
            "text": text,
            "said": fields.get("created", NOW),
            "memory_type": "episodic",
            "form": Form.TURN,
            "session_id": "s",
            "created": NOW,
            "expires": math.inf,
            "vector": None,
            **fields,
        }
    )


def exchange(seq: int, text: str, reply: str, **fields: Any) -> IndexRow:
    return row(seq, text, reply=reply, form=Form.EXCHANGE, **fields)


def statement(seq: int, text: str, **fields: Any) -> IndexRow:
    return row(seq, text, **{"form": Form.STATEMENT, "memory_type": "semantic", **fields})


def asked(
    query: str,
    *,
    limit: int = 99,
    session_id: str | None = None,
    memory_type: str | None = None,
    now: float = NOW,
    **fields: Any,
) -> RecallRequest:
    moment = datetime.fromtimestamp(now, timezone.utc)
    types = None if memory_type is None else (memory_type,)
    scope = Scope("ana", session_id)
    return RecallRequest(
        query=query, scope=scope, top_k=limit, now=moment, memory_types=types, **fields
    )


def built(*batches: list[IndexRow]) -> ScopeIndex:
    index = ScopeIndex()
    for batch in batches:
        index.apply(batch)
    return index


def similarities(
    index: ScopeIndex, query: str, *, way: str = "exact", **fields: Any
) -> dict[int, float]:
    """Return the similarity of each found memory."""
    found = search(index, asked(query, **fields), WAYS[way])
    return dict(zip(found.seqs, found.similarity, strict=True))


def unit(values: list[float]) -> Floats:
    vector = np.array(values, np.float32)
    return vector / max(float(np.linalg.norm(vector)), 1e-6)


VECTOR = st.lists(st.integers(-3, 3).map(float), min_size=16, max_size=16).map(unit)
SOME_VECTORS = st.none() | VECTOR
TEXT = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6)
KINDS = [Form.TURN, Form.TURN, Form.EXCHANGE, Form.STATEMENT]


@st.composite
def conversations(
    draw: st.DrawFn,
    most: int = 24,
    forms: list[Form] = KINDS,
    vectors: st.SearchStrategy[Floats | None] = SOME_VECTORS,
) -> list[IndexRow]:
    """Draw memories in the order of writing."""
    moment = NOW - 10**6
    rows: list[IndexRow] = []
    for seq in range(1, draw(st.integers(1, most)) + 1):
        moment += draw(st.sampled_from([0.0, 30.0, 3000.0, 4000.0, -100.0]))
        form = draw(st.sampled_from(forms))
        length = draw(st.sampled_from([1, 3, 6, 90]))
        rows.append(
            row(
                seq,
                " ".join((draw(TEXT) * 90)[:length]),
                form=form,
                memory_type="semantic" if form is Form.STATEMENT else "episodic",
                reply=" ".join(draw(st.just([]) | TEXT)) if form is Form.EXCHANGE else "",
                session_id=draw(st.sampled_from(["s1", "s2", ""])),
                created=moment,
                expires=draw(st.sampled_from([math.inf, math.inf, math.inf, NOW - 1, NOW + 1])),
                vector=draw(vectors),
            )
        )
    return rows


def answers(index: ScopeIndex, vector: Floats | None, way: str = "exact") -> list[Hits]:
    """Search by words and by vectors, in everything, a session or a type, for few or many."""
    return [
        search(index, asked(query, vector=v, limit=limit, **filters), WAYS[way])
        for query, filters in zip(QUERIES[:4], FILTERS, strict=True)
        for v in ((None,) if vector is None else (None, vector))
        for limit in (3, 99)
    ]


FILTERS: list[dict[str, str]] = [{}, {}, {"session_id": "s1"}, {"memory_type": "semantic"}]


def assert_alike(
    one: ScopeIndex, other: ScopeIndex, vector: Floats | None, way: str = "exact"
) -> None:
    """Check that two indexes find the same, in the same order, with the same scores."""
    for first, second in zip(answers(one, vector, way), answers(other, vector, way), strict=True):
        assert first.seqs == second.seqs
        assert first.similarity == pytest.approx(second.similarity, abs=1e-6)
        assert first.probability == pytest.approx(second.probability, abs=1e-6)
