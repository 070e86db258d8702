"""Changing the embeddings of a store: resumable, without a gap, and seen by every process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, HumanMessage

from contract.drivers import Clock, Driver
from defaults import limit_pauses, set_default
from inside import Record, Reindexing, Scope, Unembedded
from langchain_kronvex import (
    ConfigurationError,
    EmbeddingMismatch,
    EmbeddingsError,
    InvalidInput,
    KronvexMemory,
    KronvexMemoryContext,
    MemoryDraft,
    with_memory,
)
from langchain_kronvex.embeddings import StaticEmbeddings

OpenDriver = Callable[..., Driver]
ANA: Any = {"configurable": {"user_id": "ana", "session_id": "chat"}}


@pytest.fixture(autouse=True)
def _no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    set_default(monkeypatch, Reindexing, "first_pause_seconds", 0.001)
    limit_pauses(monkeypatch, 0.002)


class Letters(Embeddings):
    """Embeds by counting letters; records its texts, and fails on demand."""

    def __init__(self, model: str = "letters", width: int = 26) -> None:
        self.model, self.width = model, width
        self.texts: list[str] = []
        self.before: Callable[[list[str]], None] = lambda texts: None

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.before(texts)
        self.texts += texts
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return [1.0 + text.lower().count(chr(97 + n)) for n in range(self.width)]

    def given(self) -> list[str]:
        """The texts of memories."""
        return [text for text in self.texts if text != "hello"]


def fill(memory: Driver, count: int = 200, user_id: str = "ana") -> None:
    memory.remember_many([MemoryDraft(f"number {n} zoo", user_id=user_id) for n in range(count)])


def test_all_memories_change_over(memory: Driver) -> None:
    fill(memory)
    memory.remember("of everybody")
    letters = Letters()
    assert memory.reindex(letters) == 201
    assert sorted(letters.given()) == sorted(
        [f"number {n} zoo" for n in range(200)] + ["of everybody"]
    )
    assert memory.flush(30)
    stats = memory.stats()
    assert (stats.unembedded, stats.failed, stats.memories) == (0, 0, 201)
    assert memory.memory.engine.model.current.embeddings is letters
    assert memory.recall("zoo", user_id="ana", top_k=3)
    memory.remember("written afterwards", user_id="ana")
    assert memory.flush(30)
    assert letters.given()[-1] == "written afterwards"
    assert memory.stats().unembedded == 0


def test_the_new_vectors_decide(open_driver: OpenDriver) -> None:
    class Contrary(Letters):
        """Finds the king similar to nothing but the fish."""

        def embed_query(self, text: str) -> list[float]:
            return [1.0, 0.0] if {"king", "fish"} & set(text.lower().split()) else [0.0, 1.0]

    memory = open_driver()
    memory.remember("The queen rules", user_id="ana", memory_type="semantic")
    memory.remember("A fish swims", user_id="ana", memory_type="semantic")
    assert memory.recall("king", user_id="ana", top_k=1)[0].content == "The queen rules"
    memory.reindex(Contrary())
    assert memory.recall("king", user_id="ana", top_k=1)[0].content == "A fish swims"
    assert memory.reindex(StaticEmbeddings()) == 2
    assert memory.recall("king", user_id="ana", top_k=1)[0].content == "The queen rules"


def test_a_memory_without_embeddings_can_be_indexed(open_driver: OpenDriver) -> None:
    memory = open_driver(embeddings=False)
    fill(memory)
    letters = Letters()
    assert memory.reindex(letters) == 200
    assert memory.memory.engine.model.current.embeddings is letters


@pytest.mark.parametrize("embeddings", [None, False])
def test_it_must_be_said_which_when_there_are_none(
    open_driver: OpenDriver, embeddings: Any
) -> None:
    memory = open_driver(embeddings=False)
    with pytest.raises(InvalidInput, match="which embeddings"):
        memory.reindex(embeddings)


def test_impossible_reindexings_are_rejected_before_anything_changes(memory: Driver) -> None:
    fill(memory, 3)
    with pytest.raises(ConfigurationError, match="openai"):
        memory.reindex("nobody:nothing")
    assert memory.recall("zoo", user_id="ana")


def test_its_own_embeddings_again(open_driver: OpenDriver) -> None:
    letters = Letters()
    memory = open_driver(embeddings=letters)
    fill(memory, 70)
    assert memory.flush(30)
    letters.texts.clear()
    assert memory.reindex() == 70
    assert len(letters.given()) == 70
    letters.width = 20  # the provider changed it under the same name
    assert memory.reindex() == 70
    assert memory.recall("zoo", user_id="ana")


def test_an_empty_memory_too(memory: Driver) -> None:
    assert memory.reindex(Letters()) == 0
    memory.remember("tea", user_id="ana")
    assert memory.flush(30)
    assert memory.stats().unembedded == 0


def test_an_interrupted_reindexing_resumes_where_it_stopped(memory: Driver) -> None:
    fill(memory, 300)
    letters = Letters()

    def fail_at_the_third(texts: list[str]) -> None:
        if len(letters.given()) >= 128:
            raise RuntimeError("out of money")

    letters.before = fail_at_the_third
    with pytest.raises(EmbeddingsError, match="letters failed"):
        memory.reindex(letters)
    done = len(letters.given())
    assert 128 <= done < 192  # a page may be shorter than the batch
    # The old vectors serve as before.
    assert memory.memory.engine.model.current.is_local
    assert memory.recall("animal park", user_id="ana", top_k=1)
    again = Letters()
    assert memory.reindex(again) == 300
    assert len(again.given()) == 300 - done
    assert set(letters.given()) | set(again.given()) == {f"number {n} zoo" for n in range(300)}


@pytest.mark.parametrize("other", [Letters("another"), Letters("letters", 20)])
def test_another_model_or_width_starts_over(memory: Driver, other: Letters) -> None:
    fill(memory, 130)
    letters = Letters()

    def fail_at_the_second(texts: list[str]) -> None:
        if letters.given():
            raise RuntimeError

    letters.before = fail_at_the_second
    with pytest.raises(EmbeddingsError):
        memory.reindex(letters)
    other.texts.clear()
    assert memory.reindex(other) == 130
    assert len(other.given()) == 130
    assert memory.recall("zoo", user_id="ana")


def test_a_temporary_fault_interrupts_nothing(memory: Driver) -> None:
    fill(memory, 130)
    letters, left = Letters(), [4]

    def fail_a_while(texts: list[str]) -> None:
        if letters.given() and left[0]:
            left[0] -= 1
            raise RuntimeError

    letters.before = fail_a_while
    assert memory.reindex(letters) == 130
    assert memory.stats().failed == 0


def test_a_provider_that_is_down_changes_nothing(memory: Driver) -> None:
    fill(memory, 10)
    letters = Letters()

    def fail(texts: list[str]) -> None:
        raise RuntimeError("secret")

    letters.before = fail
    with pytest.raises(EmbeddingsError, match="letters failed") as caught:
        memory.reindex(letters)
    assert "secret" not in str(caught.value)
    assert memory.recall("zoo", user_id="ana")


async def test_a_cancelled_reindexing_ends_with_its_batch(store_url: str) -> None:
    async with KronvexMemory(store_url) as memory:
        drafts = [MemoryDraft(f"number {n} zoo", user_id="ana") for n in range(300)]
        await memory.aremember_many(drafts)
        letters, hangs, gate = Letters(), threading.Event(), threading.Event()

        def wait(texts: list[str]) -> None:
            if len(letters.given()) == 64:
                hangs.set()
                assert gate.wait(30)

        letters.before = wait
        running = asyncio.create_task(memory.areindex(letters))
        await asyncio.to_thread(hangs.wait, 30)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        gate.set()
        assert await memory.arecall("animal park", user_id="ana", top_k=1)
        again = Letters()
        assert await memory.areindex(again) == 300
        assert len(again.given()) == 300 - 128
        assert len(letters.given()) == 128


def test_changes_made_meanwhile_are_taken_in(memory: Driver) -> None:
    fill(memory, 150)
    doomed = memory.memories(user_id="ana", limit=1, offset=149)[0]
    memory.save_messages([HumanMessage("I drink tea.")], "chat", user_id="ana")
    letters, steps = Letters(), iter(range(100))
    other = Driver(memory.memory, "sync")

    def meddle(texts: list[str]) -> None:
        if texts == ["hello"]:
            return
        if next(steps) == 1:
            other.remember("written meanwhile", user_id="ana")
            other.remember("number 0 zoo", user_id="ana", metadata={"again": True})
            other.save_messages([AIMessage("Noted.")], "chat", user_id="ana")
            other.forget(id=doomed.id)
            # The old vectors serve.
            assert other.recall("animal park", user_id="ana", top_k=1)

    letters.before = meddle
    assert memory.reindex(letters) == 151
    assert memory.flush(30)
    assert memory.stats().unembedded == 0
    assert "written meanwhile" in letters.given()
    found = memory.recall("written meanwhile", user_id="ana", top_k=1)
    assert found[0].content == "written meanwhile"


def test_a_text_that_changes_meanwhile_is_embedded_again(memory: Driver, clock: Clock) -> None:
    backend, now = memory.memory.engine.backend, clock()
    said = Record(
        kind="memory", id="one", scope=Scope("ana"), key="tea", type="episodic", content="tea",
        created_at=now,
    )  # fmt: skip
    backend.add([said], now)
    backend.prepare_reindex("upcoming", 2)
    tea = Unembedded(1, "one", "tea"), np.array([1, 0], np.float32)
    backend.embed([tea], "upcoming", upcoming=True)
    assert backend.unembedded(9, now, upcoming=True) == []

    changed = replace(said, content="coffee", key="coffee", completes=True, base=said)
    backend.add([changed], now)

    assert [each.text for each in backend.unembedded(9, now, upcoming=True)] == ["coffee"]


def test_memories_written_at_the_last_moment_are_caught_up(
    memory: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(memory, 5)
    backend = memory.memory.engine.backend
    finish = backend.finish_reindex

    def late(model: str) -> int:
        memory.memory.remember("at the last moment", user_id="ana")
        return finish(model)

    monkeypatch.setattr(backend, "finish_reindex", late)
    letters = Letters()
    assert memory.reindex(letters) == 5
    assert memory.flush(30)
    assert memory.stats().unembedded == 0
    assert letters.given()[-1] == "at the last moment"


def test_agents_change_over_each_for_itself(open_shared: OpenDriver) -> None:
    mine, other = open_shared(agent_id="mine"), open_shared(agent_id="other")
    fill(mine, 70)
    fill(other, 70)
    letters = Letters()
    assert mine.reindex(letters) == 70
    assert len(letters.given()) == 70
    assert other.recall("zoo", user_id="ana", top_k=1)
    assert other.memory.engine.model.current.is_local
    assert open_shared(agent_id="other").recall("zoo", user_id="ana", top_k=1)


def test_expired_memories_are_left_alone(memory: Driver, clock: Clock) -> None:
    memory.remember("short", user_id="ana", ttl_days=1)
    memory.remember("long", user_id="ana")
    clock.advance(days=2)
    letters = Letters()
    assert memory.reindex(letters) == 1
    assert letters.given() == ["long"]


# -- progress ----------------------------------------------------------------------------------


def test_progress_is_told(memory: Driver) -> None:
    fill(memory, 150)
    told: list[tuple[int, int]] = []
    memory.reindex(Letters(), progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 150), (64, 150), (128, 150), (150, 150)]


@pytest.mark.parametrize("progress", [None, False])
def test_no_progress_bar_without_a_terminal(
    memory: Driver, capsys: pytest.CaptureFixture[str], progress: bool | None
) -> None:
    fill(memory, 3)
    memory.reindex(Letters(), progress=progress)
    assert capsys.readouterr() == ("", "")


def test_a_bar_when_it_is_wanted(memory: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    fill(memory, 70)
    memory.reindex(Letters(), progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "reindex: 100%" in captured.err
    assert "70/70" in captured.err
    assert captured.err.endswith("\n")


# -- texts that are refused --------------------------------------------------------------------


def test_rejected_texts_do_not_hold_up_others(open_driver: OpenDriver) -> None:
    errors: list[Exception] = []
    memory = open_driver(on_error=errors.append)
    fill(memory, 200)
    letters = Letters()

    def refuse_some(texts: list[str]) -> None:
        if any("13" in text for text in texts):
            raise RuntimeError(f"cannot embed {texts}")

    letters.before = refuse_some
    unlucky = sum("13" in str(n) for n in range(200))
    assert memory.reindex(letters) == 200 - unlucky
    assert memory.flush(30)
    stats = memory.stats()
    assert (stats.unembedded, stats.failed) == (unlucky, unlucky)
    [told] = [str(error) for error in errors]
    assert "zoo" not in told
    assert "letters rejects the texts of" in told
    found = memory.recall("number 13 zoo", user_id="ana", top_k=20)
    assert "number 13 zoo" in [each.content for each in found]


# -- others that have the store open -----------------------------------------------------------


@pytest.fixture
def stale(open_shared: OpenDriver) -> Driver:
    """A memory opened with the bundled embeddings before another one changed over."""
    memory = open_shared()
    fill(memory, 5)
    assert memory.recall("zoo", user_id="ana", top_k=9)
    other = open_shared()
    assert other.reindex(Letters()) == 5
    other.close()
    return memory


def test_an_old_opening_is_told_to_open_anew(stale: Driver, open_shared: OpenDriver) -> None:
    with pytest.raises(EmbeddingMismatch, match=r"letters.*(?s:.)*Open a new KronvexMemory"):
        stale.recall("zoo", user_id="ana")
    with pytest.raises(EmbeddingMismatch):
        stale.memory.as_retriever(user_id="ana").invoke("zoo")
    with pytest.raises(EmbeddingMismatch, match="letters"):
        open_shared()
    assert open_shared(embeddings=Letters()).recall("zoo", user_id="ana")
    assert open_shared(embeddings=False).recall("zoo", user_id="ana")


def test_an_old_opening_still_finds_words_for_a_chat(stale: Driver) -> None:
    context = stale.inject_context("zoo", user_id="ana")
    assert context.degraded is True
    assert "number 3 zoo" in context.context
    filled = KronvexMemoryContext(memory=stale.memory).invoke({"input": "zoo"}, ANA)
    assert filled["memory_degraded"] is True
    assert "number 3 zoo" in filled["memory_context"]
    chain = with_memory(lambda given: given["memory_context"], stale.memory)
    assert "number 3 zoo" in chain.invoke({"input": "zoo"}, ANA)


def test_vectors_of_an_old_opening_are_never_stored(stale: Driver, open_shared: OpenDriver) -> None:
    stale.remember("written by the old one", user_id="ana")
    stale.save_messages([HumanMessage("a zoo")], "chat", user_id="ana")
    stale.save_messages([AIMessage("so it is")], "chat", user_id="ana")
    letters = Letters()
    fresh = open_shared(embeddings=letters)
    assert fresh.flush(30)
    assert sorted(letters.given()) == ["a zoo", "written by the old one"]
    found = fresh.recall("written by the old one", user_id="ana", top_k=1)
    assert found[0].content == "written by the old one"


def test_an_old_opening_whose_vectors_come_later_stores_none_either(
    open_shared: OpenDriver,
) -> None:
    old, errors, gate = Letters("old"), list[Exception](), threading.Event()
    stale = open_shared(embeddings=old, on_error=errors.append)
    fill(stale, 5)
    assert stale.flush(30)

    def wait(texts: list[str]) -> None:
        assert gate.wait(30)

    old.before = wait
    stale.remember("under way", user_id="ana")
    assert open_shared(embeddings=False).reindex(Letters("new")) == 6
    gate.set()
    assert stale.flush(30)
    stale.remember("afterwards", user_id="ana")
    assert stale.flush(30)
    assert any(isinstance(error, EmbeddingMismatch) for error in errors)
    fresh = open_shared(embeddings=Letters("new"))
    assert fresh.flush(30)
    assert fresh.stats().unembedded == 0


def test_an_old_opening_may_change_over_too(stale: Driver) -> None:
    assert stale.reindex(Letters()) == 5
    assert stale.recall("zoo", user_id="ana")


def test_of_two_that_reindex_at_once_the_second_is_told(open_shared: OpenDriver) -> None:
    first, second = open_shared(), open_shared()
    fill(first, 200)
    letters = Letters("one")

    def overtake(texts: list[str]) -> None:
        if len(letters.given()) == 64:
            letters.before = lambda texts: None
            assert Driver(second.memory, "sync").reindex(Letters("two")) == 200

    letters.before = overtake
    with pytest.raises(EmbeddingMismatch, match="Letters:two"):
        first.reindex(letters)
    assert second.recall("zoo", user_id="ana")


def test_recall_never_fails_while_its_own_memory_changes_over(memory: Driver) -> None:
    fill(memory, 60)
    failed: list[BaseException] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                assert memory.memory.recall("zoo", user_id="ana", top_k=2)
                memory.memory.remember(f"asked {np.random.default_rng().random()}", user_id="ana")
            except BaseException as error:
                failed.append(error)
                return

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for name in ("one", "two", "three"):
        memory.reindex(Letters(name))
        memory.reindex(StaticEmbeddings())
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []
    assert memory.flush(30)
    stats = memory.stats()
    assert (stats.unembedded, stats.failed, stats.last_error) == (0, 0, None)
