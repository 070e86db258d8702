"""Faults of network and server: errors of ours, no duplicates, no losses, no key in a text."""

from __future__ import annotations

import logging
import time
import traceback
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from defaults import limit_pauses, set_default
from inside import Transport
from langchain_kronvex import (
    AgentNotFound,
    BadRequest,
    ConfigurationError,
    KronvexError,
    KronvexMemory,
    MemoryClosed,
    NotSupported,
    QuotaExceeded,
    RateLimited,
    ServerMisbehaved,
    ServerUnavailable,
    Unauthorized,
    __version__,
    with_memory,
)

from .bad_server import (
    FaultyServer,
    body,
    hang,
    huge,
    reset,
    status,
    truncated,
)
from .conftest import Limit, Open
from .plain_server import KEY, PlainServer, wait_until

VALIDATION = [{"type": "missing", "loc": ["body", "query"], "msg": "no", "input": "secret zebra"}]
DAILY: Any = {"error": "daily_quota_exceeded", "current": 200, "limit": 200}
READ_FAULTS: list[tuple[str, Any, type[KronvexError]]] = [
    ("401", status(401, "Invalid or revoked API key."), Unauthorized),
    ("402", status(402, {"error": "memory_limit_reached", "limit": 100}), QuotaExceeded),
    ("403", status(403), Unauthorized),
    ("404", status(404, "Not Found"), AgentNotFound),
    ("405", status(405, "Method Not Allowed"), BadRequest),
    ("422", status(422, VALIDATION), BadRequest),
    ("429 without a word", status(429, "Rate limit exceeded"), RateLimited),
    ("429 for long", status(429, "Rate limit exceeded", Retry_After="60"), RateLimited),
    ("429 for the day", status(429, DAILY, Retry_After="86400"), QuotaExceeded),
    ("500", status(500), ServerUnavailable),
    ("503", status(503, {"error": "embedding_unavailable"}), ServerUnavailable),
    ("reset", reset, ServerUnavailable),
    ("truncated", truncated, ServerUnavailable),
    ("hang", hang(1.2), ServerUnavailable),
    ("a web page", body(b"<html>zebra</html>"), ServerMisbehaved),
    ("empty", body(b""), ServerMisbehaved),
    ("a number", body(b"7"), ServerMisbehaved),
    ("null", body(b"null"), ServerMisbehaved),
    ("no lists", body(b'{"memories": {}, "results": "x"}'), ServerMisbehaved),
    ("deep", body(b"[" * 200_000), ServerMisbehaved),
    ("elsewhere", status(307, Location="http://other.invalid/x"), ServerMisbehaved),
    ("moved", status(301, Location="/elsewhere"), ServerMisbehaved),
]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    set_default(monkeypatch, Transport, "first_pause", 0.002)
    limit_pauses(monkeypatch, 0.05)


