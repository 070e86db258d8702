"""`rerank`: a cross-encoder or document compressor chooses from four times as many candidates."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document

from contract.conftest import OpenDriver
from contract.drivers import NOW, Driver

try:
    from langchain_core.cross_encoders import BaseCrossEncoder
except ImportError:  # an older langchain-core
    from langchain_classic.retrievers.document_compressors.cross_encoder import BaseCrossEncoder

NAMES = ["Ada", "Bea", "Cleo", "Dora", "Edda", "Fay", "Gina", "Hedda", "Ida", "Jo"]


class Prefers(BaseCrossEncoder):
    """Scores texts by the place of a word in a list; counts what it was asked."""

    def __init__(self, *words: str) -> None:
        self.words = words
        self.asked: list[list[tuple[str, str]]] = []

    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        self.asked.append(text_pairs)
        places = [[w in text for w in self.words] for _, text in text_pairs]
        return [-float(found.index(True) if True in found else len(found)) for found in places]


class Compressor(BaseDocumentCompressor):
    """Returns what a function makes of the documents."""

    makes: Any

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks = None
    ) -> Sequence[Document]:
        return self.makes(list(documents))


def filled(memory: Driver) -> Driver:
    for name in NAMES:
        memory.remember(f"A cat is called {name}.", user_id="ana", memory_type="semantic")
    return memory


def names(found: Any) -> list[str]:
    return [memory.content.split()[-1].rstrip(".") for memory in found]


def test_the_reranker_chooses_and_orders(open_driver: OpenDriver) -> None:
    # Eight are about a cat, with vectors and without: a server embeds a little later.
    encoder = Prefers("Fay", "Bea")
    memory = open_driver(rerank=encoder)
    for text in (*(f"A cat is called {name}." for name in NAMES[:8]), "It rained.", "It snowed."):
        memory.remember(text, user_id="ana", memory_type="semantic")

    for order_by in ("confidence", "similarity"):
        found = memory.recall("cat?", user_id="ana", top_k=2, order_by=order_by)
        assert names(found) == ["Fay", "Bea"]
    for each in (*found, *memory.inject_context("cat?", user_id="ana", top_k=2).memories):
        assert each.similarity > 0.5  # ours: the encoder's are 0 and -1
    assert [len(pairs) for pairs in encoder.asked] == [8, 8, 8]
    assert all("cat" in text for pairs in encoder.asked for _, text in pairs)
    assert {query for query, _ in encoder.asked[0]} == {"cat?"}


def test_a_context_leaves_out_what_the_reranker_puts_last(open_driver: OpenDriver) -> None:
    memory = filled(open_driver(rerank=Prefers("Ida", "Bea")))
    line = len("[semantic, 2026-04-28] A cat is called Ida.\n") // 4 + 1

    context = memory.inject_context("cat?", user_id="ana", top_k=3, max_tokens=2 * line)

    assert names(context.memories) == ["Ida", "Bea"]
    assert not context.degraded


def test_the_threshold_is_that_of_the_memory(open_driver: OpenDriver) -> None:
    encoder = Prefers("tea")
    memory = filled(open_driver(rerank=encoder))
    memory.remember("Ana likes tea.", user_id="ana")

    found = memory.recall("Which cat?", user_id="ana", top_k=3, threshold=0.3)

    assert len(found) == 3
    assert not [text for _, text in encoder.asked[0] if "tea" in text]


def test_an_update_still_comes_before_what_it_updates(open_driver: OpenDriver) -> None:
    memory = open_driver(rerank=Prefers("Lisbon", "Porto"))
    said: dict[str, Any] = {"user_id": "ana", "memory_type": "semantic"}
    memory.remember("I live in Lisbon.", created_at=NOW - timedelta(days=90), **said)
    memory.remember("I now live in Porto.", created_at=NOW - timedelta(days=2), **said)
    memory.remember("Where do I live? is asked by Sam.", created_at=NOW, **said)

    ordered = memory.recall("Where do I live?", user_id="ana", top_k=3)
    similar = memory.recall("Where do I live?", user_id="ana", top_k=3, order_by="similarity")

    assert max(ordered, key=lambda m: m.similarity).content.endswith("Sam.")  # to us, the best
    assert names(ordered) == ["Porto", "Lisbon", "Sam"]
    assert names(similar) == ["Lisbon", "Porto", "Sam"]


def without_ids(documents: list[Document]) -> list[Document]:
    """Copies, as many compressors make them, with shortened texts."""
    return [Document(d.page_content[:5], metadata=dict(d.metadata)) for d in documents]


def test_a_compressor_may_drop_documents_and_return_copies(open_driver: OpenDriver) -> None:
    seen: list[Document] = []

    def last_two(documents: list[Document]) -> list[Document]:
        seen.extend(documents)
        return without_ids([documents[-1], documents[-1], documents[-2]])

    memory = filled(open_driver(rerank=Compressor(makes=last_two)))
    found = memory.recall("cat?", user_id="ana", top_k=3)

    assert [m.id for m in found] == [seen[-1].id, seen[-2].id]
    assert [m.content for m in found] == [seen[-1].page_content, seen[-2].page_content]
    assert seen[0].metadata["memory_type"] == "semantic"


def invented(documents: list[Document]) -> list[Document]:
    return [*documents, Document("The cat is called Zoe.", id="zoe")]


def broken(documents: list[Document]) -> list[Document]:
    raise RuntimeError("A cat is called Zoe.")


class Unsure(BaseCrossEncoder):
    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        return [float("nan") for _ in text_pairs]


@pytest.mark.parametrize(
    "reranker",
    [Compressor(makes=invented), Compressor(makes=broken), Unsure()],
    ids=["invented", "broken", "unsure"],
)
def test_a_failing_reranker_leaves_our_own_order(
    reranker: Any, open_driver: OpenDriver, caplog: pytest.LogCaptureFixture
) -> None:
    errors: list[Exception] = []
    memory = open_driver(rerank=reranker, on_error=errors.append)
    for text in ("It rained.", "Every cat sleeps.", "My cat is called Ada."):
        memory.remember(text, user_id="ana", memory_type="semantic")

    found = memory.recall("What is my cat called?", user_id="ana", top_k=2)
    assert names(found) == ["Ada", "sleeps"]
    context = memory.inject_context("What is my cat called?", user_id="ana", top_k=2)
    assert names(context.memories) == ["Ada", "sleeps"]
    assert context.degraded
    assert memory.stats().degraded == len(errors) == 2
    assert "Zoe" not in caplog.text


def test_how_long_it_took_is_logged_without_texts(
    open_driver: OpenDriver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "langchain_kronvex")
    filled(open_driver(rerank=Prefers("Ida"))).recall("cat?", user_id="ana", top_k=2)

    [line] = [r.getMessage() for r in caplog.records if "reranked" in r.getMessage()]
    assert line.startswith("reranked 8 memories in ")
    assert " ms" in line


def test_no_memory_no_question_to_the_reranker(open_driver: OpenDriver) -> None:
    encoder = Prefers("Ida")
    assert open_driver(rerank=encoder).recall("cat?", user_id="ana") == []
    assert encoder.asked == []
