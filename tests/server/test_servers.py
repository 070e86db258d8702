"""Several servers on one store: what one is told, all know, and nothing is lost or doubled."""

from __future__ import annotations

import itertools
import os
import re
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from databases import DATABASES
from inside import create_key, main, queries, registry
from langchain_kronvex import KronvexMemory
from langchain_kronvex.server import create_app

from .running import Process, client, serving

SECOND = 1.0  # in which all servers know what one was told


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[Process]]]:
    """The URL of a PostgreSQL database, and three servers on it; the last test kills one."""
    url, folder = DATABASES.fresh(), tmp_path_factory.mktemp("three")
    with ThreadPoolExecutor(3) as pool:
        servers = list(pool.map(lambda n: Process(url, folder / f"log{n}"), range(3)))
    yield url, servers
    logs = [server.log for server in servers]
    assert {server.stop() for server in servers} <= {0, -signal.SIGKILL}
    assert "Traceback" not in "".join(logs)


def in_turn(servers: list[Process], key: str, stack: ExitStack) -> Callable[..., httpx.Response]:
    """Return what sends each request to the next server, or to another if that is dead."""
    clients = itertools.cycle([stack.enter_context(client(s.base_url, key)) for s in servers])

    def send(method: str, path: str, **options: Any) -> httpx.Response:
        for _ in servers:
            try:
                return next(clients).request(method, path, **options)
            except httpx.TransportError:
                continue
        raise AssertionError

    return send


def test_keys_and_agents_of_one_server_are_those_of_all(
    three: tuple[str, list[Process]], capsys: pytest.CaptureFixture[str]
) -> None:
    url, servers = three
    assert main(["keys", "create", "--url", url, "--name", "first"]) == 0  # another process's
    secret = capsys.readouterr().out.strip()
    with ExitStack() as stack:
        first, second, third = (stack.enter_context(client(s.base_url, secret)) for s in servers)
        all_of_them = (first, second, third)
        made = first.post("/agents", json={"name": "bot"}).json()["id"]
        path = f"/agents/{made}"
        said = {"content": "Ana likes tea.", "user_id": "ana"}
        asked = {"query": "What does Ana like?", "user_id": "ana"}
        assert second.post(f"{path}/remember", json=said).status_code == 201
        for api in all_of_them:
            assert len(api.post(f"{path}/recall", json=asked).json()["results"]) == 1
        assert second.patch(path, json={"name": "renamed"}).status_code == 200
        # Two servers change different fields at the same time: none is lost.
        assert third.patch(path, json={"description": "d"}).json()["name"] == "renamed"
        assert first.get(path).json()["description"] == "d"
        assert first.delete(path).status_code == 204
        for api in all_of_them:  # at once, although they have it open
            assert api.post(f"{path}/recall", json=asked).status_code == 404
            assert api.post(f"{path}/remember", json=said).status_code == 404
        own = httpx.get(f"{servers[0].base_url}/auth/keys", headers={"X-API-Key": secret}).json()
        gone = httpx.delete(
            f"{servers[0].base_url}/auth/keys/{own[0]['id']}", headers={"X-API-Key": secret}
        )
        assert gone.status_code == 204
        revoked = time.monotonic()
        while time.monotonic() < revoked + SECOND:
            assert {second.get("/agents").status_code, third.get("/agents").status_code} <= {
                200,
                401,
            }
        assert [api.get("/agents").status_code for api in all_of_them] == [401, 401, 401]


def test_an_agent_is_deleted_while_other_servers_write_to_it(
    three: tuple[str, list[Process]],
) -> None:
    url, servers = three
    key, stop = create_key(url, "app")[1], threading.Event()
    written: list[tuple[float, str]] = []

    def write(number: int) -> None:
        with client(servers[number].base_url, key) as api:
            for n in itertools.count():
                if stop.is_set():
                    return
                began, text = time.monotonic(), f"{number}.{n}"
                told = {"content": text, "session_id": "u"}
                answer = api.post("/agents/a/remember", json=told)
                assert answer.status_code in (201, 503), answer.text
                if answer.status_code == 201:
                    written.append((began, text))

    with ThreadPoolExecutor(3) as pool, client(servers[0].base_url, key) as api:
        running = [pool.submit(write, number) for number in (0, 1, 2)]
        for _ in range(4):
            assert api.delete("/agents/a").status_code in (204, 404)
        deleted = time.monotonic()
        while not any(began > deleted for began, _ in written):
            time.sleep(0.01)
        stop.set()
        for each in running:
            each.result(60)
        kept = {m["content"] for m in api.get("/agents/a/memories?limit=200").json()["memories"]}
        assert kept >= {text for began, text in written if began > deleted}
        assert api.delete("/agents/a").status_code == 204
    with KronvexMemory(url, agent_id="a") as memory:  # nobody's memories are left behind
        assert memory.stats().memories == 0


