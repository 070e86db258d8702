"""Export and import: everything arrives once and unchanged, for the right users."""

from __future__ import annotations

import gzip
import io
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, HumanMessage

from contract.drivers import NOW, Backend, Clock, Driver
from contract.test_messages import CONVERSATION
from defaults import set_default
from inside import Export, Import, Page, Record, Scope, Selection
from langchain_kronvex import InvalidInput, KronvexMemory, MemoryDraft, MoveSummary

OpenDriver = Callable[..., Driver]
USERS = ("ana", "ben")
QUERIES = ("tea", "Where is the ladder?", "Lisbon 2024", "number 7")


@pytest.fixture
def open_elsewhere(
    backend: Backend, colour: str, clock: Clock, tmp_path: Path
) -> Iterator[OpenDriver]:
    """Opens memories in another place of the same kind, and closes them all."""
    opened: list[Driver] = []
    folder = tmp_path / "elsewhere"
    folder.mkdir()

    def open_(**options: Any) -> Driver:
        url = other_database(folder) if backend.name == "postgres" else backend.url(folder)
        opened.append(Driver(KronvexMemory(url, **{"clock": clock, **options}), colour))
        return opened[-1]

    yield open_
    for driver in opened:
        driver.end()


@cache
def _other_databases() -> Any:
    """Databases beside those that the backend under test uses, on the same server."""
    from databases import DATABASES

    return DATABASES.beside()


def other_database(folder: Path) -> str:
    """Return the URL of a database, empty for a folder that is new."""
    url: str = _other_databases().url(folder)
    return url


@pytest.fixture
def elsewhere(open_elsewhere: OpenDriver) -> Driver:
    """An empty memory in another place."""
    return open_elsewhere()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "moved.jsonl"


def item(key: str, content: str, namespace: str = "ana", **more: Any) -> Record:
    return Record(
        kind="item", id=uuid.uuid4().hex, scope=Scope(namespace, "drawer"), key=key, type="thing",
        content=content, **{"created_at": NOW, **more},
    )  # fmt: skip


def furnish(memory: Driver, clock: Clock) -> None:
    """Store records of every kind."""
    for user in USERS:
        drafts = [
            MemoryDraft(f"{user} drinks tea ☕ number {n}", user_id=user, session_id=f"s{n % 2}")
            for n in range(9)
        ]
        memory.remember_many(drafts)
        memory.remember(f"{user} went to Lisbon", user_id=user, created_at=NOW - timedelta(days=99))
        memory.remember("likes quiet", user_id=user, memory_type="preference", pinned=True)
        memory.remember("for a while", user_id=user, ttl_days=3.5, memory_type="semantic")
        memory.save_exchange(f"I am {user}.", "Nice to meet you!", user_id=user)
        memory.save_messages(CONVERSATION, "chat", user_id=user)
        memory.save_messages([HumanMessage("no answer yet")], "chat", user_id=user)
    memory.remember("nobody's own", metadata={"deep": [{"é": None, "n": 1.5}], "": "\ud800\0"})
    memory.remember("by its session alone", session_id="ana")
    memory.memory.engine.backend.add([item("a", '{"x":1}'), item("b " * 300, "[2]")], NOW)
    clock.advance(hours=1)
    memory.remember("likes quiet", user_id="ana", memory_type="preference", metadata={"again": 1})


def records(memory: Driver) -> list[Record]:
    """Everything of the agent, in the order of writing."""
    now = memory.memory.engine.clock()
    return memory.memory.engine.backend.find(Selection(kind=None, scope=None), Page(), now)


def seen(memory: Driver) -> dict[str, Any]:
    """The memories that users see."""
    assert memory.flush(30)
    owners = [{"user_id": user} for user in USERS] + [{}]
    stats = memory.stats()
    return {
        "memories": [memory.memories(limit=99, **owner) for owner in owners],
        "messages": [memory.load_messages("chat", user_id=user) for user in USERS],
        "sessions": memory.sessions(),
        "stats": (stats.memories, stats.messages, stats.users, stats.unembedded),
        "recalled": [
            memory.recall(query, top_k=20, **owner) for query in QUERIES for owner in owners
        ],
    }


