"""What a relevance is made of: the shares add up to what the search used, whatever is stored."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inside import Floats, IndexRow, search, weigh
from langchain_kronvex import Explanation
from unit.conversations import QUERIES, VECTOR, WAYS, asked, built, conversations, row

WORD_SHARES = ("words", "dates", "neighbour_words", "related", "reply")


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=40, deadline=None)
@given(
    rows=conversations(),
    vector=st.none() | VECTOR,
    query=st.sampled_from(QUERIES),
    is_encoded=st.booleans(),
)
def test_the_shares_are_the_relevance_that_recall_used(
    way: str, rows: list[IndexRow], vector: Floats | None, query: str, is_encoded: bool
) -> None:
    index, request = built(rows), asked(query, vector=vector, limit=3, is_encoded=is_encoded)
    hits = search(index, request, WAYS[way])

    for rank, (seq, similarity, probability) in enumerate(
        zip(hits.seqs, hits.similarity, hits.probability, strict=True), 1
    ):
        why = weigh(index, request, seq, WAYS[way])

        assert sum(why.shares.values()) == pytest.approx(why.relevance, abs=1e-5)
        assert sum(why.terms.values()) == pytest.approx(
            sum(why.shares[name] for name in WORD_SHARES), abs=1e-5
        )
        assert (why.similarity, why.probability) == ([similarity], [probability])
        assert (why.place, why.is_scored) == (rank, True)
        assert why.of == sum(each.expires > request.now.timestamp() for each in rows)


@settings(max_examples=25, deadline=None)
@given(rows=conversations(most=40), query=st.sampled_from(QUERIES))
def test_what_the_prefilter_leaves_out_is_weighed_all_the_same(
    rows: list[IndexRow], query: str
) -> None:
    index, request = built(rows), asked(query, limit=1)
    visible = [each.seq for each in rows if each.expires > request.now.timestamp()]
    found = search(index, request, WAYS["likely"]).seqs

    for seq in visible:
        why = weigh(index, request, seq, WAYS["likely"])

        assert sum(why.shares.values()) == pytest.approx(why.relevance, abs=1e-5)
        assert 1 <= why.place <= why.of == len(visible)
        assert why.is_scored or seq not in found


def test_the_table_is_aligned_and_leaves_out_what_adds_nothing() -> None:
    index = built([row(1, "tea in the garage"), row(2, "coffee")])
    why = weigh(index, asked("tea"), 1)
    shown = Explanation(
        id="m1", kept_out=("session", "threshold"), place=1, of=2, top_k=5, threshold=0.9,
        rank_by_similarity=None, rank_by_confidence=None, rank=None, shares=why.shares,
        terms=why.terms, relevance=why.relevance, similarity=why.similarity[0],
        probability=0.5, recency=1.0, frequency=0.0, confidence=0.25,
    )  # fmt: skip

    lines = str(shown).splitlines()

    assert lines[:4] == [
        "memory                          m1",
        "not recalled                    it belongs to another session",
        "not recalled                    the similarity is below 0.9",
        "by relevance                    place 1 of 2",
    ]
    assert not any(line.startswith(("meaning", "related", "date")) for line in lines)
    assert lines[-2].split() == [
        "confidence", "0.250", "0.6", "similarity", "+", "0.2", "recency", "+", "0.2", "frequency",
    ]  # fmt: skip
    assert lines[-1].split()[2:] == ["tea", f"{why.terms['tea']:.3f}"]
