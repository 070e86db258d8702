"""Requests in the words of every dialect, and answers of every form. No network."""

from __future__ import annotations

import contextlib
import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inside import (
    AGENT_SESSION,
    RESERVED,
    AgentNotFound,
    BadRequest,
    MemoryNotFound,
    QuotaExceeded,
    RateLimited,
    Record,
    Scope,
    ServerMisbehaved,
    ServerUnavailable,
    Unauthorized,
    VersionedRecord,
    api,
    belongs_to,
    checked_base_url,
    content_key,
    from_payload,
    is_as_sent,
    read_time,
    record_from_wire,
    refusal,
    retry_after,
    store_request,
    to_payload,
    wire_session,
    wire_ttl,
)

NOW = datetime(2026, 4, 28, 12, 30, 15, 123456, tzinfo=timezone.utc)
FLAT = {
    "id": "5c1e", "content": "User prefers concise answers", "memory_type": "semantic",
    "type": "semantic", "score": 0.83, "confidence": 0.7558, "session_id": "user-42",
}  # fmt: skip
NESTED = {
    "memory": {"id": "5c1e", "content": "User prefers concise answers", "memory_type": "semantic",
               "session_id": "user-42"},
    "similarity": 0.83, "confidence": 0.7558,
}  # fmt: skip

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            ["id", "content", "memories", "results", "memory", "session_id", "user_id", "metadata",
             "total", "page", "per_page", "pages", "limit", "has_more", "similarity", "created_at",
             "type", RESERVED, "detail", "v", "kind"]
        ),
        inner,
        max_size=6,
    ),
    max_leaves=20,
)  # fmt: skip


# -- requests ------------------------------------------------------------------------------------


def test_remember_says_everything_in_the_words_of_all_dialects() -> None:
    sent = record(content="tea", type="semantic", scope=Scope("user-42"), metadata={"a": 1})
    request = store_request(VersionedRecord(sent, 1, 1))
    assert (request.method, request.path) == ("POST", "/remember")
    body = dict(request.body or {})
    metadata = body.pop("metadata")
    assert body == {
        "content": "tea", "memory_type": "semantic", "type": "semantic", "session_id": "user-42",
        "user_id": "user-42", "pinned": True,
    }  # fmt: skip
    assert metadata.keys() == {"a", RESERVED}
    assert not request.repeatable
    assert "tea" not in repr(request)
    body = dict(store_request(VersionedRecord(sent, 1, 1, ttl_days=3)).body or {})
    assert (body["pinned"], body["ttl_days"]) == (False, 3)


def test_recall_names_a_threshold_and_leaves_out_what_is_unset() -> None:
    request = api.recall_request("tea", 5, None, None, True)
    assert request.body == {"query": "tea", "top_k": 5, "threshold": 0.0}
    request = api.recall_request("tea", 5, "u", "fact", True)
    assert request.body == {
        "query": "tea", "top_k": 5, "threshold": 0.0, "session_id": "u", "user_id": "u",
        "memory_type": "fact",
    }  # fmt: skip


def test_a_page_is_named_in_both_ways() -> None:
    assert api.list_request("ana", 3, 64).query == {
        "page": 3, "per_page": 64, "limit": 64, "offset": 128, "session_id": "ana",
        "user_id": "ana",
    }  # fmt: skip
    assert "session_id" not in api.list_request(None, 1, 64).query


@pytest.mark.parametrize(
    ("part", "encoded"),
    [("a/b", "a%2Fb"), ("..", "%2E%2E"), (".", "%2E"), ("?x=1&y#", "%3Fx%3D1%26y%23"),
     ("ü ", "%C3%BC%20"), ("%2F", "%252F"), ("a.b", "a.b")],
)  # fmt: skip
def test_every_part_of_a_path_is_encoded(part: str, encoded: str) -> None:
    request = api.of_agent(api.delete_request(part), part)
    assert request.path == f"/agents/{encoded}/memories/{encoded}"


