"""`update(content=…)` corrects a text in place: the same memory, found by its new words alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from contract.drivers import Clock, Driver
from langchain_kronvex import InvalidInput, MemoryNotFound


def contents(found: Any) -> list[str]:
    return [each.content for each in found]


def test_a_corrected_text_is_found_by_its_new_words(memory: Driver, clock: Clock) -> None:
    others = ["The choir meets on Mondays.", "My aunt keeps bees.", "Rosa lent me a book."]
    for text in others:
        memory.remember(text, user_id="ana")
    wrong = memory.remember(
        "The umbrella cost 40 euros.", user_id="ana", session_id="monday", pinned=True,
        metadata={"topic": "money"},
    )  # fmt: skip
    memory.recall("umbrella", user_id="ana")
    clock.advance(hours=1)

    corrected = memory.update(wrong.id, content="The parasol cost 40 euros.")

    assert corrected.content == "The parasol cost 40 euros."
    same = ("id", "memory_type", "user_id", "session_id", "metadata", "created_at", "pinned")
    assert [getattr(corrected, n) for n in same] == [getattr(wrong, n) for n in same]
    assert memory.get(wrong.id).content == corrected.content
    assert memory.recall("parasol", user_id="ana", top_k=1)[0].id == wrong.id
    by_old_words = memory.recall("umbrella", user_id="ana", order_by="similarity")
    assert "The umbrella cost 40 euros." not in contents(by_old_words)
    listed = {each.content for each in memory.memories(user_id="ana")}
    assert listed == {*others, "The parasol cost 40 euros."}


def test_other_open_memories_find_the_corrected_text(open_shared: Callable[..., Driver]) -> None:
    here, there = open_shared(), open_shared()
    wrong = here.remember("The gate code is 4417.", user_id="ana")
    here.flush(20)
    assert contents(there.recall("4417", user_id="ana")) == ["The gate code is 4417."]
    here.update(wrong.id, content="The gate code is 9203.")
    here.flush(20)
    assert contents(there.recall("9203", user_id="ana")) == ["The gate code is 9203."]
    assert contents(there.memories(user_id="ana")) == ["The gate code is 9203."]


def test_both_texts_are_told_apart_from_then_on(memory: Driver) -> None:
    wrong = memory.remember("Ana likes tea.", user_id="ana")
    memory.update(wrong.id, content="Ana likes coffee.")
    assert memory.remember("Ana likes coffee.", user_id="ana").id == wrong.id
    again = memory.remember("Ana likes tea.", user_id="ana")
    assert (again.id != wrong.id, again.deduplicated) == (True, False)


def test_a_text_that_is_stored_already_is_refused(memory: Driver) -> None:
    memory.remember("Ana likes tea.", user_id="ana")
    wrong = memory.remember("Ana likes coffee.", user_id="ana")
    with pytest.raises(InvalidInput, match="already exists"):
        memory.update(wrong.id, content="Ana likes tea.")
    assert memory.get(wrong.id).content == "Ana likes coffee."
    # Of another type, or of another user, it is another memory.
    memory.update(wrong.id, content="Ana likes tea.", memory_type="semantic")
    theirs = memory.remember("Ben likes coffee.", user_id="ben")
    assert memory.update(theirs.id, content="Ana likes tea.").user_id == "ben"


def test_a_text_that_does_not_fit_changes_nothing(memory: Driver) -> None:
    kept = memory.remember("Ana likes tea.", user_id="ana")
    for content in ("", "  ", "nul \0", None, 3, "x" * 1_048_577):
        with pytest.raises(InvalidInput, match="content"):
            memory.update(kept.id, content=content, pinned=True)
        assert memory.get(kept.id) == kept


def test_an_unknown_memory_cannot_be_corrected(memory: Driver) -> None:
    with pytest.raises(MemoryNotFound):
        memory.update("nothing", content="Ana likes tea.")


def test_the_chat_stays_as_it_was_said(memory: Driver) -> None:
    said = [HumanMessage("My cat is called Momo."), AIMessage("A fine name.")]
    memory.save_messages(said, "monday", user_id="ana")
    (exchange,) = memory.memories(user_id="ana")
    memory.update(exchange.id, content="The cat is called Mimi.")
    assert contents(memory.load_messages("monday", user_id="ana")) == [m.content for m in said]
    assert contents(memory.recall("Mimi", user_id="ana")) == ["The cat is called Mimi."]


def test_a_corrected_memory_keeps_its_validity(memory: Driver, clock: Clock) -> None:
    since = clock.now - timedelta(days=30)
    old = memory.remember("Ana lives in Lisbon.", user_id="ana", valid_from=since)
    new = memory.remember("Ana lives in Porto.", user_id="ana", supersedes=old.id)
    corrected = memory.update(old.id, content="Ana lived in Lisboa.")
    assert (corrected.valid_from, corrected.superseded_by) == (since, new.id)
    assert contents(memory.memories(user_id="ana")) == ["Ana lives in Porto."]
    # The former text, and the corrected one, may be said again.
    memory.remember("Ana lived in Lisboa.", user_id="ana")
    assert len(memory.memories(user_id="ana")) == 2
