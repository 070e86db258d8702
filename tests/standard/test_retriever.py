"""LangChain's standard suite for retrievers, on a real file."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.retrievers import BaseRetriever
from langchain_tests.integration_tests import RetrieversIntegrationTests

from langchain_kronvex import KronvexMemory, KronvexRetriever, MemoryDraft

DRINKS = ("tea", "coffee", "cocoa", "water", "mate")


class TestKronvexRetriever(RetrieversIntegrationTests):
    """The retriever passes LangChain's suite."""

    @pytest.fixture(autouse=True)
    def _drinks(self, memory: KronvexMemory) -> None:
        self.memory = memory
        drafts = [
            MemoryDraft(content=f"Ana drank {drink} at breakfast.", user_id="ana")
            for drink in DRINKS
        ]
        memory.remember_many(drafts)

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return KronvexRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"memory": self.memory, "user_id": "ana"}

    @property
    def retriever_query_example(self) -> str:
        return "What did Ana drink at breakfast?"