@pytest.mark.parametrize(
    ("fault", "kind"), [each[1:] for each in READ_FAULTS], ids=[each[0] for each in READ_FAULTS]
)
async def test_a_read_fails_with_an_error_of_ours(
    faulty: FaultyServer, open_on: Open, caplog: pytest.LogCaptureFixture, fault: Any, kind: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    memory = open_on(faulty, timeout_seconds=0.4, agent_id="0b7e6b5e-29a6-4a5e-8d0f-000000000000")
    faulty.faults.extend([fault] * 3)
    with pytest.raises(kind) as caught:
        memory.recall("zebra", user_id="ana")
    faulty.faults.clear()
    faulty.faults.extend([fault] * 3)
    with pytest.raises(kind) as later:
        await memory.arecall("zebra", user_id="ana")
    for each in (caught, later):
        text = "".join(traceback.format_exception(each.value)) + repr(each.value)
        assert KEY not in text
        assert "input" not in str(each.value)
    assert "zebra" not in str(caught.value)
    assert KEY not in caplog.text
    assert "zebra" not in caplog.text
    faulty.faults.clear()
    assert memory.recall("zebra", user_id="ana") == []
    await memory.aclose()


@pytest.mark.parametrize(
    "fault",
    [
        status(503), status(502), status(504), status(500), reset, truncated,
        status(429, "Rate limit exceeded", Retry_After="0.05".split(".")[0] + "1"),
    ],
)  # fmt: skip
async def test_a_read_is_tried_again_when_the_fault_passes(
    faulty: FaultyServer, open_on: Open, fault: Any
) -> None:
    memory = open_on(faulty)
    faulty.faults.append(fault)
    assert memory.recall("zebra", user_id="ana") == []
    faulty.faults.append(fault)
    assert await memory.arecall("zebra", user_id="ana") == []
    await memory.aclose()


def test_a_daily_quota_is_not_tried_again(faulty: FaultyServer, open_on: Open) -> None:
    memory = open_on(faulty)
    faulty.faults.extend([status(429, DAILY, Retry_After="86400")] * 3)
    with pytest.raises(QuotaExceeded):
        memory.recall("zebra", user_id="ana")
    assert len(faulty.calls) == 1


def test_an_answer_of_fifty_megabytes_is_not_taken_in(faulty: FaultyServer, open_on: Open) -> None:
    memory = open_on(faulty, timeout_seconds=10)
    faulty.faults.append(huge(50))
    with pytest.raises(ServerMisbehaved, match="larger than 32 MiB"):
        memory.recall("zebra", user_id="ana")


def test_the_key_does_not_follow_a_redirect_elsewhere(
    faulty: FaultyServer, plain: PlainServer, open_on: Open
) -> None:
    memory = open_on(faulty)
    faulty.faults.append(status(307, Location=f"{plain.url}/api/v1/agents/default/recall"))
    with pytest.raises(ServerMisbehaved, match="redirects"):
        memory.recall("zebra", user_id="ana")
    assert plain.calls == []


def test_nobody_listens(open_on: Open) -> None:
    with PlainServer() as server:
        pass
    memory = open_on(server)
    with pytest.raises(ServerUnavailable, match="cannot be reached"):
        memory.recall("zebra", user_id="ana")
    stored = memory.remember("The zebra is asleep", user_id="ana")
    assert memory.stats().pending == 1
    assert memory.get(stored.id) is not None
    assert memory.flush(0.1) is False


WRITE_FAULTS: list[tuple[str, Any]] = [
    ("reset", reset),
    ("truncated", truncated),
    ("hang", hang(0.6)),
    ("500", status(500)),
    ("503", status(503)),
    ("a web page", body(b"<html>")),
    ("429", status(429, "Rate limit exceeded", Retry_After="1")),
]


@pytest.mark.parametrize("fault", [f[1] for f in WRITE_FAULTS], ids=[f[0] for f in WRITE_FAULTS])
@pytest.mark.parametrize("late", [False, True], ids=["before", "after it was stored"])
def test_a_memory_is_stored_exactly_once(
    faulty: FaultyServer, open_on: Open, fault: Any, late: bool
) -> None:
    memory = open_on(faulty, timeout_seconds=0.3)
    faulty.only = "/remember"
    (faulty.late_faults if late else faulty.faults).extend([fault] * 2)
    one = memory.remember("The zebra is asleep", user_id="ana", ttl_days=3)
    two = memory.remember("The zebra is awake", user_id="ana")
    assert memory.flush(20)
    assert [item.content for item in faulty.all_items()] == [one.content, two.content]
    assert memory.stats().failed == memory.stats().pending == 0
    assert {m.id for m in memory.memories(user_id="ana")} == {one.id, two.id}


@pytest.mark.parametrize("code", [400, 413, 422])
def test_what_the_server_will_never_take_is_set_aside_and_reported(
    faulty: FaultyServer, open_on: Open, told: list[Exception], code: int
) -> None:
    memory = open_on(faulty)
    faulty.only = "/remember"
    faulty.faults.append(status(code))
    memory.remember("The zebra is asleep", user_id="ana")
    memory.remember("The zebra is awake", user_id="ana")
    assert memory.flush(10)
    assert [type(error) for error in told] == [BadRequest]
    assert [item.content for item in faulty.all_items()] == ["The zebra is awake"]
    stats = memory.stats()
    assert (stats.failed, stats.pending, stats.memories) == (1, 0, 2)
    assert len(memory.recall("zebra", user_id="ana")) == 2


def test_one_entry_that_always_fails_holds_up_its_session_only_for_a_while(
    faulty: FaultyServer, open_on: Open
) -> None:
    def poisoned(call: Any, handler: Any) -> bool:
        faulty.faults.append(poisoned)
        return call.body["content"] == "poison" and status(500)(call, handler)

    faulty.only = "/remember"
    faulty.faults.append(poisoned)
    memory = open_on(faulty)
    memory.remember("poison", user_id="ana")
    memory.remember("The zebra is awake", user_id="ana")
    memory.remember("The lion is awake", user_id="bob")
    assert memory.flush(20)
    assert {item.session_id for item in faulty.all_items()} == {"ana", "bob"}
    assert memory.stats().failed == 1


@pytest.mark.parametrize("fault", [status(401), status(402), status(404, "Not Found")])
def test_a_wrong_key_or_a_full_plan_loses_nothing(
    faulty: FaultyServer, open_on: Open, told: list[Exception], fault: Any,
    limit: Limit,
) -> None:  # fmt: skip
    limit(quota_pause=0.05)
    memory = open_on(faulty, agent_id="0b7e6b5e-29a6-4a5e-8d0f-000000000000")
    faulty.only = "/remember"
    faulty.faults.extend([fault] * 4)
    memory.remember("The zebra is asleep", user_id="ana")
    assert memory.flush(10)
    assert len(told) == 1
    assert len(faulty.all_items()) == 1
    assert memory.stats().failed == 0


async def test_the_chat_goes_on_without_the_server(open_on: Open, told: list[Exception]) -> None:
    from langchain_core.language_models.fake_chat_models import FakeListChatModel
    from langchain_core.prompts import ChatPromptTemplate

    with PlainServer() as server:
        pass
    memory = open_on(server)
    prompt = ChatPromptTemplate.from_messages(
        [("system", "{memory_context}"), ("placeholder", "{chat_history}"), ("human", "{input}")]
    )
    chain = with_memory(prompt | FakeListChatModel(responses=["Hello."]), memory)
    config: Any = {"configurable": {"user_id": "ana", "session_id": "s"}}
    assert (await chain.ainvoke({"input": "Hi."}, config)).content == "Hello."
    assert memory.stats().pending == 4
    assert told
    await memory.aclose()


# -- keys, URLs and clients ------------------------------------------------------------------------


def test_a_client_of_ones_own_is_used_and_not_closed(plain: PlainServer, open_on: Open) -> None:
    seen: list[httpx.Request] = []
    with httpx.Client(event_hooks={"request": [seen.append]}) as client:
        memory = open_on(plain, http_client=client)
        memory.remember("tea", user_id="ana")
        assert memory.recall("tea", user_id="ana")
        memory.close()
        assert "POST" in {request.method for request in seen}
        agents = {request.headers["User-Agent"] for request in seen}
        assert agents == {f"langchain-kronvex/{__version__}"}
        assert not client.is_closed
    assert "x-api-key" not in client.headers


def test_connections_are_kept(plain: PlainServer, open_on: Open) -> None:
    memory = open_on(plain)
    memory.remember("tea", user_id="ana")
    started = time.monotonic()
    for _ in range(50):
        memory.recall("tea", user_id="ana")
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "url", ["", "/", "/api/v1", "/api/v1/"], ids=["plain", "slash", "suffix", "both"]
)
def test_any_form_of_the_url(plain: PlainServer, open_on: Open, url: str) -> None:
    with KronvexMemory(plain.url + url, api_key=SecretStr(KEY)) as memory:
        assert memory.recall("tea", user_id="ana") == []
        assert memory.location == plain.url


