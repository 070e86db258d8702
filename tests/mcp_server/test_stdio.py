"""A process over stdio: the SDK's client, what stdout holds, and how the process ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import OpenMemory
from inside import main

from .clients import CLI, PATIENCE, contents, ok, over_stdio, raw_lines, refused

NOISE = """
import os, sys
from langchain_kronvex import KronvexMemory
from langchain_kronvex.cli import main

remember = KronvexMemory.remember
def noisy(*args, **options):
    print("noise")
    os.write(1, b"noise from below")
    return remember(*args, **options)
KronvexMemory.remember = noisy
sys.exit(main(["mcp", "--url", sys.argv[1], "--user-id", "ana"]))
"""


async def test_two_processes_serve_two_users_of_one_store(
    any_store_url: str, tmp_path: Path, open_memory: OpenMemory
) -> None:
    async with (
        over_stdio(any_store_url, tmp_path / "a", "--user-id", "ana") as ana,
        over_stdio(any_store_url, tmp_path / "b", "--user-id", "bob", "--read-only") as bob,
    ):
        tea = await ok(ana, "remember", content="Ana drinks tea.")
        assert contents(await ok(ana, "recall", query="tea")) == ["Ana drinks tea."]
        assert contents(await ok(bob, "recall", query="tea")) == []
        assert "no tool of this name" in await refused(bob, "forget", id=tea["memory"]["id"])
        await asyncio.gather(*(ok(ana, "remember", content=f"Number {n}.") for n in range(10)))
    assert open_memory(any_store_url).stats().memories == 11


async def test_the_session_and_the_agent_are_those_of_the_command_line(
    store_url: str, tmp_path: Path, open_memory: OpenMemory
) -> None:
    options = ["--user-id", "ana", "--session-id", "desk", "--agent", "shop"]
    async with over_stdio(store_url, tmp_path / "log", *options) as model:
        await ok(model, "remember", content="Ana drinks tea.")
    (stored,) = open_memory(agent_id="shop").memories(user_id="ana")
    assert (stored.user_id, stored.session_id) == ("ana", "desk")
    assert open_memory().stats().memories == 0


def test_what_was_acknowledged_survives_a_kill(
    any_store_url: str, tmp_path: Path, open_memory: OpenMemory
) -> None:
    for number in range(2):
        command = [*CLI, "mcp", "--url", any_store_url, "--user-id", "ana"]
        with raw_lines(tmp_path / "log", *command) as server:
            server.call("remember", content=f"Number {number}.")
            server.process.kill()
    found = open_memory(any_store_url).memories(user_id="ana")
    assert {each.content for each in found} == {"Number 0.", "Number 1."}


def test_stdout_belongs_to_the_protocol_and_the_end_of_stdin_ends_the_process(
    store_url: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with raw_lines(log, "-c", NOISE, store_url) as server:
        assert not server.call("remember", content="SECRET tea.")["isError"]
        assert not server.call("recall", query="SECRET tea")["isError"]
        server.send("tools/call", name=5, arguments="SECRET")  # malformed
        server.process.stdout.readline()
        assert server.end() == 0
        assert server.process.stdout.read() == ""
    told = log.read_text()
    assert "noise\n" in told
    assert "noise from below" in told
    assert "SECRET" not in told
    assert "Traceback" not in told


def test_a_signal_ends_the_process_and_keeps_what_was_said(
    store_url: str, tmp_path: Path, open_memory: OpenMemory
) -> None:
    with raw_lines(tmp_path / "log", *CLI, "mcp", "--url", store_url, "--user-id", "ana") as server:
        server.call("remember", content="Ana drinks tea.")
        server.call("recall", query="tea")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 0
    (stored,) = open_memory().memories(user_id="ana")
    assert stored.access_count == 1  # counted in the background


def test_a_client_that_stops_reading_causes_no_traceback(store_url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with raw_lines(log, *CLI, "mcp", "--url", store_url, "--user-id", "ana") as server:
        assert server.process.stdout
        server.process.stdout.close()
        server.send("tools/list")
        assert server.end() == 1
    assert "Traceback" not in log.read_text()
    assert "cannot be served" in log.read_text()


def test_a_user_must_be_named(store_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mcp", "--url", store_url]) == 2
    assert "--user-id" in capsys.readouterr().err


def test_a_missing_extra_says_how_to_get_it(store_url: str) -> None:
    code = "import sys; sys.modules['mcp'] = None\nfrom langchain_kronvex.cli import main\n"
    code += f"sys.exit(main(['mcp', '--url', {store_url!r}, '--user-id', 'ana']))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE,
        env=dict(os.environ), check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert 'pip install "langchain-kronvex[mcp]"' in done.stderr
    assert "Traceback" not in done.stderr
