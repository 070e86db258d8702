"""The commands that change a store do what they say, ask before they erase, and leave no bytes."""

from __future__ import annotations

import io
import os
import sqlite3
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding

from langchain_kronvex import KronvexMemory

from .conftest import EVIL, EVIL_TEXT, Run

SECRET = "the vault opens with plimsoll-quartz"


def test_a_memory_is_remembered_and_changed(url: str, run: Run) -> None:
    made = run(
        "remember", "Ana likes tea.", "--url", url, "--user", "ana", "--session", "monday",
        "--type", "preference", "--ttl-days", "7", "--metadata", '{"from": "form"}', "--json",
    ).found[0]  # fmt: skip
    assert (made["user_id"], made["session_id"], made["metadata"]) == (
        "ana", "monday", {"from": "form"},
    )  # fmt: skip
    assert made["expires_at"] is not None

    changed = run(
        "update", made["id"], "--url", url, "--content", "Ana likes mint tea.", "--pinned"
    )
    assert (changed.code, changed.out.strip()) == (0, made["id"])
    run("update", made["id"], "--url", url, "--ttl-days", "never", "--type", "semantic")
    with KronvexMemory(url) as memory:
        found = memory.get(made["id"])
    assert found is not None
    assert (found.content, found.pinned, found.expires_at) == ("Ana likes mint tea.", True, None)
    assert found.memory_type == "semantic"
    assert run("update", made["id"], "--url", url).code == 2


def test_a_text_comes_from_the_standard_input(
    own_url: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{EVIL_TEXT}\n"))
    made = run("remember", "-", "--user", EVIL, "--url", own_url, "--json").found[0]
    assert (made["content"], made["user_id"]) == (EVIL_TEXT, EVIL)
    assert run("remember", " ", "--user", "ana", "--url", own_url).code == 2
    with pytest.raises(SystemExit):
        run("remember", "x", "--metadata", "[]", "--url", own_url)


def test_what_is_superseded_is_hidden(url: str, run: Run) -> None:
    old = run("remember", "Ana lives in Lisbon.", "--user", "ana", "--url", url, "--json").found[0]
    run("remember", "Ana lives in Porto.", "--user", "ana", "--url", url, "--supersedes", old["id"])
    listed = run("list", "--user", "ana", "--url", url, "--json").found
    assert [each["content"] for each in listed] == ["Ana lives in Porto."]


def test_forgetting_needs_an_answer(filled: str, run: Run) -> None:
    asked = run("forget", "--user", "ana", "--url", filled)
    assert asked.code == 2
    assert "2 memories and 1 message of the user 'ana'" in asked.err
    assert "--yes" in asked.err
    assert len(run("list", "--user", "ana", "--url", filled, "--json").found) == 2
    assert run("forget", "--yes", "--url", filled).code == 2  # nothing is named

    done = run("forget", "--user", "ana", "--url", filled, "--yes", "--json")
    assert (done.code, done.found) == (0, [{"forgotten": 3}])
    assert run("list", "--user", "ana", "--url", filled).out == ""
    assert len(run("list", "--url", filled, "--json").found) == 2
    assert run("forget", "--user", "ana", "--url", filled, "--yes").code == 1


def test_one_session_or_one_memory_is_forgotten(filled: str, run: Run) -> None:
    done = run("forget", "--user", "ana", "--session", "monday", "--url", filled, "--yes", "--json")
    assert done.found == [{"forgotten": 2}]
    [left] = run("list", "--user", "ana", "--url", filled, "--json").found
    assert run("forget", "--id", left["id"], "--user", "bob", "--url", filled, "--yes").code == 1
    assert run("show", left["id"], "--url", filled).code == 0
    assert run("forget", "--id", left["id"], "--url", filled, "--yes").code == 0
    assert run("show", left["id"], "--url", filled).code == 1


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1)])
def test_a_person_is_asked(answer: str, code: int, store_url: str) -> None:
    with KronvexMemory(store_url) as memory:
        memory.remember(SECRET, user_id="ana")
    ours, theirs = pytest.importorskip("pty").openpty()
    command = ["-m", "langchain_kronvex", "forget", "--user", "ana", "--url", store_url]
    os.write(ours, answer.encode())
    done = subprocess.run([sys.executable, *command], stdin=theirs, capture_output=True, timeout=60)
    os.close(ours)
    os.close(theirs)

    assert done.returncode == code
    assert b"permanently? [y/N]" in done.stderr
    path = Path(store_url.removeprefix("sqlite:///"))
    assert (SECRET.encode() in path.read_bytes()) == bool(code)


def test_an_expired_memory_is_erased_with_its_user(store_url: str, run: Run) -> None:
    past = datetime.now(timezone.utc) - timedelta(days=2)
    with KronvexMemory(store_url) as memory:
        memory.remember(SECRET, user_id="ana", ttl_days=1.5, created_at=past + timedelta(days=1))
        memory.remember("stays", user_id="bob")
    path = Path(store_url.removeprefix("sqlite:///"))
    with sqlite3.connect(path) as db:
        db.execute("UPDATE records SET expires = 1000 WHERE content = ?", (SECRET,))
    db.close()

    assert run("forget", "--user", "ana", "--url", store_url, "--yes").code == 1
    assert SECRET.encode() not in path.read_bytes()


def test_a_store_is_reindexed(own_url: str, run: Run) -> None:
    with KronvexMemory(own_url, embeddings=DeterministicFakeEmbedding(size=8)) as memory:
        memory.remember("Ana likes tea.", user_id="ana")
        assert memory.flush(30)

    assert run("remember", "Ana likes cake.", "--user", "ana", "--url", own_url).code == 1
    assert run("list", "--url", own_url).code == 0
    assert run("reindex", "--url", own_url, "--json").found == [{"reindexed": 1}]
    assert run("remember", "Ana likes cake.", "--user", "ana", "--url", own_url).code == 0
    assert run("reindex", "--url", own_url, "--embeddings", "none").code == 2


def test_expire_shows_what_would_go(own_url: str, run: Run) -> None:
    with KronvexMemory(own_url) as memory:
        for number in range(4):
            memory.remember(f"note {number}", user_id="ana")
        memory.remember("a rule", user_id="ana", memory_type="procedural")
    asked = ("expire", "--max-memories", "1", "--keep-type", "procedural", "--url", own_url)

    would_go = run(*asked, "--dry-run", "--json").found
    assert [each["content"] for each in would_go] == ["note 0", "note 1", "note 2"]
    assert run(*asked).code == 2
    assert len(run("list", "--url", own_url, "--json").found) == 5
    assert run(*asked, "--yes").code == 0
    assert len(run("list", "--url", own_url, "--json").found) == 2
    assert run("expire", "--url", own_url, "--dry-run").code == 2


def test_what_an_api_cannot_do_is_wrong_use(filled: str, run: Run) -> None:
    if not filled.startswith("http"):
        return
    assert run("reindex", "--url", filled).code == 2
    assert run("expire", "--idle-days", "1", "--dry-run", "--url", filled).code == 2
    assert run("list", "--embeddings", "none", "--url", filled).code == 2