# -- answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        {"query": "tone", "total_found": 1, "results": [NESTED]},
        {"memories": [FLAT]},
        {"query": "tone", "total_found": 1, "results": [NESTED], "memories": [FLAT]},
        {"memories": [NESTED]},
        {"memories": None, "results": [NESTED]},
        [FLAT],
        [NESTED],
        {"memories": [None, 7, "x", [], {}, {"id": 5, "content": "x"}, {"id": "", "content": "x"},
                      {"id": "x"}, {"memory": {}}, FLAT]},
    ],
)  # fmt: skip
def test_a_recall_is_read_in_every_form(answer: Any) -> None:
    (memory,) = api.read_recall(answer)
    assert (memory.id, memory.content) == ("5c1e", "User prefers concise answers")
    assert (memory.type, memory.session, memory.similarity) == ("semantic", "user-42", 0.83)


@pytest.mark.parametrize("answer", [None, 7, "x", {}, {"memories": {}}, {"context": "x"}])
def test_an_answer_that_holds_no_list_is_refused(answer: Any) -> None:
    with pytest.raises(ServerMisbehaved):
        api.read_recall(answer)
    with pytest.raises(ServerMisbehaved):
        api.read_page(answer, 64)


def test_the_tutorials_words_are_read() -> None:
    memory = api.read_memory({"id": "x", "content": "tea", "type": "fact", "user_id": "ana",
                               "confidence": 0.7})  # fmt: skip
    assert memory
    assert (memory.type, memory.session, memory.similarity) == ("fact", "ana", 0.7)


@pytest.mark.parametrize(
    ("given", "similarity"),
    [(0.5, 0.5), (1, 1.0), (-0.2, 0.0), (7, 1.0), ("0.5", 0.0), (True, 0.0), (None, 0.0),
     (float("nan"), 0.0), (float("inf"), 0.0), (10**400, 1.0)],
)  # fmt: skip
def test_a_similarity_is_a_number_from_0_to_1(given: Any, similarity: float) -> None:
    memory = api.read_memory({"id": "x", "content": "tea", "similarity": given})
    assert memory
    assert memory.similarity == similarity


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-05T10:00:00.000001Z", datetime(2026, 1, 5, 10, 0, 0, 1, timezone.utc)),
        ("2026-01-05T10:00:00+00:00", datetime(2026, 1, 5, 10, tzinfo=timezone.utc)),
        ("2026-01-05T12:00:00+02:00", datetime(2026, 1, 5, 10, tzinfo=timezone.utc)),
        ("2026-01-05T10:00:00", datetime(2026, 1, 5, 10, tzinfo=timezone.utc)),
        ("yesterday", None), ("", None), (None, None), (7, None),
        ("0001-01-01T00:00:00+10:00", None),
    ],
)  # fmt: skip
def test_both_forms_of_a_time_are_read(text: Any, moment: datetime | None) -> None:
    assert read_time(text) == moment


@pytest.mark.parametrize(
    ("told", "last"),
    [
        ({"total": 7, "page": 1, "per_page": 20, "pages": 1}, True),
        ({"total": 70, "page": 1, "per_page": 20, "pages": 4}, False),
        ({"total": 7, "limit": 25, "offset": 0, "has_more": False}, True),
        ({"total": 70, "limit": 25, "offset": 0, "has_more": True}, False),
        ({}, False),
        ({"page": "1", "pages": None, "total": True}, False),
    ],
)
def test_a_page_says_whether_it_is_the_last(told: dict[str, Any], last: bool) -> None:
    assert api.read_page({"memories": [FLAT], **told}, 64).last is last


def test_an_empty_page_is_the_last() -> None:
    assert api.read_page({"memories": [], "has_more": True}, 64).last
    assert api.read_page([], 64).last


@given(json_values)
def test_no_answer_makes_reading_fail_in_another_way(answer: Any) -> None:
    for read in (api.read_recall, lambda a: api.read_page(a, 64)):
        with contextlib.suppress(ServerMisbehaved):
            read(answer)
    api.read_agents(answer)
    memory = api.read_memory(answer)
    if memory:
        record_from_wire(memory)
    text = json.dumps(answer).encode()
    assert refusal(422, {}, text)