def test_an_agent_and_ids_with_any_characters(plain: PlainServer, open_on: Open) -> None:
    for agent in ("a/b ?#%", "..", "ü\n"):
        memory = open_on(plain, agent_id=agent)
        memory.remember("tea", user_id="../ana?x=1&y")
        assert memory.flush(10)
        assert len(memory.memories(user_id="../ana?x=1&y")) == 1
        assert memory.forget(user_id="../ana?x=1&y") == 1
    assert set(plain.items) == {"a/b ?#%", "..", "ü\n"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "http://example.com"}, "not encrypted"),
        ({"url": "https://example.com", "api_key": None}, "KRONVEX_API_KEY"),
        ({"url": "https://user:secret@example.com"}, "api_key"),
        ({"url": "https://example.com?key=secret"}, "parameters"),
        ({"url": "https://"}, "https://host"),
        ({"url": "https://example.com:x"}, "well-formed"),
        ({"url": "https://example.com", "api_key": "secret\nkey"}, "Copy it again"),
        ({"url": "https://example.com", "api_key": "  "}, "Copy it again"),
        ({"url": "https://example.com", "api_key": 7}, "string"),
        ({"url": "https://example.com", "http_client": "x"}, "httpx.Client"),
        ({"url": "https://example.com", "embeddings": "openai:x"}, "server embeds"),
        ({"url": "https://example.com", "embeddings": False}, "server embeds"),
    ],
)
def test_what_cannot_be_used_is_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        KronvexMemory(**{"api_key": "kv-x", **options})
    assert "secret" not in str(caught.value)


