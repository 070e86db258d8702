"""Completing: a record that is stored in the place of the one with its id keeps its order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from contract.drivers import NOW, Driver
from contract.test_put import Seam
from inside import Page, Record, Scope, Selection

OpenDriver = Callable[..., Driver]
CHAT = Scope("ana", "monday")


def messages(count: int) -> list[Record]:
    """Messages of the same time, as many as are read from one import."""
    return [
        Record(
            kind="message", id=f"{number:032x}", scope=CHAT, key=f"{number:032x}", type="human",
            content=f"m{number}", created_at=NOW,
        )
        for number in range(count)
    ]  # fmt: skip


def completed(record: Record) -> Record:
    return replace(record, content=f"{record.content}!", metadata={"n": 1}, completes=True)


def said(seam: Seam) -> list[str]:
    return [record.content for record in seam.all(kind="message", scope=CHAT)]


@pytest.fixture
def seam(memory: Driver) -> Seam:
    return Seam(memory)


@pytest.mark.parametrize("arrived", [False, True])
def test_a_completed_record_keeps_its_place(memory: Driver, seam: Seam, arrived: bool) -> None:
    seam.add(messages(24), NOW)
    assert not arrived or memory.flush(30)
    there = seam.all(kind="message", scope=CHAT)
    seam.add([completed(record) for record in there[2:20]], NOW)

    wanted = ["m0", "m1", *(f"m{n}!" for n in range(2, 20)), "m20", "m21", "m22", "m23"]
    assert said(seam) == wanted
    seam.add([completed(record) for record in seam.all(kind="message", scope=CHAT)[:1]], NOW)
    assert memory.flush(30)
    assert said(seam) == ["m0!", *wanted[1:]]
    newest = Page(newest_first=True, limit=3)
    found = seam.find(Selection(kind="message", scope=CHAT), newest, NOW)
    assert [record.content for record in found] == ["m23", "m22", "m21"]


def test_another_memory_sees_the_same_order(open_shared: OpenDriver) -> None:
    first, second = open_shared(), open_shared()
    Seam(first).add(messages(12), NOW)
    there = Seam(second).all(kind="message", scope=CHAT)
    Seam(second).add([completed(record) for record in there[:6]], NOW)
    assert first.flush(30)
    assert second.flush(30)

    wanted = [f"m{n}!" if n < 6 else f"m{n}" for n in range(12)]
    assert said(Seam(first)) == said(Seam(second)) == said(Seam(open_shared())) == wanted


@pytest.mark.parametrize("arrived", [False, True])
def test_a_record_erased_meanwhile_does_not_come_back(
    memory: Driver, seam: Seam, arrived: bool
) -> None:
    seam.add(messages(3), NOW)
    assert not arrived or memory.flush(30)
    there = seam.all(kind="message", scope=CHAT)
    seam.delete(Selection(kind="message", scope=CHAT, ids=(there[1].id,)), NOW)
    seam.add([completed(record) for record in there], NOW)

    assert memory.flush(30)
    assert said(seam) == ["m0!", "m2!"]
