"""What a terminal shows: colours if they are wanted, tables that fit, escapes for what is odd."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from langchain_kronvex import KronvexMemory

WORDS = "Ana é läuft 日本語 " * 20


@pytest.fixture
def filled(store_url: str) -> str:
    with KronvexMemory(store_url) as memory:
        memory.remember(WORDS, user_id="ana")
    return store_url


def shown(*arguments: str, **environment: str) -> str:
    """Run a command in a terminal of 60 columns; return what it shows."""
    ours, theirs = pytest.importorskip("pty").openpty()
    options: dict[str, Any] = {"env": {**os.environ, "COLUMNS": "60", **environment}}
    process = subprocess.Popen(
        [sys.executable, "-m", "langchain_kronvex", *arguments], stdout=theirs, **options
    )
    os.close(theirs)
    told = b""
    while True:
        try:
            read = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not read:
            break
        told += read
    os.close(ours)
    process.wait(60)
    return told.decode()


def test_colours_are_for_a_terminal_that_wants_them(
    filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[32mok\x1b[0m" in shown("doctor", "--url", filled)
    assert "\x1b" not in shown("doctor", "--url", filled, NO_COLOR="1")


def test_the_last_column_is_cut_to_fit(filled: str) -> None:
    [_, row] = shown("users", "--url", filled).splitlines()
    assert row.startswith("ana ")
    [_, row] = shown("recall", "Ana", "--user", "ana", "--url", filled).splitlines()
    assert row.endswith("…")
    assert row.count("日本語") < 20


def test_what_the_encoding_lacks_is_escaped(filled: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "langchain_kronvex", "list", "--url", filled],
        capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0
    assert b"\\xe9" in done.stdout
