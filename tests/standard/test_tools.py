"""LangChain's standard suites for tools, on a real file."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

from langchain_kronvex import KronvexMemory
from langchain_kronvex.tools import create_memory_tools


class _OnAFile:
    """A tool for Ana, who has one memory."""

    place: int

    @pytest.fixture(autouse=True)
    def _tool(self, memory: KronvexMemory) -> None:
        stored = memory.remember("Ana prefers tea.", user_id="ana")
        self.examples: list[dict[str, Any]] = [
            {"content": "Ana prefers tea.", "memory_type": "preference"},
            {"query": "tea or coffee?", "limit": 3},
            {"id": stored.id},
        ]
        self.made = create_memory_tools(memory, user_id="ana")[self.place]

    @property
    def tool_constructor(self) -> BaseTool:
        return self.made

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return self.examples[self.place]


class TestRememberUnit(_OnAFile, ToolsUnitTests):
    place = 0


class TestRecallUnit(_OnAFile, ToolsUnitTests):
    place = 1


class TestForgetUnit(_OnAFile, ToolsUnitTests):
    place = 2


class TestRememberIntegration(_OnAFile, ToolsIntegrationTests):
    place = 0


class TestRecallIntegration(_OnAFile, ToolsIntegrationTests):
    place = 1


class TestForgetIntegration(_OnAFile, ToolsIntegrationTests):
    place = 2