def uncounted(found: list[Record]) -> list[Record]:
    """The records without their access counts."""
    return [replace(record, access_count=0) for record in found]


def recalled_once(memory: Driver) -> None:
    memory.recall("tea", user_id="ana", top_k=3)
    assert memory.flush(30)


# -- the round trip ----------------------------------------------------------------------------


def test_everything_is_as_it_was(
    memory: Driver, elsewhere: Driver, clock: Clock, file: Path
) -> None:
    furnish(memory, clock)
    before = records(memory)
    written = memory.export(file)
    read = elsewhere.import_(file)
    assert written == read == MoveSummary(memories=34, messages=16, items=2, stored=52)
    assert uncounted(records(elsewhere)) == uncounted(before)
    there = seen(elsewhere)
    assert {**there, "recalled": []} == {**seen(memory), "recalled": []}


def test_recall_counts_and_finds_as_before(
    memory: Driver, elsewhere: Driver, clock: Clock, file: Path
) -> None:
    furnish(memory, clock)
    recalled_once(memory)
    memory.export(file)
    elsewhere.import_(file)
    moved = records(elsewhere)
    assert moved == records(memory)
    assert [r.access_count for r in moved if r.access_count] == [1, 1, 1]
    assert seen(elsewhere)["recalled"] == seen(memory)["recalled"]


def test_the_first_of_equal_texts_stays(
    memory: Driver, elsewhere: Driver, clock: Clock, file: Path
) -> None:
    memory.remember("tea", user_id="ana")
    clock.advance(days=40)
    memory.remember("tea", user_id="ana")
    memory.export(file)
    elsewhere.import_(file)
    [moved] = records(elsewhere)
    assert (moved.said_at, moved.created_at) == (NOW, NOW + timedelta(days=40))


@pytest.mark.parametrize("name", ["moved.jsonl", "moved.jsonl.gz"])
def test_vectors_may_come_along(memory: Driver, elsewhere: Driver, clock: Clock, file: Path,
    name: str) -> None:  # fmt: skip
    furnish(memory, clock)
    packed = file.with_name(name)
    memory.export(packed, vectors=True)
    raw = packed.read_bytes()
    lines = (gzip.decompress(raw) if name.endswith(".gz") else raw).decode().splitlines()
    kinds = [("vector" in line) for line in map(json.loads, lines) if line.get("kind") == "memory"]
    assert kinds == [True] * 34
    model = memory.memory.engine.model.current
    assert model is not None
    assert json.loads(lines[0])["model"] == model.name
    elsewhere.import_(packed)
    assert seen(elsewhere) == seen(memory)


class Letters(Embeddings):
    """Embeds by counting letters; counts its texts."""

    def __init__(self, model: str = "letters") -> None:
        self.model = model
        self.texts: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.texts += texts
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return [1.0 + text.lower().count(chr(97 + n)) for n in range(26)]


def test_with_vectors_nothing_is_embedded_again(
    open_driver: OpenDriver, open_elsewhere: OpenDriver, file: Path
) -> None:
    memory = open_driver(embeddings=Letters())
    memory.remember_many([MemoryDraft(f"number {n} zoo", user_id="ana") for n in range(30)])
    assert memory.flush(30)
    memory.export(file, vectors=True)
    letters = Letters()
    elsewhere = open_elsewhere(embeddings=letters)
    elsewhere.import_(file)
    assert elsewhere.flush(30)
    assert letters.texts == []
    assert elsewhere.stats().unembedded == 0
    asked = {"user_id": "ana", "top_k": 30}
    assert elsewhere.recall("number 7", **asked) == memory.recall("number 7", **asked)


def test_without_vectors_they_are_fetched_in_the_background(
    memory: Driver, open_elsewhere: OpenDriver, file: Path
) -> None:
    memory.remember_many([MemoryDraft(f"number {n} zoo", user_id="ana") for n in range(30)])
    for vectors in (False, True):  # those of other embeddings are of no use
        memory.export(file, vectors=vectors)
        letters = Letters(f"letters{vectors}")
        elsewhere = open_elsewhere(embeddings=letters, agent_id=f"agent{vectors}")
        elsewhere.import_(file)
        assert elsewhere.flush(30)
        assert sorted(letters.texts) == sorted(f"number {n} zoo" for n in range(30))
        assert elsewhere.stats().unembedded == 0