@given(json_values)
def test_no_envelope_makes_opening_fail(envelope: Any) -> None:
    memory = api.read_memory(
        {"id": "x", "content": "tea", "session_id": "ana", "metadata": {RESERVED: envelope}}
    )
    assert memory
    record_from_wire(memory)


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "detail", "headers", "kind"),
    [
        (401, "Invalid or revoked API key.", {}, Unauthorized),
        (402, {"error": "memory_limit_reached", "limit": 100}, {}, QuotaExceeded),
        (403, "no", {}, Unauthorized),
        (404, "Agent not found", {}, AgentNotFound),
        (404, "Memory not found", {}, MemoryNotFound),
        (409, "no", {}, BadRequest),
        (422, [{"loc": ["body", "content"]}], {}, BadRequest),
        (429, "Rate limit exceeded", {"retry-after": "60"}, RateLimited),
        (429, {"error": "daily_quota_exceeded"}, {"retry-after": "86400"}, QuotaExceeded),
        (429, "no", {"retry-after": "86400"}, QuotaExceeded),
        (500, "no", {}, ServerUnavailable),
        (503, {"error": "embedding_unavailable"}, {}, ServerUnavailable),
        (302, None, {}, ServerMisbehaved),
    ],
)
def test_each_refusal_has_its_error(
    status: int, detail: Any, headers: dict[str, str], kind: type
) -> None:
    error = refusal(status, headers, json.dumps({"detail": detail}).encode())
    assert type(error) is kind
    assert getattr(error, "status", status) == status
    assert type(refusal(status, headers, b"<html>")).__mro__[-3:] == kind.__mro__[-3:]


def test_a_refusal_names_fields_and_figures_and_no_values() -> None:
    detail = [{"loc": ["body", "content"], "msg": "zebra", "input": "zebra"}]
    error = refusal(422, {}, json.dumps({"detail": detail}).encode())
    assert "body.content" in str(error)
    assert "zebra" not in str(error)
    limit = {"error": "memory_limit_reached", "limit": 100, "message": "zebra"}
    assert "limit 100" in str(refusal(402, {}, json.dumps({"detail": limit}).encode()))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60", 60.0), ("0", 0.0), ("", None), ("soon", None), ("-5", None),
     ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)],
)  # fmt: skip
def test_retry_after_is_read(text: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": text}) == seconds


# -- our records on the wire ---------------------------------------------------------------------


def record(**changes: Any) -> Record:
    content, type_ = changes.get("content", "Ana likes tea."), changes.get("type", "episodic")
    return Record(
        **{
            "kind": "memory", "id": "r1", "scope": Scope("ana", "s1"), "content": content,
            "type": type_, "key": content_key(type_, content), "created_at": NOW,
            "said_at": changes.get("created_at", NOW), **changes,
        }
    )  # fmt: skip


RECORDS = [
    record(),
    record(scope=Scope()),
    record(scope=Scope(None, "chat")),
    record(scope=Scope(" ana ", "séance/1"), content="  Ana \n likes\ttea ☕.  "),
    record(metadata={"a": [1, {"b": None}], "tags": "x"}, pinned=True),
    record(metadata={"nul": "a\0b", "big": 2**70, "tiny": 5e-324, RESERVED: {"v": 1}}),
    record(expires_at=NOW + timedelta(days=1000.5), type="preference"),
    record(content="User: Hi.\nAssistant: Hello.", search_text="Hi."),
    record(content="User: Hi\nAssistant: yo\nAssistant: Hello.", search_text="Hi\nAssistant: yo"),
    record(created_at=datetime.min.replace(tzinfo=timezone.utc)),
    record(created_at=NOW, said_at=NOW - timedelta(days=400)),
    record(kind="message", key="r1", type="human", content='{"type": "human"}'),
    record(kind="item", key="any key", type="shelf"),
]  # fmt: skip


@pytest.mark.parametrize("sent", RECORDS, ids=range(len(RECORDS)))
def test_a_record_comes_back_as_it_was_sent(sent: Record) -> None:
    stored = VersionedRecord(sent, 5, 7, ttl_days=wire_ttl(sent, NOW))
    request = store_request(stored)
    body: Any = json.loads(json.dumps(request.body))
    raw = api.read_memory({"id": "m1", "created_at": "2026-01-01T00:00:00Z", **body})
    assert raw
    found = record_from_wire(raw)
    assert found
    assert found.record == sent
    assert (found.written, found.version, found.server_id) == (5, 7, "m1")
    assert is_as_sent(raw, request, stored)
    assert from_payload(json.loads(json.dumps(to_payload(stored)))) == stored


def test_messages_of_the_same_text_are_never_the_same_text_on_the_wire() -> None:
    texts = set()
    for number in range(3):
        message = record(kind="message", id=f"m{number}", key=f"m{number}", content='{"x": 1}')
        request: Any = store_request(VersionedRecord(message, 1, 1))
        texts.add(request.body["content"])
        assert request.body["pinned"] is True
        assert request.body["memory_type"] == "context"
    assert len(texts) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"content": "Bob likes tea."}, {"session_id": "bob", "user_id": "bob"},
        {"superseded": True}, {"metadata": {}, "deduplicated": True},
        {"metadata": None, "deduplicated": True},
    ],
)  # fmt: skip
def test_an_answer_that_is_another_memory_is_noticed(change: dict[str, Any]) -> None:
    stored = VersionedRecord(record(), 5, 7)
    request = store_request(stored)
    raw = api.read_memory({"id": "m1", **(request.body or {}), **change})
    assert raw is not None
    assert not is_as_sent(raw, request, stored)


