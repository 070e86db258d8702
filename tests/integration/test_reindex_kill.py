"""A reindexing may be killed at any moment: nothing is lost, and nothing is done twice."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from langchain_core.embeddings import Embeddings

from defaults import set_default
from inside import Reindexing
from langchain_kronvex import EmbeddingMismatch, EmbeddingsError, KronvexMemory, MemoryDraft

from .crew import Child, Crew
from .parts import HashedWords, files_with
from .test_erasure import Fingerprints

OpenMemory = Callable[..., KronvexMemory]
COUNT, BATCH = 300, 64


class Halting(HashedWords):
    """In the store, the children's embeddings are of this name."""


def fill(memory: KronvexMemory, count: int = COUNT) -> None:
    memory.remember_many([MemoryDraft(f"number{n} zoo", user_id="ana") for n in range(count)])


def ask(child: Child, query: str = "number7") -> list[str]:
    child.say({"do": "recall", "query": query, "user_id": "ana"})
    return child.hear()


def test_a_killed_reindexing_continues_and_the_old_vectors_stay_until_the_end(
    crew: Crew, store_url: str, open_memory: OpenMemory
) -> None:
    memory = open_memory()
    fill(memory)
    other = crew.start("remote", url=store_url)
    other.hear()
    child = crew.start("reindex_step_by_step", url=store_url)
    assert child.hear() == 1  # a trivial text, to see that it works at all
    given = 0
    for _ in range(3):
        child.say("go on")
        given += child.hear()
        # The old vectors serve, here, in another process, and in one that opens the store now.
        assert memory.recall("animal park", user_id="ana", top_k=1)
        assert "number7 zoo" in ask(other)
        with open_memory() as newly:
            assert newly.recall("animal park", user_id="ana", top_k=1)
    assert given == 3 * BATCH
    child.kill()  # in the middle of the third batch
    assert memory.recall("animal park", user_id="ana", top_k=1)
    memory.remember("written in between", user_id="ana")

    child = crew.start("reindex_step_by_step", url=store_url)
    assert child.hear() == 1
    again = 0
    while True:
        child.say("go on")
        said = child.hear()
        if isinstance(said, dict):
            break
        again += said
    assert said == {"indexed": COUNT + 1}
    assert again == COUNT + 1 - 2 * BATCH
    child.finish()

    with pytest.raises(EmbeddingMismatch, match="hashed-words"):
        memory.recall("animal park", user_id="ana")
    with pytest.raises(EmbeddingMismatch, match="hashed-words"):
        open_memory()
    fresh = open_memory(embeddings=Halting())
    assert fresh.stats().unembedded == 0
    assert "number7 zoo" in [m.content for m in fresh.recall("number7", user_id="ana", top_k=50)]


@pytest.mark.parametrize("rounds", [12, pytest.param(300, marks=pytest.mark.soak)])
def test_after_a_kill_at_any_moment_all_vectors_are_of_one_model(
    crew: Crew, tmp_path: Path, open_memory: OpenMemory, rounds: int
) -> None:
    luck = random.Random(7)
    outcomes = set()
    for number in range(rounds):
        folder = tmp_path / str(number)
        url = f"sqlite:///{folder / 'memory.db'}"
        with open_memory(url) as memory:
            fill(memory)
        child = crew.start("reindex_on_command", url=url)
        assert child.hear() == "ready"
        child.say("now")
        time.sleep(luck.uniform(0, 0.08))  # the moment of death is what is random here
        said = child.kill()
        embeddings: Embeddings | None = None
        try:
            open_memory(url).close()
        except EmbeddingMismatch:
            embeddings = HashedWords()
        assert said != ["done"] or embeddings is not None
        outcomes.add(embeddings is None)
        with open_memory(url, embeddings=embeddings) as memory:
            assert memory.stats().unembedded == 0
            assert len(memory.recall("number7 zoo", user_id="ana", top_k=1000)) == COUNT
            assert memory.reindex(HashedWords()) == COUNT
            assert memory.recall("number7 zoo", user_id="ana", top_k=1)
        widths = sqlite3.connect(folder / "memory.db").execute(
            "SELECT length(vector), count(*) FROM records GROUP BY 1"
        )
        assert widths.fetchall() == [(32, COUNT)]


def test_forgotten_memories_are_gone_from_an_unfinished_reindexing(
    open_memory: OpenMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_default(monkeypatch, Reindexing, "first_pause_seconds", 0.001)

    class Tiring(Fingerprints):
        left = 150

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            self.left -= len(texts)
            if self.left < 0:
                raise RuntimeError
            return super().embed_documents(texts)

    memory = open_memory()
    fill(memory, 100)
    memory.remember_many([MemoryDraft(f"of ben {n}", user_id="ben") for n in range(100)])
    with pytest.raises(EmbeddingsError):
        memory.reindex(Tiring())
    needle = Fingerprints().stored("number7 zoo")
    assert files_with(tmp_path, needle)
    [one] = [m for m in memory.memories(user_id="ana", limit=100) if m.content == "number7 zoo"]
    memory.forget(id=one.id)
    assert files_with(tmp_path, needle) == []
    memory.forget(user_id="ana")
    every = [Fingerprints().stored(f"number{n} zoo") for n in range(100)]
    assert files_with(tmp_path, *every) == []
    tireless = Tiring()
    tireless.left = 1000
    assert memory.reindex(tireless) == 100
    assert memory.stats().unembedded == 0
