"""A server's own `before_save` and `rerank`: they hold for every client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from langchain_kronvex import KronvexMemory
from langchain_kronvex.server import create_app

from .running import client, serving


def no_codes(text: str) -> str | None:
    return None if "secret" in text else text.replace("7391", "XXXX")


class Prefers:
    def __init__(self, word: str) -> None:
        self.word = word

    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        return [float(self.word in text) for _, text in text_pairs]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., str]]:
    with ExitStack() as stack:

        def start(**hooks: Any) -> str:
            url = f"sqlite:///{tmp_path / 'served.db'}"
            memory = stack.enter_context(KronvexMemory(url, **hooks))
            return stack.enter_context(serving(create_app(memory)))

        yield start


def test_what_any_client_sends_is_changed_or_refused(serve: Callable[..., str]) -> None:
    with client(serve(before_save=no_codes)) as api:
        body = {"content": "It is 7391.", "user_id": "ana", "metadata": {"code": "7391"}}
        stored = api.post("/agents/guide/remember", json=body)
        assert stored.status_code == 201
        assert (stored.json()["content"], stored.json()["metadata"]) == (
            "It is XXXX.",
            {"code": "XXXX"},
        )
        refused = api.post("/agents/guide/remember", json={**body, "content": "A secret."})
        assert refused.status_code == 422
        assert "before_save" in refused.text
        assert api.get("/agents/guide/memories").json()["total"] == 1


def test_our_own_client_is_told_what_the_server_would_change(serve: Callable[..., str]) -> None:
    errors: list[Exception] = []
    url = serve(before_save=no_codes)
    options: Any = {"agent_id": "guide", "timeout_seconds": 5}
    with KronvexMemory(url, before_save=no_codes, **options) as asked:
        asked.remember("It is 7391.", user_id="ana")
        asked.save_messages([HumanMessage("Say 7391 or a secret.")], "chat", user_id="ana")
        assert asked.flush(10)
        assert asked.stats().failed == 0
    with KronvexMemory(url, on_error=errors.append, **options) as memory:
        memory.remember("Now it is 7391.", user_id="ana")
        memory.save_messages([HumanMessage("Is it 7391?")], "chat", user_id="ana", remember=False)
        memory.flush(10)
        assert len(errors) == 2
        assert "before_save" in str(errors[0])
    with client(url) as api:
        listed = api.get("/agents/guide/memories").json()["memories"]
        found = str([each["content"] for each in listed])  # a time or an id may hold the digits
        assert "XXXX" in found
        assert "7391" not in found


def test_a_servers_reranker_chooses_for_every_client(serve: Callable[..., str]) -> None:
    url = serve(rerank=Prefers("Ida"))
    with client(url) as api:
        for name in ("Ada", "Bea", "Cleo", "Ida"):
            body = {"content": f"A cat is called {name}.", "user_id": "ana"}
            api.post("/agents/guide/remember", json=body)
        asked = {"query": "cat?", "user_id": "ana", "top_k": 1}
        [found] = api.post("/agents/guide/recall", json=asked).json()["results"]
        assert "Ida" in str(found)