def test_vectors_of_the_same_name_and_another_width_are_not_compared(
    memory: Driver, elsewhere: Driver, file: Path
) -> None:
    memory.remember("tea", user_id="ana")
    memory.export(file, vectors=True)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[1]["vector"] = "ADwAAAAAAAA="  # 1, 0, 0, 0
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    elsewhere.import_(file)
    assert seen(elsewhere)["recalled"] == seen(memory)["recalled"]


def test_a_store_of_another_width_takes_none(open_driver: OpenDriver) -> None:
    memory = open_driver(embeddings=Letters())
    memory.remember("tea", user_id="ana")
    assert memory.flush(30)
    backend = memory.memory.engine.backend
    wide = np.zeros(27, np.float32)
    wide[0] = 1
    [old] = records(memory)
    new = replace(old, id="wide", key="wide", vector=wide)
    assert backend.restore([new], NOW, "Letters:letters") == 1
    assert [u.id for u in backend.unembedded(9, NOW)] == ["wide"]
    right = replace(new, id="right", key="right", vector=wide[:26])
    assert backend.restore([right], NOW, "Letters:letters") == 1
    assert [u.id for u in backend.unembedded(9, NOW)] == ["wide"]
    assert backend.restore([replace(right, id="other", key="other")], NOW, "Letters:other") == 1
    assert [u.id for u in backend.unembedded(9, NOW)] == ["wide", "other"]


def test_a_memory_of_words_alone_moves(open_driver: OpenDriver, elsewhere: Driver, file: Path
) -> None:  # fmt: skip
    memory = open_driver(embeddings=False)
    memory.remember("tea", user_id="ana")
    with pytest.raises(InvalidInput, match="no vectors"):
        memory.export(file, vectors=True)
    assert not file.exists()
    memory.export(file)
    elsewhere.import_(file)
    assert elsewhere.stats().unembedded == 0


def test_an_empty_memory_moves(memory: Driver, elsewhere: Driver, file: Path) -> None:
    assert memory.export(file) == MoveSummary(memories=0, messages=0, items=0, stored=0)
    assert elsewhere.import_(file) == MoveSummary(memories=0, messages=0, items=0, stored=0)


def test_streams_of_text_and_of_bytes(
    memory: Driver, elsewhere: Driver, clock: Clock, tmp_path: Path
) -> None:
    furnish(memory, clock)
    before = records(memory)
    binary, text = io.BytesIO(), io.StringIO()
    memory.export(binary)
    memory.export(text)
    assert text.getvalue().isascii()
    assert elsewhere.import_(io.BytesIO(binary.getvalue())).stored == len(before)
    assert elsewhere.import_(io.StringIO(text.getvalue())).stored == 0
    assert [r.id for r in records(elsewhere)] == [r.id for r in before]
    with (tmp_path / "latin1").open("w+", encoding="latin1") as stream:
        memory.export(stream)
        stream.seek(0)
        assert elsewhere.import_(stream).stored == 0


def test_expired_memories_are_not_imported(
    memory: Driver, elsewhere: Driver, clock: Clock, file: Path
) -> None:
    memory.remember("short", user_id="ana", ttl_days=1)
    memory.remember("long", user_id="ana", ttl_days=3)
    memory.remember("pinned", user_id="ana", ttl_days=1, pinned=True)
    memory.export(file)
    clock.advance(days=2)
    assert elsewhere.import_(file).stored == 2
    assert [m.content for m in elsewhere.memories(user_id="ana")] == ["pinned", "long"]
    memory.export(file)
    assert "short" not in file.read_text()


