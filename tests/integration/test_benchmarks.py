"""The benchmarks run, and their figures of recall are right. Times are not checked."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from databases import DATABASES
from langchain_kronvex import KronvexMemory

UTC = timezone.utc
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run(script: str, *arguments: object) -> str:
    """Run a benchmark and return what it prints."""
    command = [sys.executable, str(BENCHMARKS / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(printed: str) -> dict[str, dict[str, str]]:
    """Return the first table: its rows by their first cell, their cells by the header."""
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    header, rule, *body = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert set(rule) == {"---"}
    assert all(len(line) == len(header) for line in body)
    return {line[0]: dict(zip(header[1:], line[1:], strict=True)) for line in body}


def conversation(name: str, texts: list[str], questions: list[tuple[str, list[str], int]]) -> Any:
    """Return one conversation as the data file writes it: a session for each text."""
    sessions: dict[str, Any] = {}
    for number, text in enumerate(texts, 1):
        sessions[f"session_{number}_date_time"] = f"1:56 pm on {number} May, 2023"
        turn = {"speaker": "Ana", "dia_id": f"D{number}:1", "text": text}
        sessions[f"session_{number}"] = [turn]
    asked = [
        {"question": question, "evidence": evidence, "category": category}
        for question, evidence, category in questions
    ]
    return {"sample_id": name, "conversation": sessions, "qa": asked}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two conversations. Every question shares its words with the turns it is meant to find."""
    kitchen = [
        "The kettle boils.",
        "My bicycle is blue.",
        "Violins need rosin.",
        "Hello!",
        "Hello!",
    ]
    garden = ["Tulips bloom early.", "The ladder is broken.", "Moles dig tunnels."]
    conversations = [
        conversation(
            "kitchen",
            kitchen,
            [
                ("Who has a blue bicycle?", ["D2:1"], 4),  # found first
                ("Does the kettle boil?", ["D:1:01"], 4),  # found first; the id is repaired
                ("kettle", ["D1:1; D3:1"], 1),  # one of two first; four distinct texts are all
                ("violins, rosin", ["D9:9"], 2),  # no such turn: left out
                ("hello", ["D5:1"], 3),  # stored once, and stands for the first time it was said
            ],
        ),
        conversation(
            "garden",
            garden,
            [("tulips bloom early", ["D2:1"], 5)],  # found, but not first
        ),
    ]
    path = tmp_path / "data.json"
    path.write_text(json.dumps(conversations), encoding="utf-8")
    return path


def test_evidence_recall_equals_a_computation_by_hand(data: Path) -> None:
    found = rows(run("locomo.py", data, "--embeddings", "static"))

    default = 'all, order_by="confidence"'
    cells = {label: [row["n"], row["R@1"], row["R@5"], row["R@20"]] for label, row in found.items()}
    assert cells == {
        "all": ["5", "50.0", "80.0", "80.0"],  # first: 1, 1, 1/2, 0, 0
        "all but adversarial": ["4", "62.5", "75.0", "75.0"],
        "single-hop": ["2", "100.0", "100.0", "100.0"],
        "multi-hop": ["1", "50.0", "100.0", "100.0"],
        "open-domain": ["1", "0.0", "0.0", "0.0"],
        "adversarial": ["1", "0.0", "100.0", "100.0"],
        default: ["5", cells[default][1], "80.0", ""],  # the same memories in another order
    }
    assert all(int(row["tokens@10"]) > 0 for row in found.values())
    assert all(0 <= float(row["reliability error"]) <= 1 for row in found.values())


