"""Memories that cannot be read, and successes that do not show the stored memory."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from defaults import limit_pauses
from inside import RESERVED
from langchain_kronvex import KronvexMemory, ServerMisbehaved, WriteLost

from .bad_server import FaultyServer, status
from .conftest import Open
from .plain_server import Call, Item, PlainServer, send, wait_until

GOOD = "The zebra is asleep"


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    limit_pauses(monkeypatch, 0.05)


def nested(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def envelope(**more: Any) -> dict[str, Any]:
    told = {
        "v": 1, "kind": "memory", "id": "z", "user_id": "ana", "session_id": None,
        "type": "fact", "created_at": "2026-01-01T00:00:00Z", "expires_at": None, "pinned": False,
        "written": 1, "version": 1,
    }  # fmt: skip
    return {"metadata": {RESERVED: {**told, **more}}}


STRANGE: dict[str, dict[str, Any]] = {
    "content": {"content": "The zebra \ud800"},
    "type": {"memory_type": "\ud800"},
    "id": {"id": "\udfff"},
    "session": {"session_id": "\ud800"},
    "number as session": {"session_id": 5},
    "deep metadata": {"metadata": nested(300)},
    "many accesses": {"access_count": 10**400},
    "envelope": envelope(metadata="[" * 5000),
    "deep envelope": envelope(metadata=json.dumps(nested(300))),
    "list as metadata": envelope(metadata="[[1, 2]]"),
    "id in the envelope": envelope(id="\ud800"),
    "key in the envelope": envelope(key="\ud800"),
    "words in the envelope": envelope(search_text="\ud800"),
    "content in the envelope": envelope(content=["x"]),
    "text in the metadata": {"metadata": {"\ud800": "\ud800"}},
}


class Strange(PlainServer):
    """Adds one strange memory to all that it returns, until it is erased."""

    strange: dict[str, Any] | None = None

    def found(self, body: dict[str, Any], found: list[tuple[float, Item]]) -> dict[str, Any]:
        return self.with_strange(super().found(body, found))

    def listing(self, items: list[Item], query: dict[str, str]) -> dict[str, Any]:
        return self.with_strange(super().listing(items, query))

    def with_strange(self, answer: dict[str, Any]) -> dict[str, Any]:
        if self.strange is not None:
            item = Item("The zebra is strange", "fact", "ana", {}, False, None)
            answer["memories"].append({**item.as_json(), "id": "strange", **self.strange})
        return answer

    def agent_call(self, call: Call, agent: str, rest: list[str]) -> tuple[int, Any]:
        if call.method == "DELETE":
            self.strange = None
        return super().agent_call(call, agent, rest)


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE.keys())
def test_one_strange_memory_takes_no_other_with_it(
    open_on: Open, told: list[Exception], tmp_path: Path, strange: dict[str, Any]
) -> None:
    with Strange() as server:
        memory = open_on(server, timeout_seconds=10)
        memory.remember(GOOD, user_id="ana")
        assert memory.flush(10)
        server.strange = strange
        assert GOOD in {m.content for m in memory.recall("zebra", user_id="ana")}
        assert GOOD in memory.inject_context("zebra", user_id="ana").context
        assert GOOD in {m.content for m in memory.memories(user_id="ana")}
        assert memory.remember(GOOD, user_id="ana").deduplicated
        assert memory.flush(10)
        assert memory.stats().memories >= 1
        assert "ana" in {s.session_id or s.user_id for s in memory.sessions()}
        memory.export(tmp_path / "all.jsonl")
        with KronvexMemory("sqlite://", embeddings=False) as moved:
            moved.import_(tmp_path / "all.jsonl")
            assert GOOD in {m.content for m in moved.memories(user_id="ana")}
        memory.clear()
        assert server.all_items() == []
        assert len([e for e in told if "cannot be read" in str(e)]) <= 1


def test_what_cannot_be_read_is_reported_once_and_erased_with_its_user(
    open_on: Open, told: list[Exception]
) -> None:
    with Strange() as server:
        memory = open_on(server)
        server.strange = STRANGE["content"]
        assert memory.recall("zebra", user_id="ana") == memory.memories(user_id="ana") == []
        assert [type(error) for error in told] == [ServerMisbehaved]
        assert memory.forget(user_id="ana") == 0
        assert server.strange is None


def test_a_strange_refusal_can_be_printed(faulty: FaultyServer, open_on: Open) -> None:
    memory = open_on(faulty)
    for detail in ([{"loc": ["body", "\ud800"], "type": "\ud800"}], nested(300), [nested(300)]):
        faulty.faults.append(status(422, detail))
        with pytest.raises(Exception, match="HTTP 422") as caught:
            memory.recall("zebra", user_id="ana")
        assert str(caught.value).encode()


SILENT = {
    "an id": b'{"id": "zz"}',
    "a status": b'{"status": "queued"}',
    "nothing": b"",
    "null": b"null",
    "no session": json.dumps({"id": "zz", "content": GOOD}).encode(),
    "no metadata": json.dumps(
        {"id": "zz", "content": GOOD, "session_id": "ana", "metadata": {}}
    ).encode(),
}


class Silent(PlainServer):
    """Stores memories, or nothing, and returns only a success."""

    said = b""
    stores = True
    hides = 0  # listings before it is shown

    def intercept(self, call: Call, handler: BaseHTTPRequestHandler) -> bool:
        if call.path.endswith("/remember") and not self.stores:
            send(handler, 201, self.said)
            return True
        return False

    def intercept_after(self, call: Call, handler: BaseHTTPRequestHandler) -> bool:
        if call.path.endswith("/remember"):
            send(handler, 201, self.said)
            return True
        return False

    def listing(self, items: list[Item], query: dict[str, str]) -> dict[str, Any]:
        hidden = bool(items) and self.hides > 0
        self.hides -= hidden
        return super().listing([] if hidden else items, query)


@pytest.mark.parametrize("said", SILENT.values(), ids=SILENT.keys())
@pytest.mark.parametrize("hides", [0, 3], ids=["at once", "later"])
def test_a_success_that_shows_nothing_is_looked_for_and_not_sent_again(
    open_on: Open, said: bytes, hides: int
) -> None:
    with Silent() as server:
        memory = open_on(server)
        memory.memories(user_id="ana")
        server.said, server.hides = said, hides
        memory.remember(GOOD, user_id="ana")
        assert memory.flush(20)
        assert server.count("POST", "/remember") == 1
        assert (memory.stats().failed, memory.stats().pending) == (0, 0)
        server.hides = 0
        assert [m.content for m in memory.memories(user_id="ana")] == [GOOD]


def test_messages_need_what_the_server_drops(open_on: Open, told: list[Exception]) -> None:
    class Forgetful(PlainServer):
        def new_item(self, body: dict[str, Any]) -> Item:
            return super().new_item({**body, "metadata": {}})

    with Forgetful() as server:
        memory = open_on(server)
        memory.chat_history("s", user_id="ana").add_user_message("Hello.")
        wait_until(lambda: memory.stats().failed == 1, 20)
        assert server.count("POST", "/remember") == 2  # the message, and what is remembered of it
        assert [m.content for m in memory.chat_history("s", user_id="ana").messages] == ["Hello."]
        assert any(isinstance(error, WriteLost) for error in told)


def test_what_was_never_stored_is_kept_here(open_on: Open, told: list[Exception]) -> None:
    with Silent() as server:
        server.said, server.stores = b'{"status": "queued"}', False
        memory = open_on(server)
        memory.remember(GOOD, user_id="ana")
        wait_until(lambda: memory.stats().failed == 1, 20)
        assert server.count("POST", "/remember") == 1
        assert [m.content for m in memory.recall("zebra", user_id="ana")] == [GOOD]
        assert any(isinstance(error, WriteLost) for error in told)
