"""Stores of version 0.1 open, hold all they held, and can be changed, erased and exported."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from databases import DATABASES
from langchain_kronvex import KronvexMemory
from langchain_kronvex.server import create_app
from server.running import serving

from .contents import (
    API_KEY,
    CHATS,
    DAY,
    MADE_AT,
    OWNERS,
    REFUSED,
    REINDEXED,
    REINDEXED_BATCH,
    REINDEXED_COUNT,
    SERVER_URL,
    Letters,
    at,
    conversation,
    everything,
    memories,
)

HERE = Path(__file__).parent
CONTENTS = json.loads((HERE / "contents.json").read_text(encoding="utf-8"))
NOW = MADE_AT + DAY
ANA = {"user_id": "ana"}


def unpacked(name: str, folder: Path) -> Path:
    """Return a copy of a file, which a test may change."""
    path = folder / name
    path.write_bytes(gzip.decompress((HERE / f"{name}.gz").read_bytes()))
    return path


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{unpacked('memory.db', folder)}"


def postgres_url(folder: Path) -> str:
    url = DATABASES.bare()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute("SET check_function_bodies = off")  # they name tables made further down
        connection.execute(unpacked("postgres.sql", folder).read_bytes())
    return url


@pytest.fixture(params=["sqlite", "postgres"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def url(kind: str, tmp_path: Path) -> str:
    """The URL of a copy of an old store."""
    return {"sqlite": sqlite_url, "postgres": postgres_url}[kind](tmp_path)


def as_it_was(now: Any, then: Any) -> bool:
    """Return whether a value holds all that it held; a new field of a result changes nothing."""
    if isinstance(then, dict):
        return isinstance(now, dict) and all(
            key in now and as_it_was(now[key], value) for key, value in then.items()
        )
    if isinstance(then, list):
        return len(now) == len(then) and all(map(as_it_was, now, then))
    return bool(now == (pytest.approx(then, abs=2e-4) if isinstance(then, float) else then))


def assert_as_it_was(now: dict[str, Any], then: dict[str, Any]) -> None:
    """Compare everything; of what was recalled the memories, since scores improve with versions."""
    assert now.keys() == then.keys()
    assert ids_recalled(now) == ids_recalled(then)
    rest = then.keys() - {"recalled"}
    assert {key: now[key] for key in rest if not as_it_was(now[key], then[key])} == {}


def ids_recalled(read: dict[str, Any]) -> list[list[str]]:
    return [[each["id"] for each in found] for found in read["recalled"]]


def test_everything_is_there(kind: str, url: str) -> None:
    assert_as_it_was(everything(url), CONTENTS[kind])


def test_a_day_that_was_set_still_ends_a_memory(url: str) -> None:
    def contents_of_ana(moment: Any) -> set[str]:
        with KronvexMemory(url, **at(moment)) as memory:
            return {each.content for each in memory.memories(**ANA)}

    before = contents_of_ana(MADE_AT + 28 * DAY)
    after = contents_of_ana(MADE_AT + 29 * DAY + timedelta(seconds=1))

    assert before - after == {"Ana's flight leaves at nine."}
    assert "Ana prefers concise answers." in after  # pinned, its day long past


def test_a_text_said_again_is_stored_once(url: str) -> None:
    with KronvexMemory(url, **at(NOW)) as memory:
        count = memory.stats().memories
        again = memory.remember("I am allergic to peanuts.", user_id="ana", session_id="monday")

        assert again.deduplicated
        assert again.created_at == NOW
        assert memory.stats().memories == count


def test_a_memory_can_be_changed_and_found_beside_a_new_one(url: str) -> None:
    with KronvexMemory(url, **at(NOW)) as memory:
        old = memory.recall("Lisbon", **ANA)[0]
        memory.update(old.id, pinned=True, metadata={"checked": True})
        new = memory.remember("My house in Lisbon has a blue door.", **ANA)

        found = memory.recall("Lisbon", **ANA, top_k=2)
        changed = memory.get(old.id)

    assert {each.id for each in found} == {old.id, new.id}
    assert changed is not None
    assert (changed.content, changed.pinned) == (old.content, True)
    assert changed.metadata == {"checked": True}


def test_a_memory_can_be_corrected_and_superseded(url: str) -> None:
    with KronvexMemory(url, **at(NOW)) as memory:
        old = memory.recall("Lisbon", **ANA)[0]
        count = len(memory.memories(**ANA))
        new = memory.remember("My house is in Porto now.", **ANA, supersedes=old.id)
        assert old.id not in {each.id for each in memory.recall("Lisbon", **ANA, top_k=9)}
        assert len(memory.memories(**ANA)) == count
        assert [each.id for each in memory.history(new.id)] == [old.id, new.id]
        then = memory.recall("Lisbon", **ANA, as_of=NOW - timedelta(seconds=1))
        assert then[0].id == old.id
        assert memory.update(new.id, content="My house is in Braga now.").id == new.id
        assert memory.recall("Braga", **ANA, top_k=1)[0].id == new.id


def test_a_user_can_be_forgotten(kind: str, url: str, tmp_path: Path) -> None:
    with KronvexMemory(url, **at(NOW)) as memory:
        assert memory.forget(**ANA)
        memory.flush()
        assert memory.memories(**ANA) == []
        assert memory.load_messages(**CHATS[0]) == []
        left = [memories(memory, owner) for owner in OWNERS[1:]]

    assert as_it_was(left, CONTENTS[kind]["memories"][1:])
    if kind == "sqlite":
        files = tmp_path.glob("memory.db*")
        assert not any(b"allergic to peanuts" in file.read_bytes() for file in files)


def test_a_chat_goes_on(url: str) -> None:
    with KronvexMemory(url, **at(NOW)) as memory:
        history = memory.chat_history("monday", user_id="ana")
        history.add_user_message("Thank you.")
        texts = [message.content for message in history.messages]

    assert texts[:-1] == [message.content for message in conversation()]
    assert texts[-1] == "Thank you."


def test_an_unfinished_reindexing_goes_on_where_it_stopped(url: str) -> None:
    old, new = Letters("xyz"), Letters("aeiou")
    with KronvexMemory(url, agent_id=REINDEXED, embeddings=old, **at(NOW)) as memory:
        assert memory.stats().unembedded == 0
        assert memory.reindex(new, progress=False) == REINDEXED_COUNT

    numbers = [text for text in new.embedded if "number" in text]
    assert len(numbers) == REINDEXED_COUNT - REINDEXED_BATCH
    with KronvexMemory(url, agent_id=REINDEXED, embeddings=new, **at(NOW)) as memory:
        assert memory.recall("A number that I like is 7.", **ANA)[0].content.endswith("is 7.")


def test_an_old_store_can_be_exported_and_taken_in(kind: str, url: str, tmp_path: Path) -> None:
    with KronvexMemory(url, **at(NOW)) as memory:
        memory.export(tmp_path / "all.jsonl.gz", vectors=True)

    assert_taken_in(tmp_path / "all.jsonl.gz", kind, tmp_path)


def test_an_old_export_is_taken_in_whole(tmp_path: Path) -> None:
    assert_taken_in(HERE / "export.jsonl", "sqlite", tmp_path)


def assert_taken_in(file: Path, kind: str, folder: Path) -> None:
    """Import an export of the agent `default` into a new store, and compare."""
    url = f"sqlite:///{folder / 'new.db'}"
    with KronvexMemory(url, **at(NOW)) as memory:
        summary = memory.import_(file, progress=False)
        assert summary.stored == summary.memories + summary.messages + summary.items

    now, then = everything(url), CONTENTS[kind]
    of_other_agents = ("items", "of the other agent")
    assert_as_it_was(now, then | {key: now[key] for key in of_other_agents})


@contextmanager
def forwarding_to(url: str) -> Iterator[httpx.Client]:
    """Give a client that sends to another address what is meant for the server of the outbox."""
    there = httpx.URL(url)

    def answer(request: httpx.Request) -> httpx.Response:
        target = request.url.copy_with(scheme=there.scheme, host=there.host, port=there.port)
        body, headers = request.read(), {"Content-Type": "application/json"}
        given = forward.request(request.method, target, content=body, headers=headers)
        return httpx.Response(given.status_code, content=given.content)

    transport = httpx.MockTransport(answer)
    with httpx.Client(timeout=20) as forward, httpx.Client(transport=transport) as client:
        yield client


@pytest.mark.slow
def test_entries_of_an_old_outbox_are_sent(tmp_path: Path) -> None:
    outbox = unpacked("outbox.db", tmp_path)
    store = f"sqlite:///{tmp_path / 'served.db'}"
    with (
        KronvexMemory(store) as served,
        serving(create_app(served)) as address,
        forwarding_to(address) as client,
    ):
        with KronvexMemory(
            SERVER_URL, api_key=API_KEY, outbox=outbox, http_client=client, **at(NOW)
        ) as memory:
            memory.flush(20)
            stats = memory.stats()
            sent = {each.content: each for each in memory.memories(**ANA)}
            messages = memory.load_messages(**CHATS[0])

        assert (stats.pending, stats.failed) == (0, 1)
        peanuts = sent["I am allergic to peanuts."]
        assert (peanuts.metadata, peanuts.created_at) == ({"n": 1}, MADE_AT)
        assert sent["Ana prefers concise answers."].pinned
        assert [message.content for message in messages] == [m.content for m in conversation()]
        assert not any(each.content == REFUSED for each in served.memories(user_id="ben"))

    command = [sys.executable, "-m", "langchain_kronvex.cli", "outbox", "list", "--outbox", outbox]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert re.search(r": 1 [a-z ]+, 0 to be sent", listed)
