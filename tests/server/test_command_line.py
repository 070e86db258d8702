"""The commands: the arguments they reject, and their error messages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from inside import main
from langchain_kronvex import ConfigurationError, InvalidInput, KronvexMemory
from langchain_kronvex.server import create_app

from .running import Process, client

HIDDEN = """
import sys
for name in {hidden!r}:
    sys.modules[name] = None
{code}
"""


def run_without(hidden: list[str], code: str) -> subprocess.CompletedProcess[str]:
    script = HIDDEN.format(hidden=hidden, code=code)
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize("hidden", [["fastapi"], ["uvicorn"]])
def test_a_missing_extra_says_how_to_get_it(hidden: list[str], tmp_path: Path) -> None:
    code = (
        "from langchain_kronvex.cli import main\n"
        f"sys.exit(main(['serve', '--url', 'sqlite:///{tmp_path / 'm.db'}']))"
    )
    done = run_without(hidden, code)
    assert done.returncode == 2
    assert 'pip install "langchain-kronvex[server]"' in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_import_says_so_too() -> None:
    code = (
        "from langchain_kronvex import MissingExtra\n"
        "try:\n    from langchain_kronvex.server import create_app\n"
        "except MissingExtra as error:\n    print(error)"
    )
    done = run_without(["fastapi"], code)
    assert 'pip install "langchain-kronvex[server]"' in done.stdout, done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com", ""])
def test_without_a_key_it_listens_to_this_machine_only(
    host: str, store_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--url", store_url, "--host", host]) == 2
    told = capsys.readouterr().err
    assert "keys create" in told
    assert store_url in told


@pytest.mark.slow
def test_with_a_key_it_listens_to_others_and_limits_them(
    store_url: str, log_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keys", "create", "--url", store_url, "--name", "app"]) == 0
    key = capsys.readouterr().out.strip()
    process = Process(store_url, log_file, "--host", "0.0.0.0")
    try:
        assert "no API key exists" not in process.log
        with client(process.base_url.replace("0.0.0.0", "127.0.0.1"), key) as api:
            answer = api.get("/agents", headers={"Host": "memory.example.com"})
            assert answer.status_code == 200
            assert answer.headers["x-ratelimit-limit"] == "600"
    finally:
        assert process.stop() == 0
    assert key not in process.log


def test_a_warning_is_logged_while_no_key_is_needed(server: Process) -> None:
    assert "no API key exists" in server.log


@pytest.mark.parametrize(
    "arguments",
    [["keys", "create", "--name", " "], ["serve", "--url", "https://api.kronvex.io"],
     ["serve", "--url", "mysql://x"],
     ["serve", "--embeddings", "no such provider"]],
    ids=str,
)  # fmt: skip
def test_errors_are_one_line(
    arguments: list[str], store_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = arguments if "--url" in arguments else [*arguments, "--url", store_url]
    assert main(given) == 2
    assert capsys.readouterr().err.startswith("langchain-kronvex: ")


def test_a_failure_is_told_from_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "list", "--url", "sqlite:////proc/none/m.db"]) == 1
    assert capsys.readouterr().err.startswith("langchain-kronvex: ")


def test_a_remote_memory_cannot_be_served_again(tmp_path: Path) -> None:
    with (
        KronvexMemory("http://127.0.0.1:9", outbox=tmp_path / "box.db") as remote,
        pytest.raises(ConfigurationError, match="serves the API already"),
    ):
        create_app(remote)


@pytest.mark.parametrize("given", ["sqlite://", None, 5, KronvexMemory])
def test_only_an_open_memory_can_be_served(given: Any) -> None:
    with pytest.raises(InvalidInput, match=r"create_app\(KronvexMemory\("):
        create_app(given)


def test_settings_are_of_their_own_type() -> None:
    with (
        KronvexMemory("sqlite://") as memory,
        pytest.raises(InvalidInput, match="settings must be ServerSettings, not dict"),
    ):
        create_app(memory, {"max_body_bytes": 1})  # type: ignore[arg-type]
