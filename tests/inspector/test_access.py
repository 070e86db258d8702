"""Who may open the inspector: keys, the token of `inspect`, other web pages, and read-only."""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, expect
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route

from conftest import OpenMemory
from inside import create_key, main
from langchain_kronvex import InvalidInput, KronvexMemory
from langchain_kronvex.server import ServerSettings, create_app
from server.running import serving

from .conftest import TOKEN, OpenPage

Inspect = Callable[[KronvexMemory], str]
LOCAL = ServerSettings(allowed_hosts=("127.0.0.1", "localhost"))
VERBS = (
    "agents", "stats", "users", "growth", "sessions", "memories", "memory", "recall", "explain",
    "messages", "correct", "supersede", "restore", "forget",
)  # fmt: skip
ACTIONS = ("correct", "supersede", "restore", "forget")


def ask(base: str, verb: str, body: object, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"{base}/inspector/api/{verb}", json=body, headers=named, verify=False)


def test_the_page_loads_nothing_from_elsewhere_and_runs_only_its_own_script(
    memory: KronvexMemory,
) -> None:
    memory.remember("tea", user_id="ana")
    with serving(create_app(memory, LOCAL, inspector=True)) as base:
        page = httpx.get(f"{base}/inspector", verify=False)
        answer = ask(base, "users", {"agent_id": "default"})
        rebound = httpx.get(f"{base}/inspector", headers={"Host": "evil.example"}, verify=False)

    policy = dict(
        part.split(" ", 1) for part in page.headers["content-security-policy"].split("; ")
    )
    assert policy.pop("script-src").startswith("'sha256-")
    assert policy.pop("style-src").startswith("'sha256-")
    assert policy == {
        "default-src": "'none'", "img-src": "data:", "connect-src": "'self'", "base-uri": "'none'",
        "form-action": "'none'", "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'", "trusted-types": "'none'",
    }  # fmt: skip
    for response in (page, answer):
        assert response.status_code == 200
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in response.headers
    hosts = set(re.findall(r"https?://([^/'\"\s]+)", page.text))
    assert hosts == {"www.w3.org"}  # the name of the SVG namespace
    assert "set-cookie" not in page.headers
    assert rebound.status_code == 400


