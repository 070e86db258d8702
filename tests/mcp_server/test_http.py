"""Over HTTP: the user is the one of the API key, with `mcp --http` and with `serve --mcp`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import OpenMemory
from inside import main
from server.running import Process, ask

from .clients import contents, ok, over_http, refused

ALONE = ("mcp", "--http", "127.0.0.1:0")
BESIDE = ("serve", "--port", "0", "--mcp")
CALL = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"profile","arguments":{}}}'
JSON = [("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream")]
MakeKey = Callable[..., str]


@pytest.fixture
def make_key(any_store_url: str, capsys: pytest.CaptureFixture[str]) -> MakeKey:
    """Makes an API key on the command line."""

    def make(*options: str) -> str:
        done = main(["keys", "create", "--url", any_store_url, "--name", "desk", *options])
        assert done == 0
        return capsys.readouterr().out.strip()

    return make


@pytest.fixture
def start(any_store_url: str, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start_(*options: str, command: tuple[str, ...] = ALONE) -> Process:
        log = tmp_path / f"log{len(started)}"
        started.append(Process(any_store_url, log, *options, command=command))
        return started[-1]

    yield start_
    for process in started:
        process.stop()
        assert "Traceback" not in process.log


def status(base: str, *headers: tuple[str, str], method: str = "POST", path: str = "/mcp") -> int:
    return ask(base, method, path, [*JSON, *headers], CALL if method == "POST" else b"")[0]


@pytest.mark.parametrize("command", [ALONE, BESIDE], ids=["mcp", "serve"])
async def test_the_user_is_the_one_of_the_key(
    make_key: MakeKey, start: Callable[..., Process], command: tuple[str, ...],
    any_store_url: str, open_memory: OpenMemory,
) -> None:  # fmt: skip
    anas, bobs = make_key("--user", "ana"), make_key("--user", "bob")
    process = start(command=command)
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
    assert open_memory(any_store_url).stats().memories == 18
    for secret in (anas, bobs, "drinks"):
        assert secret not in process.log


def test_only_a_valid_key_of_a_user_of_this_agent_opens_anything(
    make_key: MakeKey, start: Callable[..., Process], any_store_url: str
) -> None:
    anas, for_rest = make_key("--user", "ana"), make_key()
    of_shop = make_key("--user", "ana", "--agent", "shop")
    for command in (ALONE, BESIDE):
        base = start(command=command).base_url
        assert status(base, ("Authorization", f"Bearer {anas}")) == 200
        assert status(base, ("X-API-Key", anas)) == 200
        assert status(base, ("X-API-Key", anas), path="/mcp/") == 200
        assert status(base, path="/mcp/") == 401
        assert status(base) == 401
        assert status(base, ("Authorization", f"Basic {anas}")) == 401
        assert status(base, ("Authorization", "Bearer kv-unknown")) == 401
        assert status(base, ("Authorization", f"Bearer {anas}"), ("X-API-Key", of_shop)) == 401
        assert status(base, ("Authorization", f"Bearer {for_rest}")) == 403
        assert status(base, ("Authorization", f"Bearer {of_shop}")) == 403
        assert status(base, ("Authorization", f"Bearer {anas}"), method="GET") == 405
        assert status(base, ("Authorization", f"Bearer {anas}"), method="DELETE") == 405
    rest = {"verify": False, "timeout": 30.0}
    for path in ("/api/v1/agents", "/api/v1/agents/default/memories", "/auth/me"):
        answer = httpx.get(base + path, headers={"X-API-Key": anas}, **rest)  # type: ignore[arg-type]
        assert answer.status_code == 403, path
    assert main(["keys", "revoke", "--url", any_store_url, anas[:8]]) == 0
    deadline = time.monotonic() + 20  # a second is promised, on a machine that is not busy
    while status(base, ("Authorization", f"Bearer {anas}")) != 401:
        assert time.monotonic() < deadline


def test_a_key_of_a_user_takes_over_no_agent(
    make_key: MakeKey, start: Callable[..., Process], any_store_url: str
) -> None:
    process = start(command=("serve", "--port", "0"))
    made = httpx.post(f"{process.base_url}/api/v1/agents", json={"name": "a"}, verify=False)
    assert made.status_code == 201
    process.stop()
    make_key("--user", "ana")
    for_rest = make_key()
    base = start(command=("serve", "--port", "0")).base_url
    listed = httpx.get(f"{base}/api/v1/agents", headers={"X-API-Key": for_rest}, verify=False)
    assert made.json()["id"] in listed.text


async def test_what_was_acknowledged_survives_a_kill_and_clients_go_on(
    make_key: MakeKey, start: Callable[..., Process], any_store_url: str
) -> None:
    key = make_key("--user", "ana")
    process = start()
    address = f"127.0.0.1:{process.base_url.rpartition(':')[2]}"
    async with over_http(process.base_url, key) as model:
        for number in range(5):
            await ok(model, "remember", content=f"Number {number}.")
        process.kill()
        start(command=("mcp", "--http", address))
        found = contents(await ok(model, "recall", query="Number", top_k=20))
    assert sorted(found) == [f"Number {number}." for number in range(5)]


async def test_without_a_key_this_machine_is_the_user_of_the_command_line(
    start: Callable[..., Process], make_key: MakeKey
) -> None:
    base = start("--user-id", "ana", "--read-only").base_url
    async with over_http(base) as model:
        assert {tool.name for tool in (await model.list_tools()).tools} == {
            "recall", "inject_context", "profile",
        }  # fmt: skip
        assert contents(await ok(model, "profile")) == []
    assert status(base, ("Origin", "http://localhost:3000")) == 200
    assert status(base, ("Origin", "https://evil.example")) == 403
    assert status(base, ("Host", "evil.example")) == 400
    make_key("--user", "bob")
    assert status(base) == 401


def test_serve_without_keys_says_to_create_one(start: Callable[..., Process]) -> None:
    base = start(command=BESIDE).base_url
    code, _, body = ask(base, "POST", "/mcp", JSON, CALL)
    assert code == 401
    assert b"keys create --user" in body


def test_serve_offers_mcp_only_when_asked(start: Callable[..., Process]) -> None:
    assert status(start(command=("serve", "--port", "0")).base_url) == 404


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