def test_what_stands_in_another_session_than_its_owners_is_nobodys() -> None:
    request: Any = store_request(VersionedRecord(record(), 5, 7))
    for session in ("bob", "Ana", None):
        raw = api.read_memory({"id": "m1", **request.body, "session_id": session, "user_id": None})
        assert raw
        assert record_from_wire(raw) is None


def test_a_memory_of_others_is_its_sessions_owners() -> None:
    raw = api.read_memory({**FLAT, "metadata": {"x": 1}, "pinned": True, "access_count": 3})
    assert raw
    found = record_from_wire(raw)
    assert found
    assert found.record.scope == Scope(None, "user-42")
    assert found.record.metadata == {"x": 1}
    assert (found.record.id, found.record.access_count) == ("5c1e", 3)


def test_the_wire_session_is_the_owner_and_chats_are_apart() -> None:
    assert wire_session("memory", Scope("ana", "s1")) == "ana"
    assert wire_session("memory", Scope(None, "s1")) == "s1"
    assert wire_session("memory", Scope()) == AGENT_SESSION
    chats = {wire_session("message", Scope(u, s)) for u in ("ana", "bob") for s in ("s1", "s2")}
    assert len(chats) == 4
    assert all(len(chat) < 100 for chat in chats)
    assert [belongs_to(wire_session("message", Scope("ana", "s")), u) for u in ("ana", "an")] == [
        True, False,
    ]  # fmt: skip


@pytest.mark.parametrize("days", [0.01, 1, 1.5, 3650, -3])
def test_the_server_never_lets_go_earlier_than_we_do(days: float) -> None:
    ttl = wire_ttl(record(expires_at=NOW + timedelta(days=days)), NOW)
    assert ttl is not None
    assert max(days, 1) <= ttl <= 3650
    assert wire_ttl(record(expires_at=NOW + timedelta(days=3651)), NOW) is None
    assert wire_ttl(record(expires_at=NOW + timedelta(days=1), pinned=True), NOW) is None


@pytest.mark.parametrize("path", ["", "/", "/api/v1", "/api/v1/", "/some/where", "/some/api/v1//"])
def test_one_base_url_of_many_forms(path: str) -> None:
    place = path.replace("/api/v1", "").rstrip("/")
    found = checked_base_url(f"HTTPS://API.example.com{path}", allow_http=False)
    assert found == f"https://api.example.com{place}/api/v1"
