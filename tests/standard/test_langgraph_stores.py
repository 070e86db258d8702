"""The contract of LangGraph stores, on every store; and what LangGraph's own does not keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from langgraph.store.memory import InMemoryStore

from contract.drivers import Clock
from contract.served import APIS
from databases import DATABASES
from integration.parts import HashedWords
from langchain_kronvex import KronvexMemory
from langchain_kronvex.langgraph import KronvexStore
from langchain_kronvex.testing import StoreSearchTests, StoreTests


class OnAFile:
    """Opens stores on a file; they take turns, as those of two processes."""

    ttl = 10.0

    @pytest.fixture
    def open_store(
        self, open_memory: Callable[..., KronvexMemory]
    ) -> Iterator[Callable[[], KronvexStore]]:
        self.clock = Clock()
        self.opened: list[KronvexStore] = []

        def open_() -> KronvexStore:
            if len(self.opened) < 2:
                self.opened.append(KronvexStore(open_memory(clock=self.clock)))
            self.opened.append(self.opened.pop(0))
            return self.opened[0]

        yield open_
        self.close()

    @pytest.fixture
    def reopen(self) -> Callable[[], None]:
        return self.close

    @pytest.fixture
    def pass_minutes(self) -> Callable[[float], None]:
        return lambda minutes: self.clock.advance(minutes=minutes)

    def close(self) -> None:
        while self.opened:
            self.opened.pop().close()


class OnPostgres(OnAFile):
    @pytest.fixture
    def store_url(self, tmp_path: Path) -> str:
        return DATABASES.url(tmp_path)


class OnAnApi(OnAFile):
    @pytest.fixture
    def store_url(self, tmp_path: Path) -> str:
        return APIS.url(tmp_path)


class TestStore(OnAFile, StoreTests):
    pass


class TestStoreSearch(OnAFile, StoreSearchTests):
    pass


class TestStoreOnPostgres(OnPostgres, StoreTests):
    pass


class TestStoreSearchOnPostgres(OnPostgres, StoreSearchTests):
    pass


class TestStoreOnAnApi(OnAnApi, StoreTests):
    pass


@pytest.mark.soak
class TestStoreSearchOnAnApi(OnAnApi, StoreSearchTests):
    pass


class OfLangGraph:
    """LangGraph's own store, with embeddings."""

    @pytest.fixture
    def open_store(self) -> Callable[[], InMemoryStore]:
        self.opened: list[InMemoryStore] = []
        index: Any = {"embed": HashedWords(256), "dims": 256, "fields": ["text"]}

        def open_() -> InMemoryStore:
            if not self.opened:
                self.opened.append(InMemoryStore(index=index))
            return self.opened[0]

        return open_

    @pytest.fixture
    def reopen(self) -> Callable[[], None]:
        return lambda: self.opened.clear()


class TestInMemoryStore(OfLangGraph, StoreTests):
    expected_failures: ClassVar[dict[str, str]] = {
        "test_a_put_replaces_the_value_and_keeps_the_creation_date": "each put creates it anew",
        "test_a_batch_is_written_whole_or_not_at_all": "any namespace and value is accepted",
        "test_later_changes_of_objects_change_nothing": "the nested values are shared",
        "test_namespaces_without_items_are_not_listed": "they stay when their items go",
        "test_items_survive_a_restart": "they are in RAM",
    }


class TestInMemoryStoreSearch(OfLangGraph, StoreSearchTests):
    expected_failures: ClassVar[dict[str, str]] = {
        "test_without_a_query_the_newest_items_are_first": "they are in the order of the first put",
        "test_a_missing_number_is_neither_less_nor_greater": "comparing it raises TypeError",
        "test_a_query_searches_the_fields_of_an_item": "items that are not indexed fill the page",
        "test_a_replaced_item_is_found_by_its_new_text": "it can only leave the index when deleted",
    }
