"""The export file: records are restored from it, and hostile lines are rejected."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from defaults import set_default
from inside import (
    Import,
    Record,
    Scope,
    content_key,
    read_line,
    read_record,
    reading,
    record_fields,
    to_line,
)
from langchain_kronvex import InvalidInput, KronvexMemory, Memory, MemoryDraft

Fields = dict[str, Any]
NOW = "2026-04-28T12:30:15.123456+00:00"
HEADER: Fields = {
    "format": "langchain-kronvex memories", "version": 1, "agent_id": "a", "user_id": None,
    "model": None, "created_at": NOW, "package": "0.1.0", "records": 3,
}  # fmt: skip
MEMORY: Fields = {
    "kind": "memory", "id": "m1", "user_id": "ana", "session_id": "s", "type": "episodic",
    "content": "likes tea", "search_text": "tea", "metadata": {"a": [1]}, "created_at": NOW,
    "said_at": NOW, "expires_at": "2099-01-01T00:00:00Z", "pinned": True, "access_count": 3,
}  # fmt: skip
MESSAGE: Fields = {
    "kind": "message", "id": "t1", "user_id": "ana", "session_id": "s", "type": "human",
    "content": json.dumps({"type": "human", "data": {"content": "hi"}}), "created_at": NOW,
}  # fmt: skip
ITEM: Fields = {
    "kind": "item", "id": "i1", "user_id": "drawer", "key": "k", "type": "thing", "content": "{}",
    "created_at": NOW,
}  # fmt: skip


def file_of(*lines: Fields | str, header: Fields | None = None, end: Fields | None = None
) -> io.BytesIO:  # fmt: skip
    """A file with these lines, and the header and footer that fit them."""
    kinds = [line.get("kind") for line in lines if isinstance(line, dict)]
    counts = {kind: kinds.count(kind) for kind in ("memory", "message", "item")}
    whole = [header or HEADER, *lines, {"end": True, **counts} if end is None else end]
    texts = (line if isinstance(line, str) else json.dumps(line) for line in whole)
    return io.BytesIO("".join(f"{text}\n" for text in texts).encode("utf-8", "surrogatepass"))


@pytest.fixture
def memory(open_memory: Callable[..., KronvexMemory]) -> KronvexMemory:
    return open_memory("sqlite://", embeddings=False)


def everything(memory: KronvexMemory) -> list[Memory]:
    return memory.memories(user_id="ana") + memory.memories()


def test_a_file_as_it_should_be(memory: KronvexMemory) -> None:
    assert memory.import_(file_of(MEMORY, MESSAGE, ITEM)).stored == 3
    [one] = everything(memory)
    assert (one.id, one.content, one.access_count, one.pinned) == ("m1", "likes tea", 3, True)
    assert [m.content for m in memory.load_messages("s", user_id="ana")] == ["hi"]


def change(of: Fields, **changes: Any) -> Fields:
    return {**of, **changes}


def without(of: Fields, name: str) -> Fields:
    return {key: value for key, value in of.items() if key != name}


HOSTILE: dict[str, Fields | str] = {
    "no JSON": '{"kind": "memory"',
    "nothing": "",
    "no object": '["memory"]',
    "a number": "7",
    "twice": '{"kind": "memory", "kind": "item"}',
    "twice inside": json.dumps(MEMORY).replace('{"a": [1]}', '{"a": 1, "a": 2}'),
    "deep": json.dumps(MEMORY).replace("[1]", "[" * 70 + "]" * 70),
    "bottomless": "[" * 200_000,
    "NaN": json.dumps(MEMORY).replace("[1]", "NaN"),
    "huge number": json.dumps(MEMORY).replace("[1]", "1e999"),
    "no kind": without(MEMORY, "kind"),
    "other kind": change(MEMORY, kind="key"),
    "list as kind": change(MEMORY, kind=["memory"]),
    "unknown field": change(MEMORY, agent_id="other"),
    "no id": without(MEMORY, "id"),
    "blank id": change(MEMORY, id=" "),
    "long id": change(MEMORY, id="x" * 256),
    "NUL in id": change(MEMORY, id="a\0"),
    "surrogate in id": change(MEMORY, id="\ud800"),
    "number as id": change(MEMORY, id=7),
    "blank user": change(MEMORY, user_id=""),
    "long user": change(MEMORY, user_id="x" * 256),
    "NUL in user": change(MEMORY, user_id="ana\0"),
    "list as user": change(MEMORY, user_id=["ana"]),
    "object as session": change(MEMORY, session_id={"$ne": None}),
    "true as session": change(MEMORY, session_id=True),
    "no content": without(MEMORY, "content"),
    "blank content": change(MEMORY, content=" \n"),
    "NUL in content": change(MEMORY, content="a\0b"),
    "surrogate in content": change(MEMORY, content="\ud800"),
    "list as content": change(MEMORY, content=["a"]),
    "NUL in search text": change(MEMORY, search_text="\0"),
    "NUL in key": change(ITEM, key="\0"),
    "blank key": change(ITEM, key=""),
    "number as key": change(ITEM, key=7),
    "other type": change(MEMORY, type="dream"),
    "list as type": change(MEMORY, type=["episodic"]),
    "list as metadata": change(MEMORY, metadata=[1]),
    "text as metadata": change(MEMORY, metadata="{}"),
    "no date": without(MEMORY, "created_at"),
    "number as date": change(MEMORY, created_at=1_777_379_415),
    "date without zone": change(MEMORY, created_at="2026-04-28T12:30:15"),
    "date alone": change(MEMORY, created_at="2026-04-28"),
    "30 February": change(MEMORY, created_at="2026-02-30T00:00:00+00:00"),
    "year 0": change(MEMORY, created_at="0000-01-01T00:00:00+00:00"),
    "before the calendar": change(MEMORY, said_at="0001-01-01T00:00:00+14:00"),
    "after the calendar": change(MEMORY, expires_at="9999-12-31T23:59:59-12:00"),
    "other digits": change(MEMORY, created_at="２０２６-04-28T12:30:15+00:00"),
    "no truth": change(MEMORY, pinned=1),
    "text as truth": change(MEMORY, pinned="true"),
    "negative count": change(MEMORY, access_count=-1),
    "count of a fraction": change(MEMORY, access_count=1.5),
    "truth as count": change(MEMORY, access_count=True),
    "endless count": change(MEMORY, access_count=2**70),
    "vector of nobody": change(MEMORY, vector="ADwAAA=="),
    "no message": change(MESSAGE, content="hi"),
    "message of no type": change(MESSAGE, content='{"data": {}}'),
    "message of another type": change(MESSAGE, content='{"type": "alien", "data": {}}'),
    "list as message": change(MESSAGE, content="[]"),
    "message that is blank": change(MESSAGE, type=""),
    "second header": HEADER,
}


@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_line_is_named_and_nothing_of_its_batch_is_stored(
    memory: KronvexMemory, line: Fields | str
) -> None:
    with pytest.raises(InvalidInput, match=r"^Line 3: .* Nothing was stored\.$"):
        memory.import_(file_of(MEMORY, line, ITEM))
    assert everything(memory) == []
    assert memory.import_(file_of(MEMORY, ITEM)).stored == 2


def test_batches_before_it_stay(memory: KronvexMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    set_default(monkeypatch, Import, "batch_records", 2)
    good = [change(MEMORY, id=f"m{n}", content=f"number {n}") for n in range(5)]
    with pytest.raises(InvalidInput, match=r"Line 6: .*The first 4 records are in, 4 of them new"):
        memory.import_(file_of(*good[:4], "bad", good[4]))
    assert len(everything(memory)) == 4
    assert memory.import_(file_of(*good)).stored == 1


HEADERS: dict[str, Fields | str] = {
    "nothing": "",
    "text": "Dear diary",
    "HTML": "<!doctype html>",
    "another object": {"id": 1},
    "a list": "[]",
    "a record": MEMORY,
    "other format": change(HEADER, format="backup"),
    "no version": without(HEADER, "version"),
    "version 0": change(HEADER, version=0),
    "version text": change(HEADER, version="1"),
    "version true": change(HEADER, version=True),
    "no agent": without(HEADER, "agent_id"),
    "user list": change(HEADER, user_id=["ana"]),
    "no date": without(HEADER, "created_at"),
    "minus records": change(HEADER, records=-1),
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_file_that_is_not_ours(memory: KronvexMemory, header: Fields | str) -> None:
    stream = io.BytesIO(b"".join([_line(header), *file_of(MEMORY).readlines()[1:]]))
    with pytest.raises(InvalidInput, match=r"^Line 1: "):
        memory.import_(stream)
    assert everything(memory) == []


def _line(fields: Fields | str) -> bytes:
    text = fields if isinstance(fields, str) else json.dumps(fields)
    return f"{text}\n".encode()


@pytest.mark.parametrize("raw", [b"", b"\n", b"\xff\xfe", b"SQLite format 3\0\xff\n", b"\x00" * 99])
def test_bytes_that_are_not_ours(memory: KronvexMemory, raw: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"^Line 1"):
        memory.import_(io.BytesIO(raw))


def test_a_later_version_says_to_upgrade(memory: KronvexMemory) -> None:
    with pytest.raises(InvalidInput, match=r"version 2.*pip install -U langchain-kronvex"):
        memory.import_(file_of(MEMORY, header=change(HEADER, version=2)))


@pytest.mark.parametrize(
    "end",
    [
        {"end": True},
        {"end": True, "memory": 2, "message": 0, "item": 0},
        {"end": True, "memory": 1, "message": 1, "item": 0},
        {"end": True, "memory": True, "message": 0, "item": 0},
        {"end": True, "memory": "1", "message": 0, "item": 0},
    ],
)
def test_a_file_from_which_lines_were_taken(memory: KronvexMemory, end: Fields) -> None:
    with pytest.raises(InvalidInput, match=r"^Line 3: the file is not whole.*first 1 records"):
        memory.import_(file_of(MEMORY, end=end))


def test_a_file_that_goes_on(memory: KronvexMemory) -> None:
    with pytest.raises(InvalidInput, match=r"^Line 4: the file goes on"):
        memory.import_(io.BytesIO(file_of(MEMORY).getvalue() + _line(MEMORY)))


def test_a_line_without_an_end() -> None:
    stream = file_of(change(MEMORY, content="x" * 5000))
    with (
        reading(stream, max_line_chars=4000) as lines,
        pytest.raises(InvalidInput, match=r"^Line 2 is longer than 4000 characters"),
    ):
        list(lines)


def test_a_file_of_one_user_with_other_users_is_rejected(memory: KronvexMemory) -> None:
    header = change(HEADER, user_id="ana")
    for line in (change(MEMORY, user_id="ben"), change(MEMORY, user_id=None), ITEM):
        with pytest.raises(InvalidInput, match=r"^Line 3: .*'ana'"):
            memory.import_(file_of(MEMORY, line, header=header))
    by_session = change(without(MEMORY, "user_id"), session_id="ana")
    assert memory.import_(file_of(MEMORY, by_session, header=header)).stored == 2


VECTORS = {
    "no base64": "??",
    "not ASCII": "é",
    "nothing": "",
    "half a number": "AA==",
    "NaN": "AH4AAA==",
    "infinite": "AHwAAA==",
    "too long": "AEAAAA==",
    "too short": "ADgAAA==",
    "a list": [1.0],
    "another width": "ADwAAAAA",
}


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_hostile_vectors(memory: KronvexMemory, vector: Any) -> None:
    header = change(HEADER, model="StaticEmbeddings")
    good = change(MEMORY, vector="ADwAAA==")
    with pytest.raises(InvalidInput, match=r"^Line 3: .*vector"):
        memory.import_(file_of(good, change(MEMORY, id="m2", vector=vector), header=header))
    with pytest.raises(InvalidInput, match=r"^Line 2: a message has no vector"):
        memory.import_(file_of(change(MESSAGE, vector="ADwAAA=="), header=header))
    assert memory.import_(file_of(good, header=header)).stored == 1


def test_the_same_id_and_the_same_text_twice(memory: KronvexMemory) -> None:
    again = change(MEMORY, id="m2", metadata={"b": 2})
    assert memory.import_(file_of(MEMORY, MEMORY, again)).stored == 1
    assert [m.metadata for m in everything(memory)] == [{"a": [1], "b": 2}]


@pytest.mark.parametrize("year", ["0001", "1969", "9999"])
def test_dates_at_the_ends_of_the_calendar(memory: KronvexMemory, year: str) -> None:
    line = change(MEMORY, created_at=f"{year}-06-01T00:00:00+00:00")
    assert memory.import_(file_of(without(line, "said_at"))).stored == 1
    assert memory.recall("tea", user_id="ana")[0].created_at.year == int(year)


# -- anything at all ---------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
SLOW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@SLOW
@given(
    base=st.sampled_from([MEMORY, MESSAGE, ITEM]),
    changes=st.dictionaries(st.sampled_from([*MEMORY, "key", "vector", "end"]), JSON, max_size=3),
    dropped=st.sets(st.sampled_from(sorted(MEMORY)), max_size=2),
)
def test_any_line_is_imported_or_rejected(
    memory: KronvexMemory, base: Fields, changes: Fields, dropped: set[str]
) -> None:
    memory.clear()
    line = {key: value for key, value in {**base, **changes}.items() if key not in dropped}
    other = change(MEMORY, id="of ben", user_id="ben", content="of ben")
    try:
        memory.import_(file_of(other, line))
    except InvalidInput:
        taken = [r for r in memory.memories(user_id="ben") if r.id != "of ben"]
        assert taken == []
    for session in memory.sessions():
        scope = {"user_id": session.user_id, "session_id": session.session_id}
        memory.memories(**scope)
        memory.recall("tea", **scope)
        if session.session_id:
            memory.load_messages(session.session_id, user_id=session.user_id)
    moved = io.BytesIO()
    memory.export(moved)
    assert memory.import_(io.BytesIO(moved.getvalue())).stored == 0


@SLOW
@given(raw=st.binary(max_size=60), place=st.integers(0, 2))
def test_any_bytes_between(memory: KronvexMemory, raw: bytes, place: int) -> None:
    lines = file_of(MEMORY, MESSAGE).readlines()
    lines.insert(place + 1, raw + b"\n")
    with pytest.raises(InvalidInput, match=r"^Line "):
        memory.import_(io.BytesIO(b"".join(lines)))


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
IDS = TEXT.filter(str.strip).map(lambda text: text[:255])
TIMES = st.datetimes(timezones=st.just(timezone.utc))


@settings(max_examples=80, deadline=None)
@given(
    kind=st.sampled_from(["memory", "item"]),
    ids=st.tuples(IDS, IDS | st.none(), IDS | st.none()),
    texts=st.tuples(TEXT.filter(str.strip), TEXT | st.none(), TEXT.filter(str.strip)),
    times=st.tuples(TIMES, TIMES, TIMES | st.none()),
    metadata=st.dictionaries(st.text(st.characters()), st.none() | st.floats(-1e9, 1e9)),
    pinned=st.booleans(),
    count=st.integers(0, 2**53),
    number=st.integers(1, 64),
)
def test_a_record_comes_back_exactly(
    kind: Any, ids: Any, texts: Any, times: Any, metadata: Any, pinned: bool, count: int,
    number: int,
) -> None:  # fmt: skip
    raw = np.random.default_rng(number).normal(size=number)
    vector = (raw / np.linalg.norm(raw)).astype("<f2").astype(np.float32)
    record = Record(
        kind=kind,
        id=ids[0],
        scope=Scope(*ids[1:]),
        key=texts[2],
        type="semantic",
        content=texts[0],
        search_text=texts[1],
        metadata=metadata,
        created_at=times[0],
        said_at=None if times[1] == times[0] else times[1],
        expires_at=times[2],
        pinned=pinned,
        access_count=count,
        vector=vector if kind == "memory" else None,
    )
    fields = record_fields(record)
    for line in (to_line(fields).decode(), f"{json.dumps(fields)}\n"):
        assert line.count("\n") == 1
        back = read_record(read_line(line))
        assert back == record
        assert kind == "item" or np.array_equal(back.vector, vector)


def test_fields_without_a_value_are_left_out() -> None:
    created = datetime(2026, 4, 28, tzinfo=timezone.utc)
    record = Record(
        kind="memory", id="m", scope=Scope(), key=content_key("semantic", "tea"), type="semantic",
        content="tea", created_at=created, said_at=created,
    )  # fmt: skip
    assert set(record_fields(record)) == {"kind", "id", "type", "content", "created_at"}


def test_drafts_of_the_past_come_back(memory: KronvexMemory) -> None:
    past = datetime(2020, 1, 1, tzinfo=timezone(timedelta(hours=5)))
    memory.remember_many([MemoryDraft("tea", user_id="ana", created_at=past, ttl_days=36_000)])
    before, moved = everything(memory), io.BytesIO()
    memory.export(moved)
    memory.clear()
    memory.import_(io.BytesIO(moved.getvalue()))
    assert everything(memory) == before
