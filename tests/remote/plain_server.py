"""A small Kronvex server in a thread: a compatible one by the contract, and no more.

Its methods can be overridden to make it bad (`bad_server.py`).
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

KEY = "kv-secret-key-of-the-tests"
WORDS = re.compile(r"\w+")


def now() -> datetime:
    return datetime.now(timezone.utc)


def iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")


def words(text: str) -> set[str]:
    return set(WORDS.findall(text.lower()))


def likeness(one: str, other: str) -> float:
    """Cosine of two texts as sets of words."""
    a, b = words(one), words(other)
    return len(a & b) / ((len(a) * len(b)) ** 0.5 or 1)


@dataclass
class Item:
    """A memory on the server."""

    content: str
    memory_type: str
    session_id: str | None
    metadata: dict[str, Any]
    pinned: bool
    expires_at: datetime | None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    created_at: datetime = field(default_factory=now)
    access_count: int = 0
    superseded: bool = False
    is_meta: bool = False

    def as_json(self, **more: Any) -> dict[str, Any]:
        return {
            "id": self.id, "agent_id": "a", "content": self.content,
            "session_id": self.session_id, "memory_type": self.memory_type,
            "type": self.memory_type, "metadata": self.metadata,
            "created_at": iso(self.created_at), "access_count": self.access_count,
            "expires_at": iso(self.expires_at), "pinned": self.pinned, "agent_memory_count": None,
            "deduplicated": False, "superseded": self.superseded, "superseded_by": None,
            "conflict_detected": False, "conflicts_resolved": 0, "is_meta": self.is_meta,
            "consolidation_count": 0, "user_id": None, **more,
        }  # fmt: skip


class Refused(Exception):
    """An answer that is not a success."""

    def __init__(self, status: int, detail: Any, headers: dict[str, str] | None = None) -> None:
        self.status, self.detail, self.headers = status, detail, headers or {}


@dataclass
class Call:
    """A request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str]


