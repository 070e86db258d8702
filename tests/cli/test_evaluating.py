"""`eval` measures recall on questions of one's own, and fails when one user finds another's."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from langchain_kronvex import KronvexMemory

from .conftest import EVIL, Run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "questions.jsonl"


def write(file: Path, *lines: dict[str, Any]) -> str:
    file.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    return str(file)


def test_recall_is_measured(filled: str, file: Path, run: Run) -> None:
    with KronvexMemory(filled) as memory:
        home = memory.memories(user_id="ana", memory_type="semantic")[0].id
    questions = write(
        file,
        {"question": "What is Ana allergic to?", "user_id": "ana", "text": "ALLERGIC to peanuts"},
        {"question": "Where does Ana live?", "user_id": "ana", "memory_id": home},
        {"question": "What does Bob play?", "user_id": "bob", "text": "cello"},
        {"question": "Who is it?", "user_id": EVIL, "text": "peanuts"},
        {"question": "What is his name?", "user_id": "bob", "text": "Robert"},
    )

    done = run("eval", questions, "--url", filled, "--json")
    [found] = done.found
    assert done.code == 0
    assert found["questions"] == 5
    assert found["recall"]["1"] <= found["recall"]["5"] == found["recall"]["10"] == 0.8
    assert found["leaks"] == []
    [miss] = found["misses"]
    assert (miss["line"], miss["place"]) == (5, None)
    assert found["context_tokens"]["median"] > 0
    assert 0 < found["milliseconds"]["median"] <= found["milliseconds"]["p95"]

    table = run("eval", questions, "--url", filled)
    assert "recall@5" in table.out
    assert "What is his name?" in table.out
    assert run("eval", questions, "--url", filled, "--min-recall", "0.9").code == 1


def test_a_miss_has_its_place(own_url: str, file: Path, run: Run) -> None:
    with KronvexMemory(own_url) as memory:
        for number in range(20):
            memory.remember(f"Ana bought apples on trip {number}.", user_id="ana")
        gold = memory.remember("The cat sleeps.", user_id="ana").id
    line = {"question": "How many apples did Ana buy?", "user_id": "ana", "memory_id": gold}

    [miss] = run("eval", write(file, line), "--url", own_url, "--json").found[0]["misses"]
    assert miss["place"] > 10
    assert miss["kept_out"] == ["top_k"]


def test_a_memory_that_another_user_finds_is_a_leak(own_url: str, file: Path, run: Run) -> None:
    with KronvexMemory(own_url) as memory:
        bobs = memory.remember("Bob plays the cello.", user_id="bob").id
        memory.remember("Ana plays chess.", user_id="ana")
    questions = write(
        file,
        {"question": "Who plays the cello?", "user_id": "ana", "memory_id": bobs},
        {"question": "Who plays chess?", "user_id": "bob", "text": "cello"},
    )

    done = run("eval", questions, "--url", own_url, "--json")
    assert done.code == 1
    [leak] = done.found[0]["leaks"]
    assert (leak["line"], leak["user_id"], leak["found_by"]) == (1, "ana", "bob")
    assert "'bob' finds the memory as well" in run("eval", questions, "--url", own_url).err


def test_measuring_counts_no_access(own_url: str, file: Path, run: Run) -> None:
    with KronvexMemory(own_url) as memory:
        memory.remember("Ana plays chess.", user_id="ana")
    line = {"question": "Who plays chess?", "user_id": "ana", "text": "chess"}

    assert run("eval", write(file, line), "--url", own_url).code == 0
    assert run("recall", "chess", "--user", "ana", "--url", own_url).code == 0
    assert run("list", "--url", own_url, "--json").found[0]["access_count"] == 0


@pytest.mark.parametrize(
    "line",
    ["", "nonsense", "[]", '{"question": "who?"}', '{"question": "who?", "user_id": "ana"}',
     '{"question": "", "user_id": "ana", "text": "x"}',
     '{"question": "who?", "user_id": "ana", "text": "x", "memory_id": "y"}',
     '{"question": "who?", "user_id": "ana", "memory_id": 7}'],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_refused(line: str, own_url: str, file: Path, run: Run) -> None:
    KronvexMemory(own_url).close()
    file.write_text(f"{line}\n", encoding="utf-8")
    done = run("eval", str(file), "--url", own_url)
    assert done.code == 2
    assert "question" in done.err


def test_a_file_that_is_not_text_is_refused(own_url: str, file: Path, run: Run) -> None:
    KronvexMemory(own_url).close()
    file.write_bytes(b"\xff\xfe\x00")
    assert run("eval", str(file), "--url", own_url).code == 2
    assert run("eval", str(file.parent / "nowhere"), "--url", own_url).code == 1


def test_questions_come_from_the_standard_input(
    own_url: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with KronvexMemory(own_url) as memory:
        memory.remember("Ana lives in Porto.", user_id="ana")
    question = {"question": "Where does Ana live?", "user_id": "ana", "text": "Porto"}
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(question)))
    assert run("eval", "-", "--url", own_url, "--min-recall", "1").code == 0
