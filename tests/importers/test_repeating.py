"""An import that is repeated, also after it was killed, stores nothing twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta, timezone
from importlib import import_module
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.served import APIS
from databases import DATABASES
from integration.crew import Crew
from langchain_kronvex import ConfigurationError, KronvexMemory, StoreError
from langchain_kronvex.importers import import_from
from langchain_kronvex.langgraph import KronvexStore

from .files import CHATGPT, ITEMS, KRONVEX, MEM0, ZEP, conversation, message, sqlite_store, written

OpenMemory = Callable[..., KronvexMemory]
Snapshot = list[Any]
TEXTS = st.sampled_from(["tea", "tea", "figs", " ", "", "a\0b", "\ud800", "x" * 300])
USERS = st.sampled_from(["ana", "ANA", "bob", 7, None, "", ["ana"], "u" * 300])
TIMES = st.sampled_from(
    [None, 1741000000, 1741000000123, "1741000000.5", "2025-03-01", "2025-03-01T09:00:00+0100",
     "2025-03-01T09:00:00.1Z", "2025-03-01 09:00:00", float("nan"), float("inf"), -1e30, 10**400,
     "now", True, {}, "9999-12-31", "0001-01-01T00:00:00+05:00"]
)  # fmt: skip
IDS = st.sampled_from(["1", "2", 3, 10**30, None, "i" * 300, {"a": 1}, "\x1b[2J"])
METADATA = st.sampled_from([None, {}, {"a": [1]}, [], "text", {"n": float("nan")}])
MEMORIES = st.fixed_dictionaries(
    {},
    optional={
        "id": IDS, "memory": TEXTS, "user_id": USERS, "run_id": IDS, "created_at": TIMES,
        "updated_at": TIMES, "metadata": METADATA, "expiration_date": TIMES,
    },
)  # fmt: skip


def everything(memory: KronvexMemory) -> Snapshot:
    """Return all memories, as they are, and all messages."""
    assert memory.flush(60)
    memories = memory.memories(all_users=True, include_superseded=True, limit=10_000)
    sessions = sorted((s.session_id or "", s.user_id or "") for s in memory.sessions())
    said = [memory.chat_history(s, user_id=u or None).messages for s, u in sessions if s]
    return [sorted(memories, key=lambda each: each.id), said]


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    with Crew(Path(__file__).parent) as crew:
        yield crew


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "api"])
def test_on_every_store(kind: str, open_memory: OpenMemory, tmp_path: Path) -> None:
    urls = {"postgres": DATABASES.url, "api": APIS.url}
    memory = open_memory(*([urls[kind](tmp_path)] if kind in urls else []))
    files = {"mem0": MEM0, "zep": ZEP, "kronvex": KRONVEX, "chatgpt": CHATGPT}
    paths = {source: written(tmp_path / f"{source}.json", each) for source, each in files.items()}

    first = {s: import_from(memory, s, path, user_id="ana") for s, path in paths.items()}
    stored = everything(memory)
    again = {s: import_from(memory, s, path, user_id="ana") for s, path in paths.items()}

    assert all(each.stored == each.memories + each.messages > 0 for each in first.values())
    assert not any(each.stored for each in again.values())
    assert everything(memory) == stored


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(values=st.lists(st.one_of(MEMORIES, TIMES, st.lists(USERS, max_size=2)), max_size=12))
def test_whatever_is_in_the_file(memory: KronvexMemory, tmp_path: Path, values: list[Any]) -> None:
    memory.clear()
    file = written(tmp_path / "memories.json", values)
    report = import_from(memory, "mem0", file)
    stored = everything(memory)

    assert (
        report.memories + report.left_out
        == len(values)
        == sum(report.reasons.values()) + (report.memories)
    )
    assert not any("tea" in each.reason or "figs" in each.reason for each in report.first)
    assert import_from(memory, "mem0", file).stored == 0
    assert everything(memory) == stored


def test_a_dry_run_reports_the_same_and_stores_nothing(
    memory: KronvexMemory, tmp_path: Path
) -> None:
    file = written(tmp_path / "zep.json", ZEP)
    dry = import_from(None, "zep", file, dry_run=True)

    assert import_from(memory, "zep", file, dry_run=True) == dry
    assert everything(memory) == [[], []]
    report = import_from(memory, "zep", file)
    names = ("memories", "messages", "items", "left_out", "reasons", "first")
    assert [getattr(dry, n) for n in names] == [getattr(report, n) for n in names]
    assert (dry.stored, report.stored) == (0, 5)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_killed_import_is_completed_by_the_next(
    kind: str, crew: Crew, tmp_path: Path, open_memory: OpenMemory
) -> None:
    url = f"sqlite:///{tmp_path / 'killed.db'}" if kind == "sqlite" else DATABASES.url(tmp_path)
    talks = []
    for number in range(20):
        said, parent = [], "root"
        for turn in range(25):
            said.append(message(f"q{turn}", parent, "user", f"Question {number}.{turn}?"))
            said.append(message(f"a{turn}", f"q{turn}", "assistant", f"Answer {number}.{turn}."))
            parent = f"a{turn}"
        talks.append(conversation(f"c{number}", *said))
    file = written(tmp_path / "conversations.json", talks)
    child = crew.start("import_reading_slowly", url=url, source="chatgpt", file=str(file))
    for _ in range(file.stat().st_size // 4000 * 4 // 5):
        assert child.hear() == "reading"
        child.say("go on")
    child.kill()

    with KronvexMemory(url) as killed:
        some = killed.stats()
        report = import_from(killed, "chatgpt", file, user_id="ana")
        whole = open_memory()
        import_from(whole, "chatgpt", file, user_id="ana")
        assert 0 < some.memories + some.messages < 1500
        assert report.stored == 1500 - some.memories - some.messages
        assert everything(killed) == everything(whole)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_langgraph_on_postgres(kind: str, tmp_path: Path, open_memory: OpenMemory) -> None:
    """From one PostgreSQL, where the types differ, into each store."""
    source = DATABASES.beside().bare()
    table = (
        "CREATE TABLE store (prefix text NOT NULL, key text NOT NULL, value jsonb NOT NULL, "
        "created_at timestamptz DEFAULT CURRENT_TIMESTAMP, "
        "updated_at timestamptz DEFAULT CURRENT_TIMESTAMP, expires_at timestamptz, "
        "ttl_minutes int, PRIMARY KEY (prefix, key))"
    )
    rows = [(*row[:6], row[6] and int(row[6])) for row in ITEMS]
    with psycopg.connect(source) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        connection.execute(table)
        places = ", ".join(["%s"] * 7)
        connection.cursor().executemany(f"INSERT INTO store VALUES ({places})", rows)
    memory = open_memory(*([DATABASES.url(tmp_path)] if kind == "postgres" else []))

    assert import_from(memory, "langgraph", source).stored == 3
    assert import_from(memory, "langgraph", source).stored == 0
    store = KronvexStore(memory)
    item = store.get(("users", "ana"), "city", refresh_ttl=False)
    store.memory.close()
    assert item is not None
    assert item.value == {"text": "Porto", "since": {"year": 2025}}
    assert item.created_at.isoformat() == "2025-03-01T09:00:00+00:00"


def test_a_postgres_that_cannot_be_read_shows_no_password(memory: KronvexMemory) -> None:
    with pytest.raises(StoreError, match="Check the URL") as caught:
        import_from(memory, "langgraph", "postgresql://ana:hunter2@127.0.0.1:1/none")
    assert "hunter2" not in str(caught.value)


def test_items_do_not_go_into_a_memory_in_ram(tmp_path: Path) -> None:
    with KronvexMemory("sqlite://") as memory, pytest.raises(ConfigurationError, match="RAM"):
        import_from(memory, "langgraph", sqlite_store(tmp_path / "lg.db"))


def test_stores_made_by_the_real_packages(memory: KronvexMemory, tmp_path: Path) -> None:
    real_sqlite = import_module("langgraph.store.sqlite")
    real_postgres = import_module("langgraph.store.postgres")
    file, url = tmp_path / "real.db", DATABASES.beside().bare()
    for kind, place in (
        (real_sqlite.SqliteStore, str(file)), (real_postgres.PostgresStore, url),
    ):  # fmt: skip
        with kind.from_conn_string(place) as store:
            store.setup()
            store.put(("users", "ana"), "food", {"text": "No peanuts."}, ttl=60)
            wanted = store.get(("users", "ana"), "food", refresh_ttl=False)
        report = import_from(memory, "langgraph", place)
        assert (report.items, report.left_out) == (1, 0)
        with KronvexStore(memory).memory as items:
            [kept] = items.memories(all_users=True)
            items.clear()
        assert kept.metadata["value"] == wanted.value
        zone = wanted.updated_at.tzinfo or timezone.utc  # of SQLite's there is none
        written_at = wanted.updated_at.replace(tzinfo=zone)
        assert abs(kept.created_at - written_at) < timedelta(seconds=1)
        assert kept.expires_at is not None
        assert abs(kept.expires_at - written_at - timedelta(hours=1)) < timedelta(seconds=2)
