"""`export`, `import` of our own files and of other projects', `keys`: for people and as JSON."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from importers.files import MEM0, sqlite_store, written
from langchain_kronvex import KronvexMemory

from .conftest import EVIL, Run

SOURCES = ["mem0", "langgraph", "zep", "chatgpt", "kronvex"]


@pytest.fixture
def mem0(tmp_path: Path) -> str:
    """A file with two memories that fit, and two entries that do not."""
    odd = [{"memory": EVIL, "user_id": ["ana"]}, {"memory": 1, "user_id": "ana"}]
    return str(written(tmp_path / "mem0.json", {"results": [*MEM0["results"], *odd]}))


def test_what_fits_is_imported_and_the_rest_reported(url: str, mem0: str, run: Run) -> None:
    done = run("import", "--from", "mem0", mem0, "--url", url)
    assert done.code == 1
    assert "2 memories, 0 messages and 0 items fit, 2 of them new" in done.err
    assert "2 did not fit" in done.out
    assert "line 1: results[2]" in done.out
    assert "user_id must be a string, not list" in done.out

    again = run("import", "--from", "mem0", mem0, "--url", url, "--json")
    assert again.code == 1
    [report] = again.found
    assert (report["source"], report["memories"], report["stored"]) == ("mem0", 2, 0)
    assert report["left_out"] == sum(report["reasons"].values()) == len(report["first"]) == 2
    assert EVIL not in json.dumps(report)
    assert len(run("list", "--url", url, "--json").found) == 2


def test_a_dry_run_makes_no_store(mem0: str, run: Run, tmp_path: Path) -> None:
    there = set(tmp_path.iterdir())
    url = f"sqlite:///{tmp_path / 'new' / 'memory.db'}"
    done = run("import", "--from", "mem0", "--dry-run", mem0, "--url", url)
    assert done.code == 1
    assert "fit; nothing was stored" in done.err
    assert set(tmp_path.iterdir()) == there


def test_everything_that_fits_is_no_failure(store_url: str, run: Run, tmp_path: Path) -> None:
    file = str(sqlite_store(tmp_path / "langgraph.db"))
    assert run("import", "--from", "langgraph", file, "--url", store_url).code == 0
    items = run("list", "--url", store_url, "--agent", "default.langgraph", "--json").found
    assert {each["metadata"]["key"] for each in items} == {"food", "city"}


def test_standard_input_is_read(store_url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    given = io.TextIOWrapper(io.BytesIO(b'{"memory": "Ana likes tea."}'))
    monkeypatch.setattr(sys, "stdin", given)
    assert run("import", "--from", "mem0", "-", "--user", "ana", "--url", store_url).code == 0
    assert len(run("list", "--user", "ana", "--url", store_url, "--json").found) == 1


@pytest.mark.parametrize("source", SOURCES)
def test_wrong_use_makes_no_store(source: str, run: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    assert run("import", "--from", source, str(tmp_path / "none"), "--url", url).code == 2
    ours = written(tmp_path / "file.json", {})
    for option in ("--dry-run", "--user=ana"):
        assert run("import", option, str(ours), "--url", url).code == 2
    assert not (tmp_path / "memory.db").exists()


def test_exports_and_imports_of_our_own_as_json(own_url: str, run: Run, tmp_path: Path) -> None:
    with KronvexMemory(own_url) as memory:
        memory.save_exchange("I like tea.", "Noted.", user_id="ana")
    file = str(tmp_path / "memories.jsonl")
    counts: dict[str, Any] = {"memories": 1, "messages": 0, "items": 0}
    assert run("export", file, "--url", own_url, "--json").found == [{**counts, "stored": 1}]
    assert run("import", file, "--url", own_url, "--json").found == [{**counts, "stored": 0}]
    assert run("export", "-", "--url", own_url, "--json").code == 2  # the file itself is there


def test_keys_as_json(own_url: str, run: Run) -> None:
    [made] = run("keys", "create", "--name", "app", "--url", own_url, "--json").found
    assert made["key"].startswith(made["prefix"])
    [listed] = run("keys", "list", "--url", own_url, "--json").found
    assert listed == {name: value for name, value in made.items() if name != "key"}
    [revoked] = run("keys", "revoke", made["id"], "--url", own_url, "--json").found
    assert (revoked["id"], revoked["is_active"]) == (made["id"], False)
