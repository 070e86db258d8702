"""LangChain's standard suites for key-value stores, on a real file."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.stores import BaseStore
from langchain_tests.integration_tests import BaseStoreAsyncTests, BaseStoreSyncTests

from langchain_kronvex import KronvexKeyValueStore, KronvexMemory

VALUES = ({"a": [1, 2.5, None]}, "text, é 🙂", [True, {"nested": {"deep": []}}])


class TestKronvexKeyValueStore(BaseStoreSyncTests[Any]):
    """The store passes LangChain's suite."""

    @pytest.fixture
    def kv_store(self, memory: KronvexMemory) -> BaseStore[str, Any]:
        return KronvexKeyValueStore(memory, "standard")

    @pytest.fixture
    def three_values(self) -> tuple[Any, Any, Any]:
        return VALUES


class TestKronvexKeyValueStoreAsync(BaseStoreAsyncTests[Any]):
    """The store passes LangChain's async suite."""

    @pytest.fixture
    async def kv_store(self, memory: KronvexMemory) -> BaseStore[str, Any]:
        return KronvexKeyValueStore(memory, "standard")

    @pytest.fixture
    def three_values(self) -> tuple[Any, Any, Any]:
        return VALUES
