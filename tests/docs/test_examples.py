"""Every example runs offline from an empty folder; the demo prints its promised result.

The one about PostgreSQL is given an empty database.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from databases import DATABASES

from .openai_stub import openai_stub

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAMS = sorted(
    path
    for path in EXAMPLES.glob("*.py")
    if "__main__" in path.read_text(encoding="utf-8")
    and (path.stem != "deep_agent" or sys.version_info >= (3, 11))
)


def run(folder: Path, *arguments: object, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENAI_")} | settings
    environment["XDG_DATA_HOME"] = str(folder / "data")
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_example_runs(program: Path, tmp_path: Path) -> None:
    settings = {"KRONVEX_URL": DATABASES.fresh()} if "postgres" in program.stem else {}
    done = run(tmp_path, program, **settings)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.slow
def test_the_demo_counts_facts_and_no_foreign_ones(tmp_path: Path) -> None:
    done = run(tmp_path, EXAMPLES / "demo.py")
    last = done.stdout.strip().splitlines()[-1]
    found = re.fullmatch(
        r"OK: (\d+) facts from process 1 reached the prompts of process 2, 0 of the other user",
        last,
    )
    assert found, last
    assert int(found[1]) >= 10


@pytest.mark.slow
def test_the_demo_talks_to_openai_when_there_is_a_key(tmp_path: Path) -> None:
    with openai_stub() as url:
        done = run(tmp_path, EXAMPLES / "demo.py", OPENAI_API_KEY="not-a-key", OPENAI_BASE_URL=url)
    assert done.stdout.strip().splitlines()[-1].startswith("OK: "), done.stdout + done.stderr
    assert "System: " in done.stdout
    assert "OfflineChatModel" not in done.stdout


@pytest.mark.slow
def test_the_demo_fails_when_a_fact_is_missing(tmp_path: Path) -> None:
    questions = tmp_path / "questions.jsonl"
    asked = {
        "user_id": "ana",
        "question": "What is my dog called?",
        "expects": "Zanzibar",
        "foreign": [],
    }
    questions.write_text(json.dumps(asked) + "\n")
    done = run(tmp_path, EXAMPLES / "demo.py", "--questions", questions)
    assert done.returncode == 1
    assert "FAILED:" in done.stdout + done.stderr


@pytest.mark.slow
def test_the_demo_accepts_another_transcript(tmp_path: Path) -> None:
    transcript = tmp_path / "mine.jsonl"
    said = [
        ("cleo", "user", "My bicycle is a green tandem from Ghent."),
        ("cleo", "assistant", "A tandem!"),
        ("dan", "user", "My bicycle is a folding one."),
        ("dan", "assistant", "Handy."),
    ]
    lines = [
        {
            "session_id": f"{user}-1", "user_id": user, "role": role, "content": content,
            "created_at": "2026-03-01T10:00:00+00:00",
        }
        for user, role, content in said
    ]  # fmt: skip
    transcript.write_text("\n".join(map(json.dumps, lines)))
    done = run(tmp_path, EXAMPLES / "demo.py", "--transcript", transcript)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip().splitlines()[-1].startswith("OK: 2 facts")


def test_a_bad_transcript_is_rejected_with_its_line(tmp_path: Path) -> None:
    transcript = tmp_path / "bad.jsonl"
    transcript.write_text('{"session_id": "s"}\n')
    done = run(tmp_path, EXAMPLES / "demo.py", "--transcript", transcript)
    assert done.returncode == 2
    assert "bad.jsonl:1" in (done.stdout + done.stderr).replace("line ", "").replace(", ", ":")
