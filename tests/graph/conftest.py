"""Stores for LangGraph in both colours: on real files, on PostgreSQL and on a served API."""

from __future__ import annotations

import asyncio
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
# In `make soak` these run everywhere,
EVERYWHERE = {
    "test_items", "test_lifetimes", "test_like_langgraph", "test_namespaces", "test_searching",
    "test_several_texts",
}  # fmt: skip
# and in `make test` of them these.
SHORT = {
    "test_an_item_comes_back_as_it_was_put",
    "test_a_put_replaces_and_keeps_the_date_of_creation",
    "test_of_puts_of_one_item_the_last_wins",
    "test_results_stand_in_the_order_of_the_operations",
    "test_what_does_not_fit_is_refused_and_nothing_written",
    "test_agents_have_stores_of_their_own",
    "test_tasks_at_once_break_nothing",
    "test_items_and_memories_do_not_touch_each_other",
    "test_reading_begins_the_lifetime_anew",
    "test_a_new_item_in_the_place_of_an_expired_one",
    "test_both_say_the_same",
    "test_pages_follow_each_other",
    "test_the_best_of_several_namespaces_come_first",
    "test_fields_of_an_item",
    "test_a_replaced_item_is_found_by_its_new_words",
    "test_namespaces_without_items_are_not_listed",
    "test_each_field_counts_alike",
    "test_a_deleted_item_takes_its_texts_along",
    "test_reading_lets_all_texts_live_on",
}
_READS_THE_FILE = {
    "test_a_deleted_item_is_gone_for_good",
    "test_what_has_expired_is_swept_from_the_file",
    "test_replaced_texts_are_found_no_more_and_leave_no_byte",
}
_CHOOSES_EMBEDDINGS = {
    "test_embeddings_of_the_store",
    "test_a_function_that_embeds",
    "test_embeddings_that_cannot_be_used",
    "test_the_embeddings_of_the_memory_are_those_of_the_store",
    "test_a_store_changes_its_embeddings",
    "test_a_store_by_words_alone",
}
NOT_PROMISED = {
    "postgres": _READS_THE_FILE,
    "kronvex-api": _READS_THE_FILE
    | _CHOOSES_EMBEDDINGS  # the server embeds
    | {"test_a_filter_is_applied_before_the_page_is_cut"},  # scores change as items are sent
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of a store on every place that promises what they ask."""
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


class Colour:
    """A store's verbs, called plainly or through their `a…` twins."""

    def __init__(self, store: KronvexStore, colour: str) -> None:
        self.store, self._colour = store, colour

    def __getattr__(self, verb: str) -> Any:
        if self._colour == "sync":
            return getattr(self.store, verb)
        twin = getattr(self.store, "a" + verb)
        return lambda *args, **kwargs: asyncio.run(twin(*args, **kwargs))


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
    """An empty store whose clock is the `clock` fixture."""
    return open_store()


@pytest.fixture(params=["sync", "async"])
def store(request: pytest.FixtureRequest, plain: KronvexStore) -> Colour:
    """The same, in either colour."""
    return Colour(plain, request.param)
