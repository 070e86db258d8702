"""Large values reach the server whole, or are refused at the call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from contract.served import APIS
from inside import MAX_BODY_BYTES, MAX_CONTENT_CHARS, MAX_REQUEST_BYTES
from langchain_kronvex import InvalidInput, KronvexKeyValueStore, KronvexMemory

from .conftest import Open
from .plain_server import PlainServer

# JSON writes an emoji with 12 bytes, and the API's JSON what is JSON with 14.
KINDS = {"letters": "x", "emoji": "🐈"}


@pytest.fixture
def memory(tmp_path: Path) -> Any:
    with KronvexMemory(APIS.url(tmp_path)) as memory:
        yield memory
        memory.clear()  # other tests share the store, which every erasure rewrites


def nested(levels: int) -> Any:
    value: Any = "deep"
    for _ in range(levels):
        value = [value]
    return value


def seen_by_another(memory: KronvexMemory, tmp_path: Path, session: str) -> list[Any]:
    """Return the messages on the server, without those in the outbox."""
    assert memory.flush(30)
    assert memory.stats().failed == 0
    with KronvexMemory(memory.location, outbox=tmp_path / "another.db") as other:
        return other.load_messages(session, user_id="ana")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_message_longer_than_a_memory_reaches_the_server(
    memory: KronvexMemory, tmp_path: Path, kind: str
) -> None:
    said = [HumanMessage("a" + KINDS[kind] * (MAX_CONTENT_CHARS + 5)), HumanMessage("next")]
    memory.save_messages(said, "s", user_id="ana")

    assert seen_by_another(memory, tmp_path, "s") == said


def test_a_memory_as_long_as_may_be_reaches_the_server_from_two_sessions(
    memory: KronvexMemory, tmp_path: Path
) -> None:
    text = "tea " * (MAX_CONTENT_CHARS // 4)
    for session in ("s1", "s2"):
        memory.remember(text, user_id="ana", session_id=session)
    assert memory.flush(30)
    assert memory.stats().failed == 0
    with KronvexMemory(memory.location, outbox=tmp_path / "another.db") as other:
        assert [m.content for m in other.memories(user_id="ana")] == [text, text]
        assert other.recall("tea", user_id="ana")[0].content == text


@pytest.mark.slow
def test_large_and_deep_values_reach_the_server(memory: KronvexMemory, tmp_path: Path) -> None:
    values = [("large", "x" * 15_000_000), ("deep", nested(127))]
    KronvexKeyValueStore(memory, "ns").mset(values)
    memory.remember("tea", user_id="ana", metadata={"deep": nested(63)})
    assert memory.flush(30)
    assert memory.stats().failed == 0
    with KronvexMemory(memory.location, outbox=tmp_path / "another.db") as other:
        found = KronvexKeyValueStore(other, "ns").mget([key for key, _ in values])
        assert found == [value for _, value in values]
        assert other.memories(user_id="ana")[0].metadata == {"deep": nested(63)}


@pytest.mark.slow
def test_what_no_server_takes_is_refused_at_the_call(plain: PlainServer, open_on: Open) -> None:
    memory = open_on(plain)
    huge = "x" * MAX_REQUEST_BYTES
    with pytest.raises(InvalidInput, match=r"A message .* bytes"):
        memory.save_messages([HumanMessage("hi"), HumanMessage(huge)], "s", user_id="ana")
    with pytest.raises(InvalidInput, match=r"A value .* bytes"):
        KronvexKeyValueStore(memory, "ns").mset([("a", 1), ("b", huge[:-100])])
    with pytest.raises(InvalidInput, match=r"A memory .* bytes"):
        memory.remember("tea", user_id="ana", metadata={"x": huge})
    kept = memory.remember("tea", user_id="ana")
    with pytest.raises(InvalidInput, match=r"A memory .* bytes"):
        memory.update(kept.id, metadata={"x": huge})

    assert memory.load_messages("s", user_id="ana") == []
    assert list(KronvexKeyValueStore(memory, "ns").yield_keys()) == []
    assert [m.metadata for m in memory.memories(user_id="ana")] == [{}]
    assert memory.stats().failed == 0


@pytest.mark.slow
def test_an_import_names_what_is_too_large_and_says_what_is_in(
    plain: PlainServer, open_on: Open, tmp_path: Path
) -> None:
    memory = open_on(plain)
    with KronvexMemory(f"sqlite:///{tmp_path / 'old.db'}") as old:
        old.remember("tea", user_id="ana")
        huge = HumanMessage("x" * MAX_REQUEST_BYTES)
        old.save_messages([huge], "s", user_id="ana", remember=False)
        old.export(tmp_path / "all.jsonl")
        with pytest.raises(InvalidInput, match=r"A message \(id .* bytes .* (are in|was stored)"):
            memory.import_(tmp_path / "all.jsonl")
        old.clear_messages("s", user_id="ana")
        old.export(tmp_path / "all.jsonl")

    assert memory.import_(tmp_path / "all.jsonl").memories == 1
    assert [m.content for m in memory.memories(user_id="ana")] == ["tea"]


def test_what_is_accepted_fits_into_a_request_to_our_server() -> None:
    assert MAX_REQUEST_BYTES <= MAX_BODY_BYTES
