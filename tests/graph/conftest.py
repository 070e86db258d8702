"""Stores for LangGraph: on real files, on PostgreSQL and on a served API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from contract.served import APIS
from databases import DATABASES
from langchain_kronvex import KronvexMemory
from langchain_kronvex.langgraph import KronvexStore

OpenMemory = Callable[..., KronvexMemory]
OpenStore = Callable[..., KronvexStore]


PLACES: dict[str, Callable[[Path], str]] = {
    "sqlite": lambda folder: f"sqlite:///{folder / 'memory.db'}",
    "postgres": DATABASES.url,
    "kronvex-api": APIS.url,
}
# These run everywhere in `make soak`,
EVERYWHERE = {
    "test_items", "test_lifetimes", "test_like_langgraph", "test_namespaces", "test_searching",
    "test_several_texts",
}  # fmt: skip
# and these of them in `make test`.
SHORT = {
    "test_invalid_operations_are_rejected_and_nothing_is_written",
    "test_every_agent_has_its_own_store",
    "test_items_and_memories_do_not_affect_each_other",
    "test_a_query_restarts_the_lifetime",
    "test_both_stores_return_the_same",
    "test_fields_of_an_item",
    "test_all_fields_count_equally",
    "test_a_deleted_item_is_deleted_with_its_texts",
    "test_reading_extends_the_lifetime_of_all_texts",
}
_READS_THE_FILE = {
    "test_a_deleted_item_is_gone",
    "test_expired_items_are_swept_from_the_file",
    "test_replaced_texts_are_not_found_and_are_erased",
}
_CHOOSES_EMBEDDINGS = {
    "test_embeddings_of_the_store",
    "test_a_function_that_embeds",
    "test_embeddings_that_cannot_be_used_raise",
    "test_the_store_uses_the_embeddings_of_the_memory",
    "test_a_store_changes_its_embeddings",
    "test_a_store_without_embeddings",
}
NOT_PROMISED = {
    "postgres": _READS_THE_FILE,
    "kronvex-api": _READS_THE_FILE | _CHOOSES_EMBEDDINGS,  # the server embeds
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test on every backend that makes the tested promise."""
    if "store_url" not in metafunc.fixturenames:
        return
    name, module = metafunc.definition.name, metafunc.definition.path.stem
    places: list[Any] = ["sqlite"]
    for place in ("postgres", "kronvex-api"):
        if module in EVERYWHERE and name not in NOT_PROMISED[place]:
            marks = [] if name in SHORT else [pytest.mark.soak]
            places.append(pytest.param(place, marks=marks))
    metafunc.parametrize("store_url", places, indirect=True)


@pytest.fixture
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store that does not exist yet."""
    return PLACES[request.param](tmp_path)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 4, 28, 12, tzinfo=timezone.utc)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **duration: float) -> None:
        self.now += timedelta(**duration)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_store(open_memory: OpenMemory, clock: Clock) -> Iterator[OpenStore]:
    """Opens stores, all in the same file, and closes them all."""
    opened: list[KronvexStore] = []

    def open_(memory: KronvexMemory | None = None, **options: Any) -> KronvexStore:
        opened.append(KronvexStore(memory or open_memory(clock=clock), **options))
        return opened[-1]

    yield open_
    for store in opened:
        store.close()


@pytest.fixture
def plain(open_store: OpenStore) -> KronvexStore:
    """An empty store with the `clock` fixture as its clock."""
    return open_store()


@pytest.fixture
def store(plain: KronvexStore) -> KronvexStore:
    """The same store."""
    return plain