def test_truth_is_measured_by_updates_questions_and_languages(tmp_path: Path) -> None:
    cases = {
        "updates": [
            {
                "old": "My bicycle is blue.",
                "new": "My bicycle is green now.",
                "question": "Which colour has my bicycle?",
                "asked_before": "What colour is my bicycle?",
            }
        ],
        "distractors": ["Violins need rosin.", "Tulips bloom early."],
        "unknown": ["I don't know that."],
        "languages": {
            "English": [["The kettle boils.", "the kettle"], ["Moles dig.", "do moles dig?"]],
            "German": [["Der Kessel kocht.", "Wer pfeift?"], ["Der Maulwurf gräbt.", "Wer gräbt?"]],
        },
    }
    path = tmp_path / "cases.json"
    path.write_text(json.dumps(cases), encoding="utf-8")
    head, updates, asked, languages = run("truth.py", path).split("\n\n")

    assert "1 cases of updates" in head
    assert [line.split(" | ")[1:] for line in updates.splitlines()[2:]] == [
        [order, newest, above, "100 |"]
        for _ in ("turns", "exchanges", "statements")
        for order, newest, above in (("confidence", "100", "100"), ("similarity", "0", "0"))
    ]
    answers = [line.split(" | ")[3:] for line in asked.splitlines()[2:]]
    assert answers == [["100", "100", "0 |"]] * 8
    assert rows(languages)["English"] == {"facts": "2", "first": "100", "among five": "100"}
    assert rows(languages)["German"]["among five"] == "100"  # of two


def test_realmem_is_measured_by_facts_and_by_exchanges(tmp_path: Path) -> None:
    def session(name: str, said: str, fact: str, question: str, *used: str) -> dict[str, Any]:
        turns: list[dict[str, Any]] = [
            {"speaker": "User", "content": said},
            {"speaker": "Assistant", "content": "Noted."},
            {"speaker": "User", "content": question, "is_query": True},
            {"speaker": "Assistant", "memory_used": [{"content": each} for each in used]},
        ]
        turns[3]["content"] = f"You ask: {question}"
        facts = [{"content": fact, "source_content_snapshot": said}]
        day = {"session_uuid": name, "current_time": "2026-05-08 (Friday)"}
        return {**day, "dialogue_turns": turns, "extracted_memory": facts}

    kettle, moles, unknown = "The kettle boils.", "Moles dig.", "Never told."
    sessions = [
        session("a", "My kettle boils.", kettle, "Nothing used yet?", kettle),
        session("b", "There are moles.", moles, "What boils in the kettle?", kettle, unknown),
    ]
    path = tmp_path / "user.json"
    path.write_text(json.dumps({"dialogues": sessions}), encoding="utf-8")
    found = rows(run("realmem.py", path))
    assert [row["n"] for row in found.values()] == ["1", "1"]
    assert [row["R@1"] for row in found.values()] == ["100.0", "100.0"]


def test_consolidation_is_measured_by_updates_evidence_junk_and_costs(tmp_path: Path) -> None:
    said = ["I live in Lisbon. Hello!", "I play the violin.", "Please always be brief.", "Hm?"]
    asked = [("Where does Ana live?", ["D1:1"], 4), ("Who is brief?", ["D3:1", "D4:1"], 1)]
    update = {"old": "I live in Cork.", "new": "I've moved to Ghent.", "question": "My home?"}
    files = {
        "evidence.json": [conversation("chat", said, asked)],
        "cases.json": {"updates": [update], "distractors": ["Tulips bloom."] * 30},
    }
    for name, data in files.items():
        (tmp_path / name).write_text(json.dumps(data), encoding="utf-8")
    head, evidence, updates, numbers = run(
        "consolidation.py", *(tmp_path / name for name in files)
    ).split("\n\n")

    assert "these figures prove the plumbing, not a model" in head
    found = rows(evidence)
    assert found["verbatim alone"]["R@10"] == "100.0"
    assert found["beside derived ones"]["R@10"] == "100.0"
    assert float(found["beside derived ones"]["derived among 10, number"]) == 2
    assert float(found["of which verbatim"]["R@10"]) <= 100
    assert set(rows(updates)) == {"verbatim alone", "beside derived ones"}
    assert updates.splitlines()[-1].split(" | ")[2:] == ["100", "100", "100 |"]
    costs = {name: [*row.values()] for name, row in rows(numbers).items()}
    # exchanges, added, superseded, confirmed, refused, set aside, calls; and the share of junk
    assert costs["evidence.json"][:7] == ["4", "2", "0", "0", "0", "0", "1"]
    assert costs["cases.json"][:7] == ["32", "1", "1", "0", "0", "0", "2"]
    assert [row[-1] for row in costs.values()] == ["0", "0"]
    assert all(int(row["tokens read per exchange"]) > 0 for row in rows(numbers).values())