def test_imported_memories_can_be_changed_as_before(
    memory: Driver, elsewhere: Driver, clock: Clock, file: Path
) -> None:
    memory.save_messages([HumanMessage("Where is the ladder?")], "chat", user_id="ana")
    tea = memory.remember("tea", user_id="ana", metadata={"a": 1})
    memory.export(file)
    elsewhere.import_(file)
    clock.advance(days=1)
    elsewhere.save_messages([AIMessage("In the shed.")], "chat", user_id="ana")
    again = elsewhere.remember("tea", user_id="ana", metadata={"b": 2})
    assert (again.deduplicated, again.id, again.metadata) == (True, tea.id, {"a": 1, "b": 2})
    contents = {m.content for m in elsewhere.memories(user_id="ana")}
    assert contents == {"tea", "User: Where is the ladder?\nAssistant: In the shed."}
    assert len(elsewhere.load_messages("chat", user_id="ana")) == 2


# -- doing it again ----------------------------------------------------------------------------


def test_importing_again_changes_nothing(
    memory: Driver, elsewhere: Driver, clock: Clock, file: Path
) -> None:
    furnish(memory, clock)
    memory.export(file)
    first = elsewhere.import_(file)
    there = records(elsewhere)
    again = elsewhere.import_(file)
    assert (again.stored, replace(again, stored=first.stored)) == (0, first)
    assert records(elsewhere) == there
    assert memory.import_(file).stored == 0
    assert [r.id for r in records(memory)] == [r.id for r in there]


def test_memories_changed_since_are_left_alone(
    memory: Driver, elsewhere: Driver, clock: Clock, file: Path
) -> None:
    tea = memory.remember("tea", user_id="ana", metadata={"a": 1})
    gone = memory.remember("coffee", user_id="ana")
    memory.export(file)
    elsewhere.import_(file)
    clock.advance(days=1)
    elsewhere.update(tea.id, memory_type="semantic", metadata={"changed": True}, pinned=True)
    changed = elsewhere.get(tea.id)
    elsewhere.forget(id=gone.id)
    assert elsewhere.import_(file).stored == 1  # what was forgotten is in the file
    assert elsewhere.get(tea.id) == changed
    assert len(elsewhere.memories(user_id="ana")) == 2


def test_the_same_text_is_renewed_and_not_doubled(
    memory: Driver, elsewhere: Driver, clock: Clock, file: Path
) -> None:
    own = elsewhere.remember("tea", user_id="ana", metadata={"own": 1}, ttl_days=2)
    clock.advance(days=1)
    memory.remember("tea", user_id="ana", metadata={"theirs": 2}, ttl_days=5)
    memory.export(file)
    for _ in range(2):
        assert elsewhere.import_(file).stored == 0
        [one] = elsewhere.memories(user_id="ana")
        assert (one.id, one.metadata) == (own.id, {"own": 1, "theirs": 2})
        assert one.created_at == clock.now
        assert one.expires_at == clock.now + timedelta(days=5)
    assert len(elsewhere.recall("tea", user_id="ana")) == 1


def test_of_two_values_of_one_key_the_later_holds(
    memory: Driver, elsewhere: Driver, clock: Clock, file: Path
) -> None:
    later, earlier = NOW + timedelta(hours=1), NOW - timedelta(hours=1)
    backend = elsewhere.memory.engine.backend
    own = [item("a", "own a"), item("b", "own b"), item("c", "own c")]
    backend.add(own, NOW)
    theirs = [
        item("a", "later", created_at=later),
        item("b", "earlier", created_at=earlier),
        item("c", "at once"),
        item("d", "new"),
    ]
    memory.memory.engine.backend.add(theirs, NOW)
    memory.export(file)
    wanted = {"a": "later", "b": "own b", "c": "own c", "d": "new"}
    assert elsewhere.import_(file).stored == 2
    assert {r.key: r.content for r in records(elsewhere)} == wanted
    assert elsewhere.import_(file).stored == 0
    assert {r.key: r.content for r in records(elsewhere)} == wanted