def test_it_is_off_unless_asked_for(memory: KronvexMemory, store_url: str) -> None:
    with serving(create_app(memory, LOCAL)) as base:
        assert httpx.get(f"{base}/inspector", verify=False).status_code == 404
        assert ask(base, "agents", {}).status_code == 404
    script = (
        "import sys; from langchain_kronvex import KronvexMemory as M\n"
        "from langchain_kronvex.server import create_app\n"
        "create_app(M('sqlite://'))\n"
        "assert not [name for name in sys.modules if 'inspector' in name]"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    with pytest.raises(InvalidInput, match="inspector"):
        create_app(memory, inspector="yes")  # type: ignore[arg-type]


def test_keys_of_the_api_open_it_and_keys_with_a_user_do_not(
    store_url: str, open_memory: OpenMemory, open_page: OpenPage
) -> None:
    memory = open_memory()
    memory.remember("Ana drinks tea.", user_id="ana")
    _, key = create_key(store_url, "one", ["default"])
    _, of_another = create_key(store_url, "two", [])
    _, of_user = create_key(store_url, "ana", user_id="ana")
    with serving(create_app(memory, inspector=True)) as base:
        for verb in VERBS:
            assert ask(base, verb, {}).status_code == 401
            assert ask(base, verb, {}, X_API_Key="kv-wrong").status_code == 401
            assert ask(base, verb, {}, X_API_Key=of_user).status_code == 403
        mine = {"agent_id": "default"}
        assert ask(base, "users", mine, X_API_Key=key).json()["total"] == 1
        assert ask(base, "users", mine, X_API_Key=of_another).status_code == 404
        assert ask(base, "agents", {}, X_API_Key=of_another).json()["agents"] == []

        page = open_page(f"{base}/inspector", expects=("401", "403"))
        field = page.get_by_label("API key")
        for wrong, reason in (
            ("kv-wrong", "Invalid or revoked"),
            (of_user, "for one user over MCP"),
        ):
            field.fill(wrong)
            page.get_by_role("button", name="Open").click()
            expect(page.get_by_role("dialog")).to_contain_text(reason)
        field.fill(key)
        page.keyboard.press("Enter")
        expect(page.locator("#users")).to_contain_text("ana")
        assert page.evaluate("JSON.stringify(localStorage) + document.cookie").count(key) == 0
        page.reload()  # the tab still has it
        expect(page.locator("#users")).to_contain_text("ana")


def test_no_other_page_can_ask_or_frame_it(memory: KronvexMemory, browser: Browser) -> None:
    memory.remember("tea", user_id="ana")
    body = '{"agent_id": "default", "user_id": "ana"}'

    async def evil(_: object) -> HTMLResponse:
        return HTMLResponse("<!doctype html><title>evil</title>")

    with serving(Starlette(routes=[Route("/", evil)])) as other:
        other = other.replace("127.0.0.1", "localhost")
        settings = ServerSettings(allowed_hosts=("127.0.0.1",), cors_origins=(other,))
        with serving(create_app(memory, settings, inspector=True)) as base:
            page = browser.new_page()
            page.goto(other)
            for script in (  # the last one is allowed by CORS, for the API
                """fetch(url, {method: "POST", body, mode: "no-cors"}).catch(String)""",
                """navigator.sendBeacon(url, new Blob([body], {type: "application/json"}))""",
                """(() => { const f = document.createElement("form");
                const i = document.createElement("input"), t = document.createElement("iframe");
                f.method = "POST"; f.enctype = "text/plain"; f.action = url; f.target = "t";
                i.name = body.slice(0, -1) + ',"x":"'; i.value = '"}'; f.append(i);
                t.name = "t"; document.body.append(t, f);
                return new Promise(done => { t.onload = () => done(1); f.submit(); }); })()""",
                """fetch(url, {method: "POST", body, headers: {"Content-Type": "application/json"}})
                .then(r => r.status, e => "blocked")""",
            ):
                url = f"{base}/inspector/api/forget"
                answer = page.evaluate(f"([url, body]) => {script}", [url, body])
            assert answer == 403
            frame = page.evaluate(
                """url => new Promise(done => { const t = document.createElement("iframe");
                t.onload = () => done(1); t.src = url; document.body.append(t); })""",
                f"{base}/inspector",
            )
            assert frame == 1
            assert not [each for each in page.frames if each.title() == "Memory inspector"]
            page.close()
            assert ask(base, "forget", {}, Sec_Fetch_Site="same-site").status_code == 403
            plain = httpx.post(f"{base}/inspector/api/forget", content=body, verify=False)
            assert plain.status_code == 422
            assert memory.users() != []
            own = ask(base, "forget", {"agent_id": "default", "user_id": "ana"})
            assert own.json() == {"forgotten": 1, "is_erasing": False}


def test_read_only_is_refused_by_the_server(memory: KronvexMemory) -> None:
    stored = memory.remember("tea", user_id="ana")
    with serving(create_app(memory, LOCAL, inspector="read-only")) as base:
        assert ask(base, "agents", {}).json()["read_only"] is True
        for verb in ACTIONS:
            body = {"agent_id": "default", "id": stored.id}
            body |= {"content": "coffee"} if verb in ("correct", "supersede") else {}
            answer = ask(base, verb, body)
            assert (answer.status_code, answer.json()) == (
                403, {"detail": "The inspector is read-only."},
            )  # fmt: skip
    assert memory.memories(user_id="ana") == [stored]


def test_requests_are_checked(memory: KronvexMemory) -> None:
    stored = memory.remember("tea", user_id="ana", session_id="monday")
    with serving(create_app(memory, LOCAL, inspector=True)) as base:
        mine = {"agent_id": "default"}
        for body, status in (
            ({}, 422), ({"user_id": ""}, 422), ({"session_id": "monday"}, 422),
            ({"id": stored.id, "user": "ana"}, 422), ({"id": stored.id, "user_id": "bob"}, 404),
            ({"id": "no such id"}, 404), ({"user_id": "bob"}, 404),
        ):  # fmt: skip
            assert ask(base, "forget", mine | body).status_code == status, body
        assert ask(base, "users", {"agent_id": "other"}).status_code == 404
        assert ask(base, "users", mine | {"offset": -1}).status_code == 422
        assert httpx.get(f"{base}/inspector/api/users", verify=False).status_code == 405
        one = ask(base, "memories", mine | {"user_id": "ana", "session_id": "ana"})
        assert one.json() == {"memories": [], "has_more": False}
    assert memory.memories(user_id="ana") == [stored]


def test_what_is_still_erased_in_the_background_is_said(
    open_memory: OpenMemory, tmp_path: Path
) -> None:
    memory = open_memory(timeout_seconds=0.1)
    wrong = memory.remember("Ana drinks tee.", user_id="ana")
    with (
        serving(create_app(memory, LOCAL, inspector=True)) as base,
        closing(sqlite3.connect(tmp_path / "memory.db", isolation_level=None)) as reader,
    ):
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM records").fetchall()
        body = {"agent_id": "default", "id": wrong.id, "content": "Ana drinks tea."}
        corrected = ask(base, "correct", body).json()
        assert corrected["memory"]["content"] == "Ana drinks tea."
        forgotten = ask(base, "forget", {"agent_id": "default", "user_id": "ana"}).json()
        assert forgotten == {"forgotten": None, "is_erasing": True}
        assert corrected["is_erasing"] is True
        reader.execute("COMMIT")
        assert memory.flush(30)
    assert memory.users() == []


def test_inspect_shows_every_agent_of_the_store_to_those_who_have_its_token(
    store: str, open_memory: OpenMemory, inspecting: Inspect, open_page: OpenPage
) -> None:
    create_key(store, "of the server")
    memory = open_memory(store)
    open_memory(store, agent_id="a/b").remember("Bob plays the cello.", user_id="bob")
    address = inspecting(memory)
    base = address.split("/inspector")[0]
    for key in ("", "kv-wrong", TOKEN[:-1]):
        assert ask(base, "agents", {}, X_API_Key=key).status_code in (401, 403)
    assert ask(base, "users", {"agent_id": "c"}, X_API_Key=TOKEN).status_code == 404
    assert httpx.get(f"{base}/api/v1/agents", verify=False).status_code in (401, 404)

    page = open_page(address)
    page.get_by_label("Agent").select_option("a/b")
    expect(page.locator("#users")).to_contain_text("bob")


def test_the_command_prints_an_address_and_opens_it_from_a_private_file(
    memory: KronvexMemory, store_url: str, tmp_path: Path
) -> None:
    memory.remember("Ana drinks tea.", user_id="ana")
    seen, done, script = tmp_path / "seen", tmp_path / "done", tmp_path / "browser"
    script.write_text(f'#!/bin/sh\nfile="${{1#file://}}"\nls -ld "${{file%/*}}" > {seen}\n'
                      f'echo "$1" >> {seen}\ncat "$file" >> {seen}\n> {done}\n')  # fmt: skip
    script.chmod(0o755)
    command = [sys.executable, "-m", "langchain_kronvex", "inspect", "--url", store_url]
    environ = {**os.environ, "BROWSER": str(script)}
    with subprocess.Popen(
        [*command, "--read-only"], stdout=subprocess.PIPE, env=environ
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().decode().strip()
        base, token = address.split("/inspector#")
        assert urlsplit(base).hostname == "127.0.0.1"
        assert len(token) >= 43
        assert ask(base, "agents", {}).status_code == 401
        answer = ask(base, "agents", {}, X_API_Key=token).json()
        assert answer["read_only"] is True
        assert answer["location"] == memory.location
        other = httpx.get(f"{base}/inspector", headers={"Host": "evil.example"}, verify=False)
        assert other.status_code == 400
        deadline = time.monotonic() + 30
        while not done.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.terminate()
        assert process.wait(30) == 0
    folder, opened, text = seen.read_text().split("\n", 2)
    assert folder.startswith("drwx------")
    assert token not in opened
    assert address in text
    assert not Path(urlsplit(opened).path).exists()


def test_the_command_says_why_it_cannot(
    store_url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["inspect", "--url", "https://api.example.com"]) == 2
    assert "serve --inspector" in capsys.readouterr().err
    assert main(["inspect", "--url", store_url]) == 1
    assert not (tmp_path / "memory.db").exists()
    KronvexMemory(store_url).close()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for port in (70_000, taken.getsockname()[1]):
            assert main(["inspect", "--url", store_url, "--port", str(port)]) == 2
            assert f"{port}" in capsys.readouterr().err
