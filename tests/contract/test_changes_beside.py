"""Two clients change one memory at the same time: both changes are kept."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from contract.drivers import NOW, Driver
from contract.test_put import Seam
from inside import Record, Scope, content_key, memory_record

ANA = Scope("ana", "monday")


@pytest.fixture
def seam(memory: Driver) -> Seam:
    return Seam(memory)


def asked(seam: Seam) -> Record:
    """Return an exchange without an answer."""
    content = "User: What is the code?"
    seam.add([memory_record(ANA, content, NOW, search_text="What is the code?")], NOW)
    [stored] = seam.all(NOW, kind="memory", scope=ANA)
    return stored  # type: ignore[no-any-return]


def answered(record: Record, words: str) -> Record:
    content = f"{record.content}{words}"
    return replace(
        record, content=content, key=content_key(record.type, content), completes=True, base=record
    )


def one(seam: Seam) -> Record:
    [stored] = seam.all(NOW, kind="memory", scope=ANA)
    return stored  # type: ignore[no-any-return]


def test_a_pin_and_an_answer(memory: Driver, seam: Seam) -> None:
    read = asked(seam)
    seam.add([answered(read, "\nAssistant: 4711.")], NOW)
    seam.change(replace(read, pinned=True, base=read), NOW)
    assert one(seam).pinned
    assert "4711" in one(seam).content

    memory.remember("the same again", user_id="ana", session_id="tuesday")
    other = one(seam)
    seam.change(replace(other, metadata={"n": 1}, base=other), NOW)
    seam.add([answered(other, " Or 4712?")], NOW)
    assert dict(one(seam).metadata) == {"n": 1}
    assert one(seam).pinned
    assert one(seam).content.endswith("Assistant: 4711. Or 4712?")


def test_an_answer_that_two_give(seam: Seam) -> None:
    read = asked(seam)
    for words in ("\nAssistant: one", "\nAssistant: two"):
        seam.add([answered(read, words)], NOW)
    assert one(seam).content.endswith("What is the code?\nAssistant: one\nAssistant: two")
    assert one(seam).key == content_key("episodic", one(seam).content)


def test_a_new_type_and_an_answer(seam: Seam) -> None:
    read = asked(seam)
    seam.add([answered(read, "\nAssistant: 4711.")], NOW)
    retyped = replace(read, type="fact", key=content_key("fact", read.content), base=read)
    seam.change(retyped, NOW)
    stored = one(seam)
    assert (stored.type, stored.key) == ("fact", content_key("fact", stored.content))
    assert "4711" in stored.content


def test_a_later_expiry_and_a_pin(seam: Seam) -> None:
    read = asked(seam)
    later = NOW + timedelta(days=30)
    seam.change(replace(read, expires_at=later, base=read), NOW)
    seam.change(replace(read, metadata={"n": 2}, base=read), NOW)
    assert (one(seam).expires_at, dict(one(seam).metadata)) == (later, {"n": 2})


def test_threads_that_update_one_memory(memory: Driver) -> None:
    stored = memory.remember("Ana drinks tea.", user_id="ana")
    failures: list[BaseException] = []

    def update(**what: Any) -> None:
        try:
            barrier.wait(10)
            memory.update(stored.id, **what)
        except BaseException as error:
            failures.append(error)

    for number in range(25):
        barrier = threading.Barrier(2)
        wanted = ({"n": number}, bool(number % 2))
        threads = [
            threading.Thread(target=update, kwargs={"metadata": wanted[0]}),
            threading.Thread(target=update, kwargs={"pinned": wanted[1]}),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = memory.get(stored.id)
        assert not failures
        assert (dict(found.metadata), found.pinned) == wanted
