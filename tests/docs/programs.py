"""Examples as programs of their own, and as modules."""

from __future__ import annotations

import importlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from integration.crew import Crew

EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE = 30.0


def example(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import an example; its own imports are found beside it."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module(name)


@cache
def _crew() -> Crew:
    """Return a process with the libraries imported, which ends with this one."""
    return Crew(Path(__file__).parent)


def run_program(
    *arguments: object,
    folder: Path,
    environment: Mapping[str, str],
    answers: str = "",
    strict: bool = False,
) -> CompletedProcess[str]:
    """Run a program in a process of its own, which need not import the libraries again.

    Args:
        arguments: The path of the program, and its arguments.
        folder: Where it runs.
        environment: All of its environment variables.
        answers: What it reads from stdin.
        strict: Whether warnings are errors, except those about what is deprecated.
    """
    with tempfile.TemporaryDirectory() as streams:
        files = [Path(streams, name) for name in ("stdin", "stdout", "stderr")]
        for file, text in zip(files, (answers, "", ""), strict=True):
            file.write_text(text, encoding="utf-8")
        given = [*map(str, arguments)]
        child = _crew().start(
            "program", arguments=given, folder=str(folder), environment=dict(environment),
            streams=streams, strict=strict,
        )  # fmt: skip
        code = child.hear(120)
        child.finish()
        _, out, error = (file.read_text(encoding="utf-8") for file in files)
    return CompletedProcess(given, code, out, error)


def settings(folder: Path, model_url: str, **more: str) -> dict[str, str]:
    """Return an environment in which ChatOpenAI uses the stand-in server."""
    return {
        **os.environ,
        "OPENAI_API_KEY": "not-a-key",
        "OPENAI_BASE_URL": model_url,
        "XDG_DATA_HOME": str(folder / "data"),
        **more,
    }


class ChatServer:
    """`uvicorn fastapi_chat:create_app` as a process of its own."""

    def __init__(self, folder: Path, model_url: str, url: str) -> None:
        self._log = folder / "server.log"
        with self._log.open("w") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", "fastapi_chat:create_app", "--factory",
                 "--app-dir", str(EXAMPLES), "--port", "0"],
                stdout=out, stderr=out, env=settings(folder, model_url, KRONVEX_URL=url),
            )  # fmt: skip
        self.base_url = self._wait()

    def _wait(self) -> str:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = re.search(r"running on (http://\S+)", self.log)
            if found:
                return found[1]
            assert self._process.poll() is None, self.log
            time.sleep(0.02)
        raise AssertionError(self.log)

    @property
    def log(self) -> str:
        """What it has printed."""
        return self._log.read_text()

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(PATIENCE)
        assert "Application shutdown complete" in self.log
        assert "Traceback" not in self.log
