"""A text that a provider rejects does not prevent the vectors of others."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings

from defaults import limit_pauses
from langchain_kronvex import BackgroundWriter, EmbeddingsError, KronvexMemory, MemoryDraft

from .parts import HashedWords

OpenMemory = Callable[..., KronvexMemory]
SECRET = "zebrastripes"


@pytest.fixture(autouse=True)
def _no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    limit_pauses(monkeypatch, 0.002)


class Picky(HashedWords):
    """Embeddings that spoil the vectors of some texts."""

    def __init__(self, spoil: Callable[[list[float]], list[float]]) -> None:
        super().__init__(model="picky")
        self.spoil = spoil
        self.given: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.given += texts
        vectors = super().embed_documents(texts)
        return [
            self.spoil(v) if SECRET in text else v for text, v in zip(texts, vectors, strict=True)
        ]


def refuse(vector: list[float]) -> list[float]:
    raise RuntimeError(f"cannot embed {SECRET}")


SPOILS: dict[str, Callable[[list[float]], list[float]]] = {
    "raises": refuse,
    "NaN": lambda vector: [math.nan, *vector[1:]],
    "infinite": lambda vector: [math.inf, *vector[1:]],
    "longer": lambda vector: [*vector, 1.0],
    "empty": lambda vector: [],
    "none": lambda vector: None,  # type: ignore[return-value, dict-item]
}


def drafts(count: int, spoilt: set[int]) -> list[MemoryDraft]:
    return [
        MemoryDraft(f"number{n} {SECRET if n in spoilt else 'fine'}", user_id="ana")
        for n in range(count)
    ]


@pytest.mark.parametrize("spoil", SPOILS)
@pytest.mark.parametrize("spoilt", [{0}, {150}, {63, 64, 65}, {199}])
def test_the_others_get_their_vectors(
    open_memory: OpenMemory, spoil: str, spoilt: set[int]
) -> None:
    embeddings, errors = Picky(SPOILS[spoil]), list[Exception]()
    memory = open_memory(embeddings=embeddings, on_error=errors.append)
    memory.remember_many(drafts(200, spoilt))
    assert memory.flush(30)
    stats = memory.stats()
    assert (stats.unembedded, stats.failed) == (len(spoilt), len(spoilt))
    assert "picky rejects" in str(stats.last_error)
    assert all(isinstance(e, EmbeddingsError) and SECRET not in str(e) for e in errors)
    for number in spoilt:
        found = memory.recall(f"number{number}", user_id="ana", top_k=20)
        assert f"number{number} {SECRET}" in [each.content for each in found]
    [*_, last] = str(stats.last_error).split()
    assert memory.get(last).content in {f"number{n} {SECRET}" for n in spoilt}


def test_a_rejected_text_is_not_tried_again_before_the_next_opening(
    open_memory: OpenMemory,
) -> None:
    embeddings, errors = Picky(refuse), list[Exception]()
    memory = open_memory(embeddings=embeddings, on_error=errors.append)
    memory.remember(f"number0 {SECRET}", user_id="ana")
    assert memory.flush(30)
    embeddings.given.clear()
    for number in range(5):
        memory.remember(f"later{number}", user_id="ana")
        assert memory.flush(30)
    assert [text for text in embeddings.given if SECRET in text] == []
    assert len(errors) == 1
    memory.close()
    embeddings.spoil = lambda vector: vector
    again = open_memory(embeddings=embeddings)
    assert again.flush(30)
    assert again.stats().unembedded == 0


def test_only_rejected_texts(open_memory: OpenMemory) -> None:
    embeddings = Picky(refuse)
    memory = open_memory(embeddings=embeddings)
    memory.remember_many(drafts(70, set(range(70))))
    assert memory.flush(30)
    assert memory.stats().failed == 70
    memory.remember("one that is fine", user_id="ana")
    assert memory.flush(30)
    assert memory.stats().unembedded == 70


def test_a_rejected_text_costs_few_requests(open_memory: OpenMemory) -> None:
    class Counting(Picky):
        requests = 0

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            self.requests += 1
            return super().embed_documents(texts)

    embeddings = Counting(refuse)
    memory = open_memory(embeddings=embeddings)
    memory.remember_many(drafts(64, {40}))
    assert memory.flush(30)
    # 7 failures on the way down, a trivial text after each, 6 halves that work, one more try.
    assert embeddings.requests <= 21


def test_an_outage_does_not_make_texts_look_rejected(open_memory: OpenMemory) -> None:
    embeddings, errors = HashedWords(), list[Exception]()
    down = threading.Event()
    down.set()

    def embed(texts: list[str]) -> list[list[float]]:
        if down.is_set():
            raise ConnectionError
        return HashedWords.embed_documents(embeddings, texts)

    embeddings.embed_documents = embed  # type: ignore[method-assign]
    memory = open_memory(embeddings=embeddings, on_error=errors.append)
    memory.remember_many(drafts(100, set()))
    assert memory.flush(30)
    assert [type(error) for error in errors] == [EmbeddingsError]
    assert "ConnectionError" in str(errors[0])
    down.clear()
    memory.remember("up again", user_id="ana")
    assert memory.flush(30)
    assert memory.stats().unembedded == 0


def test_a_provider_that_sometimes_rejects_all_but_the_trivial_text(
    open_memory: OpenMemory,
) -> None:
    """Long batches time out, short ones work: all get their vectors in the end."""

    class Weak(HashedWords):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            if len(texts) > 5:
                raise TimeoutError
            return super().embed_documents(texts)

    memory = open_memory(embeddings=Weak())
    memory.remember_many(drafts(200, set()))
    assert memory.flush(30)
    stats = memory.stats()
    assert (stats.unembedded, stats.failed) == (0, 0)


# -- a provider that is slow -------------------------------------------------------------------


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


class Hanging(Embeddings):
    """Hangs on documents until the gate opens; queries work."""

    model = "hanging"

    def __init__(self, gate: threading.Event) -> None:
        self.gate, self.hangs = gate, threading.Event()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.hangs.set()
        assert self.gate.wait(60)
        return [[1.0, 0.0] for _ in texts]

    def embed_query(self, text: str) -> list[float]:
        return [1.0, 0.0]


def test_a_slow_provider_delays_nothing_else(
    open_memory: OpenMemory, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BackgroundWriter.close, "__defaults__", (0.2,))
    embeddings = Hanging(gate)
    memory = open_memory(embeddings=embeddings)
    memory.remember("tea", user_id="ana")
    assert embeddings.hangs.wait(30)
    started = time.monotonic()
    memory.remember_many(drafts(500, set()))
    assert memory.recall("number7", user_id="ana", top_k=1)[0].content == "number7 fine"
    assert memory.inject_context("tea", user_id="ana").degraded is False
    assert memory.update(memory.remember("milk", user_id="ben").id, pinned=True).pinned
    assert memory.forget(user_id="ana") == 501
    memory.close()
    assert time.monotonic() - started < 10
    stored = open_memory(embeddings=False).memories(user_id="ben")
    assert [each.content for each in stored] == ["milk"]


def test_a_slow_reindexing_delays_nothing_else(
    open_memory: OpenMemory, gate: threading.Event
) -> None:
    embeddings = Hanging(gate)
    memory = open_memory()
    memory.remember("tea", user_id="ana")
    done: list[Any] = []
    running = threading.Thread(target=lambda: done.append(memory.reindex(embeddings)))
    running.start()
    assert embeddings.hangs.wait(30)
    memory.remember_many(drafts(100, set()))
    assert memory.recall("number7", user_id="ana", top_k=1)
    assert memory.forget(user_id="ana") == 101
    memory.remember("milk", user_id="ben")
    gate.set()
    running.join(30)
    assert done == [1]
    assert memory.flush(30)
    assert memory.stats().unembedded == 0
