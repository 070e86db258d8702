"""Invalid values raise InvalidInput with a message that says what to do; nothing is stored."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from contract.drivers import NOW, Clock, Driver
from langchain_kronvex import InvalidInput, MemoryDraft

SURROGATE = "lone \ud800 surrogate"
LONGEST = 1_048_576


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"x": value}
    return value


def cyclic() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = value
    return value


BAD_CONTENT = [
    "", " ", "\n\t ", "\u2003\u3000", "a\0b", "\0", SURROGATE, "\udfff", "x" * (LONGEST + 1),
    None, 1, b"bytes", ["list"], HumanMessage("hi"),
]  # fmt: skip
BAD_IDS = [
    "", " ", "\n", "\u2003", "a\0b", "\0", "x" * 256, "x" * 10_000, "é" * 256, SURROGATE,
    1, True, b"ana", ["ana"], ("ana",), {}, 1.5, Decimal(1),
]  # fmt: skip
BAD_TYPES = ["", "gossip", "Episodic", "episodic ", None, 1, ["episodic"], {}, b"episodic"]
BAD_TTL = [
    0, -1, 0.0, -0.0, -1e-9, float("nan"), float("inf"), float("-inf"), 36_501, 1e300, 10**30,
    10**400, True, False, "7", [7], Decimal(7), timedelta(days=7),
]  # fmt: skip
BAD_TIMES = [
    datetime(2026, 1, 1), datetime.max, datetime.min, date(2026, 1, 1), "2026-01-01", 0, 1.5,
    datetime.min.replace(tzinfo=timezone(timedelta(hours=5))),
    datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))),
]  # fmt: skip
BAD_METADATA = [
    [], "text", 1, [("a", 1)], {1: "a"}, {None: 1}, {("a",): 1}, {b"a": 1}, {"a": {1, 2}},
    {"a": b"x"}, {"a": NOW}, {"a": float("nan")}, {"a": [float("inf")]}, {"a": {"b": -1e999}},
    {"a": object()}, {"a": {1: 2}}, {"a": [{None: 2}]}, {"a": {True: 1}}, {"a": {1.5: 1}},
    {"a": Decimal(1)}, nested(100_000), cyclic(),
]  # fmt: skip
BAD_TOP_K = [0, -1, -(10**9), True, False, 1.0, 2.5, float("nan"), "5", None, [5]]
BAD_QUERIES = ["", " ", "\n\t", "\u3000", None, 1, b"tea", ["tea"]]
BAD_THRESHOLDS = [
    -0.1, 1.1, -1, 2, 10**400, float("nan"), float("inf"), True, False, "0.5", None, [0.5],
]  # fmt: skip

BAD_FLAGS = ["no", "false", "", "yes", 0, 1, 1.0, None, [], [True]]

Call = Callable[[Driver, Any], Any]
TABLE: list[tuple[str, str, Call, list[Any]]] = [
    ("remember content", "content", lambda m, v: m.remember(v), BAD_CONTENT),
    (
        "draft content",
        "content",
        lambda m, v: m.remember_many([MemoryDraft(content="ok"), MemoryDraft(content=v)]),
        BAD_CONTENT,
    ),
    ("exchange user", "user_message", lambda m, v: m.save_exchange(v, "ok"), BAD_CONTENT),
    ("exchange answer", "assistant_message", lambda m, v: m.save_exchange("ok", v), BAD_CONTENT),
    ("remember type", "memory_type", lambda m, v: m.remember("ok", memory_type=v), BAD_TYPES),
    ("remember ttl", "ttl_days", lambda m, v: m.remember("ok", ttl_days=v), BAD_TTL),
    ("exchange ttl", "ttl_days", lambda m, v: m.save_exchange("a", "b", ttl_days=v), BAD_TTL),
    ("created_at", "created_at", lambda m, v: m.remember("ok", created_at=v), BAD_TIMES),
    ("metadata", "metadata", lambda m, v: m.remember("ok", metadata=v), BAD_METADATA),
    ("recall top_k", "top_k", lambda m, v: m.recall("tea", top_k=v), BAD_TOP_K),
    ("context top_k", "top_k", lambda m, v: m.inject_context("tea", top_k=v), BAD_TOP_K),
    (
        "max_tokens",
        "max_tokens",
        lambda m, v: m.inject_context("tea", max_tokens=v),
        [value for value in BAD_TOP_K if value is not None],
    ),
    (
        "max_messages",
        "max_messages",
        lambda m, v: m.load_messages("s", max_messages=v),
        [value for value in BAD_TOP_K if value is not None],
    ),
    ("limit", "limit", lambda m, v: m.memories(limit=v), BAD_TOP_K),
    ("offset", "offset", lambda m, v: m.memories(offset=v), [-1, True, 1.0, "1", None]),
    ("recall query", "query", lambda m, v: m.recall(v), BAD_QUERIES),
    ("context query", "query", lambda m, v: m.inject_context(v), BAD_QUERIES[4:]),
    ("pinned", "pinned", lambda m, v: m.remember("ok", pinned=v), BAD_FLAGS),
    ("recall shared", "include_shared", lambda m, v: m.recall("a", include_shared=v), BAD_FLAGS),
    ("list shared", "include_shared", lambda m, v: m.memories(include_shared=v), BAD_FLAGS),
    (
        "save remember",
        "remember",
        lambda m, v: m.save_messages([HumanMessage("hi")], "s", remember=v),
        BAD_FLAGS,
    ),
    ("threshold", "threshold", lambda m, v: m.recall("tea", threshold=v), BAD_THRESHOLDS),
    (
        "recall type",
        "memory_type",
        lambda m, v: m.recall("tea", memory_type=v),
        [value for value in BAD_TYPES if value not in (None, ["episodic"])],
    ),
    (
        "order_by",
        "order_by",
        lambda m, v: m.recall("tea", order_by=v),
        ["", "date", None, 1, ["confidence"]],
    ),
    ("get id", "id", lambda m, v: m.get(v), [*BAD_IDS, None]),
    ("update id", "id", lambda m, v: m.update(v, pinned=True), [*BAD_IDS, None]),
    ("forget id", "id", lambda m, v: m.forget(id=v), BAD_IDS),
    ("load session", "session_id", lambda m, v: m.load_messages(v), [*BAD_IDS, None]),
    ("clear session", "session_id", lambda m, v: m.clear_messages(v), [*BAD_IDS, None]),
    (
        "save session",
        "session_id",
        lambda m, v: m.save_messages([HumanMessage("hi")], v),
        [*BAD_IDS, None],
    ),
]
SCOPED: dict[str, Callable[..., Any]] = {
    "remember": lambda m, **ids: m.remember("ok", **ids),
    "draft": lambda m, **ids: m.remember_many([MemoryDraft(content="ok", **ids)]),
    "exchange": lambda m, **ids: m.save_exchange("a", "b", **ids),
    "recall": lambda m, **ids: m.recall("tea", **ids),
    "context": lambda m, **ids: m.inject_context("tea", **ids),
    "memories": lambda m, **ids: m.memories(**ids),
    "forget": lambda m, **ids: m.forget(**ids),
}
for _verb, _call in SCOPED.items():
    for _name in ("user_id", "session_id"):
        TABLE.append(
            (
                f"{_verb} {_name}",
                _name,
                lambda m, v, call=_call, name=_name: call(m, **{name: v}),
                BAD_IDS,
            )
        )


def refusal(call: Call, memory: Driver, value: Any, name: str) -> str | None:
    """Return the fault in how a value is rejected, or None."""
    try:
        call(memory, value)
    except InvalidInput as error:
        message = str(error)
        fits = isinstance(error, ValueError) and name in message and "\n" not in message
        return None if fits and 20 < len(message) < 600 else f"says {message[:99]!r}"
    except Exception as error:
        return f"raises {type(error).__name__}"
    return "is taken"


def test_it_is_rejected_with_advice_and_nothing_is_stored(memory: Driver) -> None:
    kept = memory.remember("kept", user_id="kept", session_id="kept", metadata={"a": 1})
    wrong: dict[str, str] = {}
    for what, name, call, values in TABLE:
        for place, value in enumerate(values):
            if said := refusal(call, memory, value, name):
                wrong[f"{what}, {place}: {type(value).__name__}"] = said
        stats = memory.stats()
        if (stats.memories, stats.messages, stats.users) != (1, 0, 1):
            wrong[what] = "something was stored"
            memory.clear()
            kept = memory.remember("kept", user_id="kept")
    assert wrong == {}
    assert memory.get(kept.id) == kept


def test_a_date_plus_ttl_out_of_range_is_rejected(memory: Driver) -> None:
    last = datetime.max.replace(tzinfo=timezone.utc)
    with pytest.raises(InvalidInput, match="out of range"):
        memory.remember("ok", created_at=last, ttl_days=1)
    stored = memory.remember("ok", created_at=last - timedelta(days=30))
    with pytest.raises(InvalidInput, match="out of range"):
        memory.update(stored.id, ttl_days=365)
    assert memory.get(stored.id) == stored


@pytest.mark.parametrize("character", ["😀", "x "])
def test_content_of_exactly_the_limit_is_kept_whole(memory: Driver, character: str) -> None:
    content = (character * LONGEST)[: LONGEST - 1] + "."
    stored = memory.remember(content, user_id="ana")
    assert memory.get(stored.id).content == content
    assert memory.recall(character, user_id="ana")[0].content == content
    assert memory.inject_context(character, user_id="ana", max_tokens=100).context == ""


def test_an_id_of_up_to_the_limit_is_kept_exactly(memory: Driver) -> None:
    for id_ in ("x" * 255, "é" * 255, "😀" * 255, " x ", "\u200b", "a\nb"):
        stored = memory.remember("tea", user_id=id_, session_id=id_)
        assert (stored.user_id, stored.session_id) == (id_, id_)
        assert [m.id for m in memory.recall("tea", user_id=id_, session_id=id_)] == [stored.id]


def test_error_messages_contain_no_memory_text(memory: Driver) -> None:
    for call in (
        lambda: memory.remember("my secret \0"),
        lambda: memory.remember("my secret \ud800"),
        lambda: memory.remember("my secret " * 200_000),
        lambda: memory.remember("my secret", ttl_days=-1),
        lambda: memory.save_exchange("my secret\0", "x"),
    ):
        with pytest.raises(InvalidInput) as caught:
            call()
        assert "secret" not in str(caught.value)


def test_nested_metadata_that_was_accepted_can_be_read_from_anywhere(memory: Driver) -> None:
    def deeper(frames: int) -> Any:
        return deeper(frames - 1) if frames else memory.memories(user_id="ana", limit=10_000)

    accepted = 0
    for levels in (1, 10, 50, 100, 200, 400, 600, 700, 800, 850, 900, 925, 950, 975, 1000, 2000):
        try:
            memory.remember(f"note {levels}", user_id="ana", metadata=nested(levels))
        except InvalidInput:
            continue
        accepted += 1
    assert accepted >= 3
    assert len(deeper(0)) == accepted
    assert len(deeper(250)) == accepted


def test_the_smallest_lifetime_is_a_lifetime(memory: Driver, clock: Clock) -> None:
    stored = memory.remember("tea", ttl_days=1 / 86_400)
    assert memory.get(stored.id) is not None
    clock.advance(seconds=1)
    assert memory.get(stored.id) is None