class PlainServer:
    """Keeps agents and memories in this process and serves them on loopback."""

    wants_uuids = False

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.agents: dict[str, str] = {}
        self.items: dict[str, list[Item]] = {}
        self.calls: list[Call] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    # -- what a test asks ----------------------------------------------------------------------

    def all_items(self) -> list[Item]:
        with self.lock:
            return [item for items in self.items.values() for item in items]

    def count(self, method: str, ending: str) -> int:
        return sum(c.method == method and c.path.endswith(ending) for c in self.calls)

    # -- answering -----------------------------------------------------------------------------

    def intercept(self, call: Call, handler: BaseHTTPRequestHandler) -> bool:
        """Answer a call in some way of one's own; True when that was done."""
        return False

    def intercept_after(self, call: Call, handler: BaseHTTPRequestHandler) -> bool:
        """As `intercept`, when the call has had its effect."""
        return False

    def answer(self, call: Call) -> tuple[int, Any]:
        if call.headers.get("x-api-key") != KEY:
            raise Refused(401, "Invalid or revoked API key.")
        parts = [unquote(part) for part in call.path.split("/")[1:]]
        if parts[:2] != ["api", "v1"]:
            raise Refused(404, "Not Found")
        with self.lock:
            if parts[2:] == ["agents"]:
                return self.agents_call(call)
            if len(parts) < 5 or parts[2] != "agents":
                raise Refused(404, "Not Found")
            return self.agent_call(call, self.agent(parts[3]), parts[4:])

    def agents_call(self, call: Call) -> tuple[int, Any]:
        if call.method == "POST":
            id_ = str(uuid.uuid4())
            self.agents[id_] = call.body["name"]
            return 201, {"id": id_, "name": call.body["name"], "created_at": iso(now())}
        return 200, [
            {"id": id_, "name": name, "created_at": "2026-01-01T00:00:00Z"}
            for id_, name in reversed(self.agents.items())
        ]

    def agent(self, id_: str) -> str:
        if self.wants_uuids:
            try:
                uuid.UUID(id_)
            except ValueError:
                wrong = {
                    "type": "uuid_parsing",
                    "loc": ["path", "agent_id"],
                    "msg": "",
                    "input": "",
                }
                raise Refused(422, [wrong]) from None
            if id_ not in self.agents:
                raise Refused(404, "Agent not found")
        return id_

    def agent_call(self, call: Call, agent: str, rest: list[str]) -> tuple[int, Any]:
        items = self.items.setdefault(agent, [])
        match (call.method, *rest):
            case ("POST", "remember"):
                return 201, self.remember(items, call.body)
            case ("POST", "recall"):
                return 200, self.recall(items, call.body)
            case ("GET", "memories"):
                return 200, self.listing(items, call.query)
            case ("DELETE", "memories"):
                count = len(items)
                items.clear()
                return 200, {"deleted": count}
            case ("DELETE", "memories", "user", uid):
                gone = [item for item in items if item.session_id == uid]
                items[:] = [item for item in items if item.session_id != uid]
                return 200, {"erased": len(gone)}
            case ("DELETE", "memories", id_):
                self.one(items, id_)
                items[:] = [item for item in items if item.id != id_]
                return 204, None
            case ("PATCH", "memories", id_):
                item = self.one(items, id_)
                item.memory_type = call.body.get("memory_type", item.memory_type)
                return 200, item.as_json()
        raise Refused(404, "Not Found")

    def one(self, items: list[Item], id_: str) -> Item:
        for item in items:
            if item.id == id_:
                return item
        raise Refused(404, "Memory not found")

    def remember(self, items: list[Item], body: dict[str, Any]) -> dict[str, Any]:
        new = self.new_item(body)
        same = (new.content, new.memory_type, new.session_id)
        for item in items:
            if (item.content, item.memory_type, item.session_id) == same:
                return item.as_json(deduplicated=True)
        items.append(new)
        return new.as_json(agent_memory_count=len(items))

    def new_item(self, body: dict[str, Any]) -> Item:
        if not body["content"].strip() or "\0" in body["content"]:
            raise Refused(422, [{"type": "value_error", "loc": ["body", "content"], "msg": "no"}])
        days = body.get("ttl_days")
        return Item(
            content=body["content"],
            memory_type=body.get("memory_type") or body.get("type") or "episodic",
            session_id=body.get("session_id") or body.get("user_id"),
            metadata=body.get("metadata", {}),
            pinned=body.get("pinned", False),
            expires_at=now() + timedelta(days=days) if days else None,
        )

    def recall(self, items: list[Item], body: dict[str, Any]) -> dict[str, Any]:
        assert 1 <= body["top_k"] <= 20
        found = [
            (likeness(body["query"], item.content), item)
            for item in items
            if body.get("session_id") in (None, item.session_id)
            and body.get("memory_type") in (None, item.memory_type)
            and not item.superseded
        ]
        found.sort(key=lambda each: -each[0])
        return self.found(body, found[: body["top_k"]])

    def found(self, body: dict[str, Any], found: list[tuple[float, Item]]) -> dict[str, Any]:
        for _, item in found:
            item.access_count += 1
        flat = [
            item.as_json(score=score, similarity=score, confidence=score) for score, item in found
        ]
        nested = [
            {"memory": item.as_json(), "similarity": score, "confidence": score}
            for score, item in found
        ]
        return {
            "query": body["query"], "total_found": len(found), "results": nested, "memories": flat
        }  # fmt: skip

    def listing(self, items: list[Item], query: dict[str, str]) -> dict[str, Any]:
        wanted = query.get("session_id")
        chosen = [item for item in reversed(items) if wanted in (None, item.session_id)]
        limit, offset = int(query["limit"]), int(query["offset"])
        page = chosen[offset : offset + limit]
        return {
            "memories": [item.as_json() for item in page], "total": len(chosen), "limit": limit,
            "offset": offset, "has_more": offset + limit < len(chosen),
            "page": offset // limit + 1, "per_page": limit, "pages": -(-len(chosen) // limit),
        }  # fmt: skip


def _handler(server: PlainServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def log_message(self, *_: object) -> None:
            pass

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except (ConnectionError, BrokenPipeError, ValueError):
                self.close_connection = True

        def do_call(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            call = Call(
                self.command,
                parts.path,
                {k: v[0] for k, v in parse_qs(parts.query, keep_blank_values=True).items()},
                json.loads(body) if body else None,
                {name.lower(): value for name, value in self.headers.items()},
            )
            server.calls.append(call)
            if server.intercept(call, self):
                return
            headers: dict[str, str] = {}
            try:
                status, answer = server.answer(call)
            except Refused as refused:
                status, answer = refused.status, {"detail": refused.detail}
                headers = refused.headers
            if server.intercept_after(call, self):
                return
            send(self, status, b"" if answer is None else json.dumps(answer).encode(), headers)

        do_GET = do_POST = do_PATCH = do_DELETE = do_call

    return Handler


def send(
    handler: BaseHTTPRequestHandler,
    status: int,
    body: bytes,
    headers: dict[str, str] | None = None,
) -> None:
    """Send a whole answer."""
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)
    handler.wfile.flush()


def wait_until(condition: Any, seconds: float = 10.0) -> None:
    """Wait until a condition holds; fail if it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.005)
