"""The cache of indexes: its size is bounded, at a cost that does not grow with owners."""

from __future__ import annotations

import pytest

from inside import Form, IndexCache, IndexRow, ScopeIndex


def filled(cache: IndexCache, owner: str, memories: int) -> None:
    rows = (
        IndexRow(n, f"word{n} tea", "fact", Form.STATEMENT, "", 0.0, 0, float("inf"), None)
        for n in range(memories)
    )
    cache.entry(owner).index.apply(rows)
    cache.shrink(owner)


def kept(cache: IndexCache, owners: int) -> int:
    return sum(len(cache.entry(f"owner {n}").index) > 0 for n in reversed(range(owners)))


def test_indexes_not_used_for_longest_are_dropped() -> None:
    cache = IndexCache(max_bytes=1)
    filled(cache, "ana", 10)
    ana = cache.entry("ana")
    assert len(ana.index) == 10  # the last used one stays, however large
    filled(cache, "bob", 10)
    assert cache.entry("bob").index is not ana.index
    assert len(cache.entry("ana").index) == 0


def test_indexes_without_memories_count_too() -> None:
    cache = IndexCache(max_bytes=1_000_000)
    filled(cache, "ana", 10)
    for n in range(1_000):
        cache.entry(f"ghost {n}")
    assert len(cache.entry("ana").index) == 0


def test_dropping_an_index_makes_room() -> None:
    filled(everything := IndexCache(max_bytes=10**9), "owner 0", 500)
    room = everything._total * 3
    cache = IndexCache(room)
    for n in range(6):
        filled(cache, f"owner {n % 2}", 500)
        cache.drop(f"owner {n % 2}")
    for n in range(3):
        filled(cache, f"owner {n}", 500)
    assert kept(cache, 3) == 3


def test_a_changed_index_alone_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = IndexCache(max_bytes=10**9)
    for n in range(20):
        filled(cache, f"owner {n}", 5)
    measured: list[ScopeIndex] = []
    size = ScopeIndex.nbytes.fget
    assert size is not None

    def nbytes(index: ScopeIndex) -> int:
        measured.append(index)
        return size(index)

    monkeypatch.setattr(ScopeIndex, "nbytes", property(nbytes))
    filled(cache, "owner 3", 5)
    assert measured == [cache.entry("owner 3").index]