def test_an_interrupted_import_can_be_completed(
    memory: Driver, elsewhere: Driver, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_default(monkeypatch, Import, "batch_records", 10)
    memory.remember_many([MemoryDraft(f"number {n}", user_id="ana") for n in range(35)])
    memory.export(file)
    backend = elsewhere.memory.engine.backend
    restore, batches = backend.restore, iter(range(9))

    def fail_at_the_third(*arguments: Any) -> int:
        if next(batches) == 2:
            raise OSError("pulled out")
        return restore(*arguments)

    monkeypatch.setattr(backend, "restore", fail_at_the_third)
    with pytest.raises(OSError, match="pulled out"):
        elsewhere.import_(file)
    assert [r.content for r in records(elsewhere)] == [f"number {n}" for n in range(20)]
    assert elsewhere.import_(file).stored == 15
    assert records(elsewhere) == records(memory)


# -- whose it is -------------------------------------------------------------------------------


def test_one_users_own(memory: Driver, elsewhere: Driver, clock: Clock, file: Path) -> None:
    furnish(memory, clock)
    of_ana = {
        "memories": memory.memories(user_id="ana", limit=99),
        "messages": memory.load_messages("chat", user_id="ana"),
        "sessions": memory.sessions(user_id="ana"),
    }
    written = memory.export(file, user_id="ana")
    assert written == MoveSummary(memories=17, messages=8, items=0, stored=25)
    text = file.read_text()
    assert not any(word in text for word in ("ben", "nobody", "drawer"))
    assert json.loads(text.splitlines()[0])["user_id"] == "ana"
    elsewhere.import_(file)
    assert {
        "memories": elsewhere.memories(user_id="ana", limit=99),
        "messages": elsewhere.load_messages("chat", user_id="ana"),
        "sessions": elsewhere.sessions(),
    } == of_ana
    assert elsewhere.memories() == elsewhere.memories(user_id="ben") == []


def test_a_user_is_matched_exactly(memory: Driver, file: Path) -> None:
    memory.remember("tea", user_id="ana")
    for user_id in ("an", "ANA", "ana ", "%", "ana%"):
        assert memory.export(file, user_id=user_id).stored == 0


def test_agents_of_one_store_keep_their_own(
    open_shared: OpenDriver, clock: Clock, file: Path
) -> None:
    mine, other = open_shared(agent_id="mine"), open_shared(agent_id="other")
    furnish(mine, clock)
    recalled_once(mine)
    before = records(mine)
    mine.export(file)
    assert other.export(io.BytesIO()).stored == 0
    assert other.import_(file).stored == len(before)
    assert other.import_(file).stored == 0
    moved = records(other)
    assert records(mine) == before
    if not mine.memory.engine.backend.is_remote:  # where ids are unique in the store
        assert not {r.id for r in moved} & {r.id for r in before}
    assert [replace(r, id="") for r in moved] == [replace(r, id="") for r in before]
    said = [*CONVERSATION, HumanMessage("no answer yet")]
    assert other.load_messages("chat", user_id="ana") == said
    mine.clear()
    assert records(other) == moved
    other.export(file)  # what has other ids moves on as it is
    assert mine.import_(file).stored == len(before)
    assert [replace(r, id="") for r in records(mine)] == [replace(r, id="") for r in before]


def test_a_file_cannot_take_over_anothers_memory(memory: Driver, clock: Clock, file: Path) -> None:
    furnish(memory, clock)
    before = records(memory)
    memory.export(file)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines[1:-1]:  # each says it is the evil twin's
        line["user_id"], line["metadata"] = "eve", {"by": "eve"}
        if line["kind"] != "message":
            line["content"] = f"taken over: {line['id']}"
        line["key"] = line["id"]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    for stored in (len(before), 0):
        assert memory.import_(file).stored == stored
        assert [r for r in records(memory) if r.scope.owner != "eve"] == before
    assert len([r for r in records(memory) if r.scope.owner == "eve"]) == len(before)


# -- progress ----------------------------------------------------------------------------------


def test_progress_is_told(
    memory: Driver, elsewhere: Driver, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_default(monkeypatch, Export, "page_records", 40)
    set_default(monkeypatch, Import, "batch_records", 40)
    memory.remember_many([MemoryDraft(f"number {n}", user_id="ana") for n in range(100)])
    told: list[tuple[int, int]] = []
    memory.export(file, progress=lambda done, total: told.append((done, total)))
    assert (told[0], told[-1]) == ((0, 100), (100, 100))
    told.clear()
    elsewhere.import_(file, progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 100), (40, 100), (80, 100), (100, 100)]
