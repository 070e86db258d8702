"""Bodies: none is read before it is known who asks, or for longer than allowed. Real sockets."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from inside import create_key

from .running import Process, client

LARGE = 8 << 20
RECALL = "/api/v1/agents/a/recall"


@contextmanager
def connected(base: str) -> Iterator[socket.socket]:
    parts = urlsplit(base)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
        yield connection


def begin(
    connection: socket.socket, path: str, *headers: str, method: str = "POST", length: int = LARGE
) -> None:
    """Send the head of a request and the beginning of its body."""
    head = [
        f"{method} {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json",
        f"Content-Length: {length}", *headers,
    ]  # fmt: skip
    connection.sendall("\r\n".join([*head, "", '{"query": "']).encode())


def status_of(connection: socket.socket) -> int:
    answer = b""
    while b"\r\n" not in answer:
        part = connection.recv(4096)
        assert part, "closed without an answer"
        answer += part
    return int(answer.split()[1])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/health", 405), ("GET", "/health", 200), ("PUT", "/ping", 405),
     ("POST", "/nowhere", 404), ("POST", RECALL, 401),
     ("DELETE", "/api/v1/agents/a/memories", 401)],
)  # fmt: skip
def test_who_may_not_send_a_body_is_answered_before_it_is_sent(  # type: ignore[no-untyped-def]
    serve, store_url: str, method: str, path: str, status: int
) -> None:
    create_key(store_url, "app")
    base = serve()
    for headers in ((), ("Expect: 100-continue",), ("X-API-Key: kv-wrong",)):
        with connected(base) as connection:
            begin(connection, path, *headers, method=method)
            assert status_of(connection) == status


def test_a_body_that_takes_too_long_is_given_up(serve, store_url: str) -> None:  # type: ignore[no-untyped-def]
    _, secret = create_key(store_url, "app")
    base = serve(body_timeout_seconds=0.4)
    key = f"X-API-Key: {secret}"
    with connected(base) as stopped, connected(base) as dripping:
        begin(stopped, RECALL, key)
        begin(dripping, RECALL, key)
        with client(base, secret) as api:
            assert api.get("/agents").status_code == 200
        dripping.settimeout(0.05)
        answer = b""
        for _ in range(200):
            try:
                dripping.sendall(b"a")
                answer = dripping.recv(4096)
                break
            except TimeoutError:
                continue
        dripping.settimeout(20)
        answer += dripping.recv(4096)
        assert b" 408 " in answer
        assert b"0.4 seconds" in answer
        assert status_of(stopped) == 408
        while stopped.recv(4096):  # and the connection is closed
            pass


def test_a_body_in_pieces_arrives(serve) -> None:  # type: ignore[no-untyped-def]
    with client(serve(body_timeout_seconds=20)) as api:
        body = json.dumps({"content": "in pieces", "user_id": "ana"}).encode()

        def pieces() -> Iterator[bytes]:
            for at in range(0, len(body), 7):
                time.sleep(0.01)
                yield body[at : at + 7]

        headers = {"Content-Type": "application/json"}
        stored = api.post("/agents/a/remember", content=pieces(), headers=headers)
        assert stored.json()["content"] == "in pieces"


def resident_bytes(process: Process) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) << 10


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_strangers_fill_no_memory(server: Process, api: httpx.Client) -> None:
    assert api.get("/agents").status_code == 200
    before, sent = resident_bytes(server), 0
    with ExitStack() as opened:
        for path in ("/health", "/ping", "/nowhere", "/openapi.json") * 5:
            connection = opened.enter_context(connected(server.base_url))
            connection.settimeout(0.1)
            begin(connection, path, length=16 << 20)
            with suppress(TimeoutError, ConnectionError):
                for _ in range(15):
                    connection.sendall(b"x" * (1 << 20))
                    sent += 1 << 20
        assert api.get("/agents").status_code == 200
        assert resident_bytes(server) - before < max(sent, 80 << 20) / 8