def test_what_one_server_acknowledges_is_there_once_even_if_one_is_killed(
    three: tuple[str, list[Process]],
) -> None:
    url, servers = three
    key = create_key(url, "app")[1]
    halfway, acknowledged = threading.Semaphore(0), Counter[str]()

    def write(number: int) -> None:
        with ExitStack() as stack:
            send = in_turn(servers, key, stack)
            for n in range(20):
                told = {"content": f"{number} said {n}.", "user_id": f"user {number}"}
                # A request that broke off is sent again: the same text is stored once.
                if send("POST", "/agents/bot/remember", json=told).status_code == 201:
                    acknowledged[told["content"]] += 1
                halfway.release()

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(write, number) for number in range(4)]
        for _ in range(30):
            assert halfway.acquire(timeout=60)
        servers[1].kill()
        for each in running:
            each.result(120)
    assert len(acknowledged) == 80
    for server in (servers[0], servers[2]):
        with client(server.base_url, key) as api:
            found = api.get("/agents/bot/memories", params={"limit": 200}).json()["memories"]
            assert Counter(memory["content"] for memory in found) == acknowledged
            asked = {"query": "What was said?", "user_id": "user 3", "top_k": 20}
            assert len(api.post("/agents/bot/recall", json=asked).json()["results"]) == 20


def test_a_name_that_changes_hands_shows_nothing_of_its_new_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = DATABASES.fresh()
    mine, theirs = (create_key(url, name)[1] for name in ("mine", "theirs"))
    asked, said = {"query": "code", "user_id": "u"}, {"content": "my code", "user_id": "u"}
    secret = {"content": "their code", "user_id": "u"}
    with ExitStack() as stack:
        memories = [stack.enter_context(KronvexMemory(url)) for _ in range(2)]
        bases = [stack.enter_context(serving(create_app(memory))) for memory in memories]
        here, there = (stack.enter_context(client(base, mine)) for base in bases)
        others = stack.enter_context(client(bases[0], theirs))
        path = "/agents/bot"

        def change_hands() -> None:
            assert here.delete(path).status_code == 204
            assert others.post(f"{path}/remember", json=secret).status_code == 201

        assert here.post(f"{path}/remember", json=said).status_code == 201
        assert there.post(f"{path}/recall", json=asked).status_code == 200  # knows the agent now
        change_hands()
        assert there.post(f"{path}/recall", json=asked).status_code == 404
        assert there.delete(f"{path}/memories").status_code == 404
        assert there.post(f"{path}/remember", json=said).status_code == 404
        # The name changes hands in the middle of a write.
        assert others.delete(path).status_code == 204
        assert here.post(f"{path}/remember", json={**said, "content": "x"}).status_code == 201
        remember, once = queries.remember, iter([change_hands])

        def late(*arguments: Any) -> Any:
            next(once, lambda: None)()
            return remember(*arguments)

        monkeypatch.setattr(queries, "remember", late)
        answer = there.post(f"{path}/remember", json=said)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        found = others.get(f"{path}/memories").json()["memories"]
        assert [memory["content"] for memory in found] == ["their code"]


def test_an_interrupted_deletion_is_finished_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    monkeypatch.setattr(registry, "LEAVING_SECONDS", 0.1)
    with KronvexMemory(url) as memory, serving(create_app(memory)) as base, client(base) as api:
        said = {"content": "tea", "user_id": "u"}
        assert api.post("/agents/a/remember", json=said).status_code == 201
        with monkeypatch.context() as patch:
            patch.setattr(KronvexMemory, "clear", lambda _: 1 / 0)  # as if it were killed here
            assert api.delete("/agents/a").status_code == 500
        assert api.get("/agents/a").status_code == 404
        assert api.get("/agents").json() == []
        refused = api.post("/agents/a/remember", json=said)
        assert (refused.status_code, "delete it again" in refused.text) == (503, True)
        assert api.delete("/agents/a").status_code == 204
        assert api.post("/agents/a/remember", json=said).status_code == 201


def test_workers_serve_one_port_and_one_that_is_killed_is_replaced(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    process = Process(url, tmp_path / "log", "--workers", "2", "--metrics")
    done = threading.Semaphore(0)

    def write(number: int) -> None:
        for n in range(10):  # with a connection each, so that every worker gets some
            told = {"content": f"{number} said {n}.", "user_id": "u"}
            for _ in range(50):
                try:
                    with client(process.base_url) as api:
                        assert api.post("/agents/a/remember", json=told).status_code == 201
                        break
                except httpx.TransportError:  # of the one that was killed
                    continue
            done.release()

    def started() -> list[int]:
        return [int(pid) for pid in re.findall(r"Started server process \[(\d+)\]", process.log)]

    until(lambda: len(started()) == 2)
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(write, number) for number in range(4)]
        for _ in range(10):
            assert done.acquire(timeout=60)
        os.kill(started()[0], signal.SIGKILL)
        for each in running:
            each.result(60)
    until(lambda: len(started()) == 3)
    with client(process.base_url) as api:
        assert api.get("/agents/a/memories").json()["total"] == 40
    figures = httpx.get(f"{process.base_url}/metrics", verify=False).text
    [stored] = re.findall(r"^kronvex_memories_stored_total (\S+)$", figures, re.MULTILINE)
    assert 40 <= float(stored) <= 50  # of all processes, the killed one included
    assert process.stop() == 0
    for pid in started():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert "Traceback" not in process.log


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    process = Process(f"sqlite:///{tmp_path / 'memory.db'}", tmp_path / "log", "--workers", "2")
    until(lambda: process.log.count("startup complete") == 2)
    process.kill()
    until(lambda: process.log.count("Finished server process") == 2)


def test_workers_need_a_store_they_can_share_and_a_free_port(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for url, workers in (("sqlite://", "2"), ("sqlite:///x.db", "0")):
        assert main(["serve", "--url", url, "--port", "0", "--workers", workers]) == 2
        assert "--workers needs" in capsys.readouterr().err
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", "--url", url, "--port", port, "--workers", "2"]) == 3
