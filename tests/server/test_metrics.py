"""What `/metrics` counts, who may read it, and that no store can hold it up."""

from __future__ import annotations

import re
import threading
import time
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from langchain_core.messages import AIMessage

from consolidation.models import TextModel
from langchain_kronvex import KronvexMemory, StoreUnavailable
from langchain_kronvex.server import ServerSettings, create_app

from .running import ask, client, serving


class Served:
    """A server with metrics in this process."""

    def __init__(self, stack: ExitStack, url: str, model: Any = None, **settings: Any) -> None:
        self.memory = stack.enter_context(KronvexMemory(url))
        app = create_app(self.memory, ServerSettings(**settings), consolidate=model, metrics=True)
        self.service = app.state.service
        self.base = stack.enter_context(serving(app))
        self.api = stack.enter_context(client(self.base))

    def text(self, **headers: str) -> str:
        answer = httpx.get(f"{self.base}/metrics", headers=headers, verify=False)
        assert answer.status_code == 200, answer.text
        return answer.text

    def figures(self) -> dict[str, float]:
        lines = [line for line in self.text().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


@pytest.fixture
def stack() -> Any:
    with ExitStack() as opened:
        yield opened


def test_figures_count_what_was_done_and_name_nobody(stack: ExitStack, store_url: str) -> None:
    served, other = Served(stack, store_url), Served(stack, store_url)
    path = "/agents/agent-of-ana/"
    for text in ("peanuts are dangerous", "tea is fine"):
        told = {"content": text, "user_id": "ana-secret"}
        assert served.api.post(f"{path}remember", json=told).status_code == 201
    asked = {"query": "what is dangerous?", "user_id": "ana-secret"}
    assert served.api.post(f"{path}recall", json=asked).json()["results"]
    assert served.api.post(f"{path}inject-context", json=asked).is_success
    assert served.api.delete(f"{path}memories/user/ana-secret").json()["erased"] == 2
    for method in ("BREW", "PROPFIND"):
        assert ask(served.base, method, "/x/ana-secret")[0] == 404
    served.api.get("/unknown/ana-secret")

    text, found = served.text(), served.figures()
    assert found["kronvex_memories_stored_total"] == 2
    assert found["kronvex_recalls_total"] == 1
    assert found["kronvex_injected_contexts_total"] == 1
    assert found["kronvex_memories_forgotten_total"] == 2
    assert found["kronvex_store_bytes"] > 0
    assert found["kronvex_open_agents"] == 2  # with the one that was given
    assert found["kronvex_store_read_timestamp_seconds"] > time.time() - 60
    assert found["process_resident_memory_bytes"] > 0
    remembered = 'method="POST",route="/agents/{agent_id}/remember",status="2xx"'
    assert found[f"kronvex_http_requests_total{{{remembered}}}"] == 2
    route = 'route="/agents/{agent_id}/recall"'
    assert found[f"kronvex_http_request_seconds_count{{{route}}}"] == 1
    assert found['kronvex_http_requests_total{method="other",route="-",status="4xx"}'] == 2
    assert 'status="4xx"' in text
    assert 'kronvex_build_info{version="' in text
    assert not re.search("ana|peanuts|dangerous|PROPFIND", text)
    assert other.figures()["kronvex_memories_stored_total"] == 0  # an app of its own


def test_the_token_or_this_machine_alone(stack: ExitStack, store_url: str) -> None:
    local, locked = Served(stack, store_url), Served(stack, store_url, metrics_token="s3cret")
    for headers in ({"X-Forwarded-For": "8.8.8.8"}, {"Via": "1.1 proxy"}, {"Host": "evil.example"}):
        answer = httpx.get(f"{local.base}/metrics", headers=headers, verify=False)
        assert answer.status_code == 401
    assert locked.text(Authorization="Bearer s3cret")
    for sent in ({}, {"Authorization": "Bearer s3cre"}, {"Authorization": "Basic s3cret"}):
        answer = httpx.get(f"{locked.base}/metrics", headers=sent, verify=False)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "s3cret" not in answer.text
    assert "s3cret" not in repr(ServerSettings(metrics_token="s3cret"))
    plain = stack.enter_context(serving(create_app(local.memory)))
    assert httpx.get(f"{plain}/metrics", verify=False).status_code == 404  # off unless asked for


def test_a_store_that_hangs_or_fails_holds_nothing_up(
    stack: ExitStack, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    served, stuck = Served(stack, store_url), threading.Event()
    stats = served.memory.stats

    def hang() -> Any:
        assert stuck.wait(20)
        raise StoreUnavailable("The store is away.")

    monkeypatch.setattr(served.memory, "stats", hang)
    served.api.get("/agents")
    began = time.monotonic()
    found = [served.figures() for _ in range(3)][-1]
    assert time.monotonic() - began < 10
    assert found['kronvex_http_requests_total{method="GET",route="/agents",status="2xx"}'] == 1
    assert found["kronvex_store_read_timestamp_seconds"] == 0  # not read yet
    stuck.set()
    monkeypatch.setattr(served.memory, "stats", stats)
    assert served.api.get("/agents").status_code == 200


def test_consolidations_are_counted(stack: ExitStack, store_url: str) -> None:
    fact = '{"Fact": [{"text": "Ana lives in Porto.", "sources": [1]}]}'
    served = Served(stack, store_url, TextModel(answer=AIMessage(fact)))
    told = {"content": "I live in Porto.", "user_id": "ana"}
    assert served.api.post("/agents/default/remember", json=told).status_code == 201
    assert served.figures()["kronvex_consolidation_waiting_users"] == 1
    with served.service.open_agents.use("default") as agent:
        assert agent.consolidator.flush(20)
    found = served.figures()
    assert found['kronvex_consolidation_runs_total{ended="whole"}'] == 1
    assert found["kronvex_consolidation_failures_total"] == 0