def test_http_elsewhere_when_it_is_allowed() -> None:
    with KronvexMemory("http://example.com", api_key="kv-x", allow_http=True) as memory:
        assert memory.location == "http://example.com"


def test_the_key_from_the_environment(plain: PlainServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KRONVEX_API_KEY", f" {KEY}\n")
    monkeypatch.setenv("KRONVEX_BASE_URL", f"{plain.url}/api/v1/")
    monkeypatch.setenv("KRONVEX_AGENT_ID", "from-outside")
    with KronvexMemory() as memory:
        memory.remember("tea", user_id="ana")
        assert memory.flush(10)
        assert KEY not in repr(memory) + repr(vars(memory)) + repr(vars(memory.engine.backend))
        assert KEY not in repr(vars(memory.engine.backend.agent.transport))
    assert list(plain.items) == ["from-outside"]


async def test_what_a_server_cannot_do_is_said(plain: PlainServer, open_on: Open) -> None:
    memory = open_on(plain)
    with pytest.raises(NotSupported, match="reindex"):
        memory.reindex()
    with pytest.raises(NotSupported, match="reindex"):
        await memory.areindex()


def test_a_closed_memory_says_so(plain: PlainServer, open_on: Open) -> None:
    memory = open_on(plain)
    memory.close()
    with pytest.raises(MemoryClosed):
        memory.recall("tea", user_id="ana")
    with pytest.raises(MemoryClosed):
        memory.remember("tea", user_id="ana")


def test_a_slow_server_does_not_hold_up_remembering(faulty: FaultyServer, open_on: Open) -> None:
    memory = open_on(faulty, timeout_seconds=2)
    memory.memories(user_id="ana")
    faulty.only = "/remember"
    faulty.faults.append(hang(1.0))
    memory.remember("warm", user_id="ana")
    started = time.monotonic()
    memory.remember("tea", user_id="ana")
    assert time.monotonic() - started < 0.5
    wait_until(lambda: memory.stats().pending == 0)
