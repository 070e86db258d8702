"""Servers for the tests: a process of the command line, or an app in a thread of this process."""

from __future__ import annotations

import http.client
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import uvicorn

PATIENCE = 30.0


class Process:
    """`langchain-kronvex serve`, or another command that listens, as a process of its own."""

    def __init__(
        self, url: str, log: Path, *options: str, command: Sequence[str] = ("serve", "--port", "0")
    ) -> None:
        self._log = log
        with log.open("w") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "langchain_kronvex.cli", *command, "--url", url, *options],
                stdout=out, stderr=out,
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
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        return self._log.read_text()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(PATIENCE)

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        return self._process.wait(PATIENCE)

    def stop(self) -> int:
        if self._process.poll() is None:
            self.terminate()
        return self.wait()


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serve an app from a thread; yield the base URL."""
    config = uvicorn.Config(app, port=0, log_config=None, access_log=False, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + PATIENCE
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE)


def client(base_url: str, key: str | None = None, **options: Any) -> httpx.Client:
    """An HTTP client as the tutorials use one: the base ends in /api/v1."""
    headers = {"X-API-Key": key} if key else {}
    # There is nothing to verify, and it takes time.
    options = {"timeout": 30, "verify": False, **options}
    return httpx.Client(base_url=f"{base_url}/api/v1", headers=headers, **options)


def ask(
    base: str, method: str, target: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
) -> tuple[int, dict[str, str], bytes]:
    """Send a request exactly as it is given."""
    connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=20)
    try:
        connection.putrequest(method, target)
        for name, value in headers:
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()
