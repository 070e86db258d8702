"""A server with every known weakness, and faults that a test can order."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

from .plain_server import Call, Item, PlainServer, Refused, likeness, send

Fault = Callable[[Call, BaseHTTPRequestHandler], bool]


class FaultyServer(PlainServer):
    """A good server whose next answers can be replaced by faults.

    Attributes:
        faults: Used up one by one, before a call has its effect.
        late_faults: As `faults`, after a call has had its effect.
        only: The calls that are spoilt, by the ending of their path; "" for all.
    """

    def __init__(self) -> None:
        self.faults: deque[Fault] = deque()
        self.late_faults: deque[Fault] = deque()
        self.only = ""
        super().__init__()

    def intercept(self, call: Call, handler: BaseHTTPRequestHandler) -> bool:
        return self._spoil(self.faults, call, handler)

    def intercept_after(self, call: Call, handler: BaseHTTPRequestHandler) -> bool:
        return self._spoil(self.late_faults, call, handler)

    def _spoil(self, faults: deque[Fault], call: Call, handler: BaseHTTPRequestHandler) -> bool:
        if not faults or not call.path.endswith(self.only):
            return False
        return faults.popleft()(call, handler)


def status(code: int, detail: Any = "no", **headers: str) -> Fault:
    """Answer with a status."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    def fault(call: Call, handler: BaseHTTPRequestHandler) -> bool:
        send(handler, code, json.dumps({"detail": detail}).encode(), named)
        return True

    return fault


def body(raw: bytes, code: int = 200, **headers: str) -> Fault:
    """Answer with these bytes."""

    def fault(call: Call, handler: BaseHTTPRequestHandler) -> bool:
        send(handler, code, raw, headers)
        return True

    return fault


def truncated(call: Call, handler: BaseHTTPRequestHandler) -> bool:
    """Announce more bytes than are sent, then close the connection."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"id": "x", "cont')
    handler.wfile.flush()
    handler.close_connection = True
    return True


def reset(call: Call, handler: BaseHTTPRequestHandler) -> bool:
    """Reset the connection in the middle of the answer."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
    handler.wfile.flush()
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()
    return True


def hang(seconds: float) -> Fault:
    """Send nothing for a while, then close the connection."""

    def fault(call: Call, handler: BaseHTTPRequestHandler) -> bool:
        time.sleep(seconds)
        handler.close_connection = True
        return True

    return fault


def huge(megabytes: int) -> Fault:
    """Send many megabytes of JSON."""

    def fault(call: Call, handler: BaseHTTPRequestHandler) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", str(megabytes << 20))
        handler.end_headers()
        for _ in range(megabytes):
            handler.wfile.write(b" " * (1 << 20))
        return True

    return fault


class BadServer(FaultyServer):
    """All weaknesses of the open-source server; agents also have ids that the server chooses.

    Attributes:
        merge_every: After how many writes similar memories are merged.
        endless: Listings ignore every parameter and say that there is always more.
    """

    wants_uuids = True
    merge_every = 50
    endless = False

    def remember(self, items: list[Item], body: dict[str, Any]) -> dict[str, Any]:
        new = self.new_item({**body, "type": None, "user_id": None})  # the tutorials' words
        for item in items:  # of the whole agent
            if likeness(item.content, new.content) >= 0.95:
                return item.as_json(deduplicated=True)
        hidden = 0
        for item in items:
            if not item.pinned and 0.72 <= likeness(item.content, new.content) < 0.95:
                item.superseded = True
                hidden += 1
        if new.memory_type == "episodic" and not new.pinned:
            new.memory_type = "fact"
        items.append(new)
        if len(items) % self.merge_every == 0:
            self.merge(items)
        return new.as_json(conflicts_resolved=hidden, conflict_detected=hidden > 0)

    def merge(self, items: list[Item]) -> None:
        """Make one memory, of no session, of those that are alike and not pinned."""
        for item in list(items):
            alike = [o for o in items if not o.pinned and likeness(item.content, o.content) >= 0.6]
            if len(alike) > 1 and item in alike:
                text = " / ".join(each.content for each in alike)
                made = Item(text, "semantic", None, dict(item.metadata), False, None, is_meta=True)
                items[:] = [each for each in items if each not in alike] + [made]

    def recall(self, items: list[Item], body: dict[str, Any]) -> dict[str, Any]:
        answer = super().recall(items, body)
        # What an index of names finds, whatever was asked for.
        named = [(0.5, item) for item in items if likeness(item.content, body["query"]) > 0]
        added = self.found(body, named)["results"]
        results = [*answer["results"], *added]
        return {"query": body["query"], "total_found": len(results), "results": results}

    def listing(self, items: list[Item], query: dict[str, str]) -> dict[str, Any]:
        if self.endless:
            page = [item.as_json() for item in items[:20]]
            return {"memories": page, "total": 10**9, "page": 1, "per_page": 20, "pages": 10**9}
        number, size = int(query["page"]), int(query["per_page"])
        chosen = list(reversed(items))
        page = chosen[(number - 1) * size : number * size]
        return {
            "memories": [item.as_json() for item in page], "total": len(chosen), "page": number,
            "per_page": size, "pages": -(-len(chosen) // size),
        }  # fmt: skip

    def agent_call(self, call: Call, agent: str, rest: list[str]) -> tuple[int, Any]:
        if rest[:2] == ["memories", "user"] and call.method == "DELETE":
            raise Refused(500, "An internal error occurred.")
        return super().agent_call(call, agent, rest)
