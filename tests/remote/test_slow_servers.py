"""Every verb ends in time, however slowly a server answers, and so does closing."""

from __future__ import annotations

import contextlib
import io
import time
import uuid
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from defaults import limit_pauses
from langchain_kronvex import ServerUnavailable

from .bad_server import FaultyServer, hang, status
from .conftest import Limit, Open
from .plain_server import Call, Item, PlainServer, wait_until


def drip_body(call: Call, handler: BaseHTTPRequestHandler) -> bool:
    """Send the answer very slowly, byte by byte."""
    handler.close_connection = True
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    with contextlib.suppress(OSError):  # nobody is there any more
        for _ in range(100):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.1)
    handler.wfile = io.BytesIO()
    return True


async def test_a_body_that_drips_ends_a_read_in_time(faulty: FaultyServer, open_on: Open) -> None:
    memory = open_on(faulty, timeout_seconds=0.4)
    assert memory.recall("zebra", user_id="ana") == []  # over a connection that is kept, too
    faulty.faults.extend([drip_body] * 6)
    started = time.monotonic()
    with pytest.raises(ServerUnavailable, match="ReadTimeout"):
        memory.recall("zebra", user_id="ana")
    with pytest.raises(ServerUnavailable, match="ReadTimeout"):
        await memory.arecall("zebra", user_id="ana")
    assert time.monotonic() - started < 3
    faulty.faults.clear()
    assert memory.recall("zebra", user_id="ana") == []
    assert await memory.arecall("zebra", user_id="ana") == []
    await memory.aclose()


@pytest.mark.parametrize("code", [429, 503])
def test_no_server_stops_the_outbox_for_long(
    faulty: FaultyServer, open_on: Open, monkeypatch: pytest.MonkeyPatch, limit: Limit, code: int
) -> None:
    limit_pauses(monkeypatch, 0.05)
    limit(outage_pause=0.05)
    faulty.only = "/remember"
    faulty.faults.append(status(code, Retry_After="3600" if code == 429 else "99999999"))
    memory = open_on(faulty)
    memory.remember("The zebra is asleep", user_id="ana")
    assert memory.flush(10)
    assert len(faulty.all_items()) == 1


def test_closing_waits_no_longer_than_it_says(
    faulty: FaultyServer, open_on: Open, limit: Limit
) -> None:
    limit(closing=0.3)
    faulty.only = "/remember"
    faulty.faults.append(hang(8.0))
    memory = open_on(faulty, timeout_seconds=30.0)
    stored = memory.remember("The zebra is asleep", user_id="ana")
    wait_until(lambda: faulty.count("POST", "/remember") == 1)
    started = time.monotonic()
    memory.close()
    assert time.monotonic() - started < 2

    again = open_on(faulty)  # in the same process: nobody is sending any more
    assert again.flush(5)
    assert again.get(stored.id) is not None
    assert len(faulty.all_items()) == 1


class Endless(PlainServer):
    """Lists new memories without end."""

    def listing(self, items: list[Item], query: dict[str, str]) -> dict[str, Any]:
        new = [Item(uuid.uuid4().hex, "fact", "ana", {}, False, None) for _ in range(64)]
        return {"memories": [item.as_json() for item in new], "total": 10**9}


def test_remembering_does_not_wait_for_an_endless_listing(open_on: Open, limit: Limit) -> None:
    limit(check=0.3)
    with Endless() as server:
        memory = open_on(server)
        started = time.monotonic()
        memory.remember("The zebra is asleep", user_id="ana")
        assert time.monotonic() - started < 2
        assert memory.flush(10)
        assert [item.content for item in server.all_items()] == ["The zebra is asleep"]
