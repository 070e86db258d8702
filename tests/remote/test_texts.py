"""Error messages of a server say what happened and what to check."""

from __future__ import annotations

import pytest

from langchain_kronvex import AgentNotFound, KronvexMemory, RateLimited, ServerUnavailable
from langchain_kronvex.server import create_app
from server.running import serving

from .bad_server import FaultyServer, body, status
from .conftest import Open
from .plain_server import KEY, PlainServer, wait_until

UUID = "0b7e6b5e-29a6-4a5e-8d0f-000000000000"


def test_a_rate_limit_says_how_long_to_wait(faulty: FaultyServer, open_on: Open) -> None:
    faulty.faults.append(status(429, "Rate limit exceeded", Retry_After="60"))
    with pytest.raises(RateLimited) as caught:
        open_on(faulty).recall("zebra", user_id="ana")
    assert str(caught.value) == "Too many requests in a minute; wait 60 s, or spread them."
    for kind in (RateLimited, ServerUnavailable):
        assert "Attributes" not in str(kind())
        assert "retry_after_seconds" not in str(kind())


def test_a_wrong_path_is_said_to_be_no_api(plain: PlainServer) -> None:
    with KronvexMemory(f"{plain.url}/wrong", api_key=KEY, timeout_seconds=2) as memory:
        with pytest.raises(AgentNotFound, match="no Kronvex API at this URL"):
            memory.recall("zebra", user_id="ana")
        memory.remember("The zebra is asleep", user_id="ana")
        wait_until(lambda: "no Kronvex API" in (memory.stats().last_error or ""))


@pytest.mark.parametrize("answer", [body(b"<html>404</html>", 404), status(404, "Not Found")])
def test_so_is_what_answers_of_no_agent(
    faulty: FaultyServer, open_on: Open, answer: object
) -> None:
    memory = open_on(faulty, agent_id=UUID)
    faulty.faults.append(answer)  # type: ignore[arg-type]
    with pytest.raises(AgentNotFound, match="no Kronvex API at this URL"):
        memory.recall("zebra", user_id="ana")


def test_an_agent_that_is_not_there_is_no_wrong_url(
    faulty: FaultyServer, open_on: Open, store_url: str
) -> None:
    faulty.faults.append(status(404, "Agent not found"))
    with pytest.raises(AgentNotFound, match="Check KRONVEX_AGENT_ID"):
        open_on(faulty, agent_id=UUID).recall("zebra", user_id="ana")
    with (
        KronvexMemory(store_url, embeddings=False) as store,
        serving(create_app(store)) as url,
        KronvexMemory(url, agent_id=UUID) as memory,
        pytest.raises(AgentNotFound, match="Check KRONVEX_AGENT_ID"),
    ):
        memory.recall("zebra", user_id="ana")
