"""Over HTTP: the user is the one of the API key, with `mcp --http` and with `serve --mcp`."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from conftest import OpenMemory
from databases import DATABASES
from inside import main
from server.running import Process, ask

from .clients import contents, ok, over_http, refused

ALONE = ("mcp", "--http", "127.0.0.1:0")
BESIDE = ("serve", "--port", "0", "--mcp")
CALL = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"profile","arguments":{}}}'
JSON = [("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream")]
Start = Callable[..., Process]


@dataclass(frozen=True)
class Place:
    """A store with keys, and a server on it."""

    url: str
    process: Process


@pytest.fixture(scope="module", params=["mcp", "serve"])
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """A server of each command, one on a file and one on PostgreSQL; each test has its users."""
    folder = tmp_path_factory.mktemp(request.param)
    url = f"sqlite:///{folder / 'memory.db'}" if request.param == "mcp" else DATABASES.fresh()
    new_key(url)  # without one, `mcp` asks for a user
    command = ALONE if request.param == "mcp" else BESIDE
    with running(url, folder / "log", command=command) as process:
        yield Place(url, process)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as started:
        logs = (tmp_path / f"log{number}" for number in count())

        def start_(url: str, *options: str, command: tuple[str, ...] = ALONE) -> Process:
            return started.enter_context(running(url, next(logs), *options, command=command))

        yield start_


@contextmanager
def running(url: str, log: Path, *options: str, command: tuple[str, ...]) -> Iterator[Process]:
    process = Process(url, log, *options, command=command)
    yield process
    process.stop()
    assert "Traceback" not in process.log


def new_key(url: str, *options: str) -> str:
    """Make an API key on the command line."""
    with redirect_stdout(io.StringIO()) as printed:
        assert main(["keys", "create", "--url", url, "--name", "desk", *options]) == 0
    return printed.getvalue().strip()


def status(base: str, *headers: tuple[str, str], method: str = "POST", path: str = "/mcp") -> int:
    return ask(base, method, path, [*JSON, *headers], CALL if method == "POST" else b"")[0]


async def test_the_user_is_the_one_of_the_key(place: Place, open_memory: OpenMemory) -> None:
    process = place.process
    anas, bobs = (new_key(place.url, "--user", user) for user in ("ana", "bob"))
    async with over_http(process.base_url, anas) as ana, over_http(process.base_url, bobs) as bob:
        tea = (await ok(ana, "remember", content="Ana drinks tea."))["memory"]
        beer = (await ok(bob, "remember", content="Bob drinks beer."))["memory"]
        await asyncio.gather(
            *(ok(ana, "remember", content=f"Ana has the number {n}.") for n in range(8)),
            *(ok(bob, "remember", content=f"Bob has the number {n}.") for n in range(8)),
        )
        for model, name, other in ((ana, "Ana", beer), (bob, "Bob", tea)):
            found = contents(await ok(model, "recall", query="number drinks", top_k=20))
            assert len(found) == 9
            assert all(each.startswith(name) for each in found)
            assert "No memory has this id" in await refused(model, "forget", id=other["id"])
            assert "No memory has this id" in await refused(
                model, "update", id=other["id"], content="Hacked."
            )
            assert "user_id" in await refused(model, "recall", query="x", user_id="ana")
            (profile,) = (await model.read_resource("kronvex://profile")).contents  # type: ignore[arg-type]
            assert other["content"] not in str(profile)
    assert open_memory(place.url).stats().memories == 18
    for secret in (anas, bobs, "drinks"):
        assert secret not in process.log


def test_only_a_valid_key_of_a_user_of_this_agent_opens_anything(place: Place) -> None:
    url, base = place.url, place.process.base_url
    mias, for_rest = new_key(url, "--user", "mia"), new_key(url)
    of_shop = new_key(url, "--user", "mia", "--agent", "shop")
    assert status(base, ("Authorization", f"Bearer {mias}")) == 200
    assert status(base, ("X-API-Key", mias)) == 200
    assert status(base, ("X-API-Key", mias), path="/mcp/") == 200
    assert status(base, path="/mcp/") == 401
    assert status(base) == 401
    assert status(base, ("Authorization", f"Basic {mias}")) == 401
    assert status(base, ("Authorization", "Bearer kv-unknown")) == 401
    assert status(base, ("Authorization", f"Bearer {mias}"), ("X-API-Key", of_shop)) == 401
    assert status(base, ("Authorization", f"Bearer {for_rest}")) == 403
    assert status(base, ("Authorization", f"Bearer {of_shop}")) == 403
    assert status(base, ("Authorization", f"Bearer {mias}"), method="GET") == 405
    assert status(base, ("Authorization", f"Bearer {mias}"), method="DELETE") == 405
    for path in ("/api/v1/agents", "/api/v1/agents/default/memories", "/auth/me"):
        assert ask(base, "GET", path, [("X-API-Key", mias)])[0] == 403, path
    assert main(["keys", "revoke", "--url", url, mias[:8]]) == 0
    deadline = time.monotonic() + 20  # a second is promised, on a machine that is not busy
    while status(base, ("Authorization", f"Bearer {mias}")) != 401:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_serve_asks_for_the_key_of_a_user_which_takes_over_no_agent(
    start: Start, any_store_url: str
) -> None:
    base = start(any_store_url, command=BESIDE).base_url
    code, _, body = ask(base, "POST", "/mcp", JSON, CALL)
    assert code == 401
    assert b"keys create --user" in body

    code, _, body = ask(base, "POST", "/api/v1/agents", JSON[:1], b'{"name": "a"}')
    assert code == 201
    new_key(any_store_url, "--user", "ana")
    for_rest = new_key(any_store_url)
    assert ask(base, "GET", "/api/v1/agents")[0] == 401
    listed = ask(base, "GET", "/api/v1/agents", [("X-API-Key", for_rest)])[2]
    assert json.loads(body)["id"] in listed.decode()


async def test_what_was_acknowledged_survives_a_kill_and_clients_go_on(
    start: Start, store_url: str
) -> None:
    key = new_key(store_url, "--user", "ana")
    process = start(store_url)
    address = f"127.0.0.1:{process.base_url.rpartition(':')[2]}"
    async with over_http(process.base_url, key) as model:
        for number in range(5):
            await ok(model, "remember", content=f"Number {number}.")
        process.kill()
        start(store_url, command=("mcp", "--http", address))
        found = contents(await ok(model, "recall", query="Number", top_k=20))
    assert sorted(found) == [f"Number {number}." for number in range(5)]


async def test_without_a_key_this_machine_is_the_user_of_the_command_line(
    start: Start, store_url: str
) -> None:
    base = start(store_url, "--user-id", "ana", "--read-only").base_url
    async with over_http(base) as model:
        assert {tool.name for tool in (await model.list_tools()).tools} == {
            "recall", "inject_context", "profile",
        }  # fmt: skip
        assert contents(await ok(model, "profile")) == []
    assert status(base, ("Origin", "http://localhost:3000")) == 200
    assert status(base, ("Origin", "https://evil.example")) == 403
    assert status(base, ("Host", "evil.example")) == 400
    new_key(store_url, "--user", "bob")
    assert status(base) == 401


def test_serve_offers_mcp_only_when_asked(start: Start, store_url: str) -> None:
    assert status(start(store_url, command=("serve", "--port", "0")).base_url) == 404


@pytest.mark.parametrize(
    ("given", "keys", "told"),
    [
        (["--http", "127.0.0.1:0"], [], "--user-id"),
        (["--http", "0.0.0.0:8401", "--user-id", "ana"], [], "Without an API key"),
        (["--http", "127.0.0.1:0", "--user-id", "ana"], ["ana"], "no --user-id"),
        (["--http", "127.0.0.1:0", "--url", "https://api.kronvex.io"], [], "a store of your own"),
    ],
    ids=["no user", "to others", "both", "remote"],
)
def test_a_command_that_cannot_work_says_why(
    given: list[str], keys: list[str], told: str, store_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for user in keys:
        main(["keys", "create", "--url", store_url, "--name", "x", "--user", user])
    assert main(["mcp", "--url", store_url, *given]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("address", ["8401", "localhost", "localhost:x", "localhost:99999"])
def test_an_address_has_a_host_and_a_port(address: str, store_url: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["mcp", "--url", store_url, "--http", address])
    assert ended.value.code == 2


def test_a_key_with_a_user_is_for_one_agent(
    store_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    create: list[Any] = ["keys", "create", "--url", store_url, "--name", "x", "--user"]
    assert main([*create, "ana", "--agent", "a", "--agent", "b"]) == 2
    assert main([*create, " "]) == 2
    assert main([*create, "ana", "--agent", "a"]) == 0
    capsys.readouterr()
    assert main(["keys", "list", "--url", store_url]) == 0
    assert "(user ana, agent a)" in capsys.readouterr().out
