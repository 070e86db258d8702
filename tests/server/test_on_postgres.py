"""The same API on PostgreSQL: memories survive a restart, separately for each agent."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg

from databases import DATABASES

from .running import Process, client


def test_a_server_on_postgres_keeps_agents_and_users_apart(tmp_path: Path) -> None:
    url = DATABASES.fresh()
    users = [(f"agent{n % 12}", f"user{n}") for n in range(48)]

    def store(place: tuple[str, str]) -> int:
        agent, user = place
        with client(process.base_url) as api:
            body = {"content": f"The code of {user} is {agent}.", "user_id": user}
            return api.post(f"/agents/{agent}/remember", json=body).status_code

    process = Process(url, tmp_path / "log")
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(store, users)) == {201}
    process.kill()
    process = Process(url, tmp_path / "log2")
    with client(process.base_url) as api:
        for agent, user in users:
            body = {"query": "What is the code?", "user_id": user}
            found = api.post(f"/agents/{agent}/recall", json=body).json()["results"]
            assert [each["memory"]["content"] for each in found] == [
                f"The code of {user} is {agent}."
            ]
        for name in ("memory_type", "type", "session_id"):
            refused = api.get("/agents/agent1/memories", params={name: "\0"})
            assert refused.status_code == 422
        with psycopg.connect(url) as connection:
            count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            assert connection.execute(count).fetchone() <= (12,)  # one pool for all agents
    assert process.stop() == 0
    assert "Traceback" not in process.log