def test_junk_is_what_sources_do_not_support(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    is_junk = runpy.run_path(str(BENCHMARKS / "consolidation.py"))["is_junk"]
    with KronvexMemory("sqlite://", clock=lambda: datetime(2026, 5, 8, tzinfo=UTC)) as memory:
        source = memory.remember("I moved to Porto last month, into flat 12.", user_id="ana")
    supported = ["Ana moved to Porto in April 2026.", "Ana's flat in Porto is number 12."]
    assert not [text for text in supported if is_junk(text, [source])]
    invented = ["Ana bought a boat.", "Ana moved to Porto in 2019.", "Ana's flat in Porto is 44."]
    assert not [text for text in invented if not is_junk(text, [source])]
    assert is_junk(supported[0], [])


@pytest.mark.slow
def test_speed_fills_every_cell() -> None:
    found = rows(run("speed.py", 50))

    assert len(found) > 15
    assert {label for label, row in found.items() if not row["50"]} == set()


@pytest.mark.slow
def test_the_floor_alone() -> None:
    found = rows(run("speed.py", 50, "--floor-only"))

    assert list(found) == ["50"]
    assert list(found["50"]) == ["n x 256, ms", "n x 384, ms"]


@pytest.mark.slow
def test_the_server_takes_every_write() -> None:
    found = rows(run("server.py", 60, "--queries", 5, "--clients", 2, "--writers", 4))

    assert found.pop("failed writes") == {"over HTTP": "0"}
    assert found
    assert all(row["over HTTP"] not in ("", "0") for row in found.values())


def test_the_transfer_benchmark_runs() -> None:
    found = rows(run("moving.py", "--memories", 60))

    suffixes = (".jsonl", ".jsonl.gz")
    assert set(found) == {
        f"{suffix}{more}" for suffix in suffixes for more in ("", " with vectors")
    }
    assert all("/s)" in row["import again"] for row in found.values())


def test_the_langgraph_store_is_measured_beside_langgraphs_own() -> None:
    found = rows(run("langgraph_store.py", 60))

    assert {"KronvexStore", "LangGraph InMemoryStore"} <= set(found)
    assert all(cell for row in found.values() for cell in row.values())
    assert found["KronvexStore"]["search"].endswith("(1.0x)")


@pytest.mark.slow
def test_the_postgres_store_is_measured_with_its_owners() -> None:
    found = rows(run("postgres.py", 60, "--owners", 2, "--url", DATABASES.server_url()))

    ours = [row["langchain-kronvex"] for row in found.values()]
    assert len(ours) >= 8
    assert all(ours)


def test_filters_are_measured_beside_none() -> None:
    found = rows(run("filters.py", 60))

    assert {"none", "topic", "nothing", "first use of a field"} <= set(found)
    assert found["none"]["beside none"] == "1.00"


def test_the_page_on_sizing_shows_what_the_calculator_prints() -> None:
    page = (BENCHMARKS.parent / "docs" / "sizing.md").read_text(encoding="utf-8")
    printed = run("sizing.py")
    assert printed.strip() in page


def test_a_small_load_fits_and_a_large_one_says_what_breaks() -> None:
    load = ("--memories", 5e3, 5e11, "--at-once", 5, "--each", 50, "--measure")
    lines = [line for line in run("sizing.py", *load).splitlines() if line.startswith("| 5e+")]
    assert [line.split(" | ")[-2] for line in lines] == ["nothing", "disk"] * 2
