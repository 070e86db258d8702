"""The contract of chat histories, on every store; and what LangChain's own does not keep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from langchain_core.chat_history import InMemoryChatMessageHistory

from contract.served import APIS
from databases import DATABASES
from langchain_kronvex import KronvexChatMessageHistory, KronvexMemory
from langchain_kronvex.testing import ChatHistoryTests


class TestKronvexChatMessageHistory(ChatHistoryTests):
    """On a file; every history is opened in a memory of its own, as in another process."""

    @pytest.fixture
    def open_history(
        self, open_memory: Callable[..., KronvexMemory]
    ) -> Callable[[str], KronvexChatMessageHistory]:
        self.opened: list[KronvexMemory] = [open_memory(), open_memory()]

        def open_(session_id: str) -> KronvexChatMessageHistory:
            if not self.opened:
                self.opened.append(open_memory())
            self.opened.append(self.opened.pop(0))  # they take turns
            return self.opened[0].chat_history(session_id, "ana")

        return open_

    @pytest.fixture
    def reopen(self) -> Callable[[], None]:
        def close() -> None:
            while self.opened:
                self.opened.pop().close()

        return close


class TestOnPostgres(TestKronvexChatMessageHistory):
    @pytest.fixture
    def store_url(self, tmp_path: Path) -> str:
        return DATABASES.url(tmp_path)


@pytest.mark.soak
class TestOnAnApi(TestKronvexChatMessageHistory):
    @pytest.fixture
    def store_url(self, tmp_path: Path) -> str:
        return APIS.url(tmp_path)


@pytest.mark.filterwarnings("ignore:.*InMemoryChatMessageHistory")
class TestInMemoryChatMessageHistory(ChatHistoryTests):
    """LangChain's own."""

    appends_together = False
    expected_failures: ClassVar[dict[str, str]] = {
        "test_later_changes_of_objects_change_nothing": "the messages and the list are shared",
        "test_messages_survive_a_restart": "they are in RAM",
    }

    @pytest.fixture
    def open_history(self) -> Callable[[str], InMemoryChatMessageHistory]:
        self.sessions: dict[str, Any] = {}
        return lambda id_: self.sessions.setdefault(id_, InMemoryChatMessageHistory())

    @pytest.fixture
    def reopen(self) -> Callable[[], None]:
        return self.sessions.clear
