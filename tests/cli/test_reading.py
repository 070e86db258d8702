"""The commands that read say what is there, escape what is hostile, and change nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from inside import application_id, main
from langchain_kronvex import KronvexMemory

from .conftest import EVIL, EVIL_TEXT, Run

READING = [
    ["users"], ["sessions"], ["list"], ["show", "{id}"], ["history", "{id}"],
    ["recall", "peanuts", "--user", "ana"], ["recall", "x", "--user", "ana", "--explain"],
    ["profile", "--user", "ana"], ["stats"], ["doctor"], ["eval", "{questions}"],
    ["expire", "--idle-days", "1", "--dry-run"],
]  # fmt: skip


def id_of(url: str, user: str = "bob") -> str:
    with KronvexMemory(url) as memory:
        return memory.memories(user_id=user)[0].id


def test_users_and_sessions_are_counted(filled: str, run: Run) -> None:
    users = {each["user_id"]: each for each in run("users", "--url", filled, "--json").found}
    assert {name: each["memories"] for name, each in users.items()} == {"ana": 2, "bob": 1, EVIL: 1}
    assert users["ana"]["messages"] == 1

    sessions = run("sessions", "--url", filled, "--user", "ana", "--json").found
    assert {each["session_id"] for each in sessions} == {"monday", None}
    table = run("users", "--url", filled).out
    assert table.splitlines()[0].split() == ["user_id", "memories", "messages", "last_at"]


def test_hostile_names_and_texts_are_escaped(filled: str, run: Run) -> None:
    listed = run("list", "--url", filled)
    assert len(listed.out.splitlines()) == 5  # one line for each, and the head
    assert "ana\\x1b[2J\\u202e\\nx" in listed.out
    assert "\\x1b]0;owned\\x07" in listed.out

    [found] = run("list", "--url", filled, "--user", EVIL, "--json").found
    assert (found["user_id"], found["content"]) == (EVIL, EVIL_TEXT)
    shown = run("show", found["id"], "--url", filled)
    assert shown.code == 0
    assert "said\\r" in shown.out
    assert run("recall", "peanuts", "--user", EVIL, "--url", filled).code == 0


def test_list_is_of_all_users_or_of_one(filled: str, run: Run) -> None:
    everything = run("list", "--url", filled, "--json").found
    assert {each["user_id"] for each in everything} == {"ana", "bob", EVIL}

    named = ("list", "--url", filled, "--json", "--user", "ana")
    assert len(run(*named).found) == 2
    assert [m["content"] for m in run(*named, "--type", "semantic").found] == [
        "Ana lives in Porto."
    ]
    assert [m["session_id"] for m in run(*named, "--session", "monday").found] == ["monday"]
    assert len(run(*named, "--limit", "1", "--offset", "1").found) == 1
    none = run("list", "--url", filled, "--user", "bob", "--type", "semantic")
    assert (none.code, none.err) == (0, "Nothing was found.\n")


def test_recall_explains_itself(filled: str, run: Run) -> None:
    asked = ("recall", "Who must not eat peanuts?", "--url", filled, "--user", "ana")
    first, *_ = run(*asked, "--json").found
    assert first["content"] == "Ana is allergic to peanuts."
    assert 0 < first["similarity"] <= 1
    assert "Ana is allergic to peanuts." in run(*asked).out

    explained = run(*asked, "--json", "--explain").found[0]
    assert explained["explanation"]["rank"] == 1
    assert "place 1 of 2" in run(*asked, "--explain").out
    other = id_of(filled, "ana")
    assert run(*asked, "--id", other, "--json").found[0]["id"] == other


def test_one_user_does_not_find_anothers(filled: str, run: Run) -> None:
    done = run("recall", "What is Ana allergic to?", "--url", filled, "--user", "nobody")
    assert (done.code, done.out) == (1, "")
    bobs = id_of(filled)
    assert run("recall", "cello", "--url", filled, "--user", "ana", "--id", bobs).code == 1


def test_history_shows_the_chain(own_url: str, run: Run) -> None:
    with KronvexMemory(own_url) as memory:
        older = memory.remember("Ana lives in Lisbon.", user_id="ana")
        newer = memory.remember("Ana lives in Porto.", user_id="ana", supersedes=older.id)

    chain = run("history", newer.id, "--url", own_url, "--json").found
    assert [each["id"] for each in chain] == [older.id, newer.id]
    assert chain[0]["superseded_by"] == newer.id
    assert len(run("list", "--url", own_url, "--json").found) == 1
    assert len(run("list", "--url", own_url, "--superseded", "--json").found) == 2


def test_the_profile_is_the_text_of_a_prompt(filled: str, run: Run) -> None:
    assert "] Ana lives in Porto." in run("profile", "--user", "ana", "--url", filled).out
    assert run("profile", "--user", "ana", "--url", filled, "--json").found[0]["degraded"] is False
    assert run("profile", "--user", "nobody", "--url", filled).code == 1


def test_stats_have_stable_keys(filled: str, run: Run) -> None:
    [found] = run("stats", "--url", filled, "--json").found
    assert found["memories"] == 4
    assert set(found) == {
        "location", "memories", "superseded", "messages", "users", "unembedded", "pending",
        "failed", "degraded", "last_error", "size_bytes",
    }  # fmt: skip
    assert "█" in run("stats", "--url", filled).out
    newer = id_of(filled)
    assert run("remember", "Bob plays the viola.", "--user", "bob", "--supersedes", newer,
               "--url", filled).code == 0  # fmt: skip
    [found] = run("stats", "--url", filled, "--json").found
    assert (found["memories"], found["superseded"]) == (5, 1)
    assert len(run("list", "--url", filled, "--json").found) == 4


@pytest.mark.parametrize("command", [["show"], ["history"], ["update", "--pinned"]], ids=" ".join)
def test_an_unknown_id_is_not_found(command: list[str], filled: str, run: Run) -> None:
    done = run(*command, "missing", "--url", filled)
    assert done.code == 1
    assert "No memory has" in done.err


@pytest.mark.parametrize("command", READING, ids=lambda command: command[0])
def test_reading_creates_nothing(command: list[str], run: Run, tmp_path: Path) -> None:
    missing = tmp_path / "mistyped.db"
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"question": "who?", "user_id": "ana", "text": "Ana"}\n')
    given = [part.format(id="x", questions=questions) for part in command]

    assert run(*given, "--url", f"sqlite:///{missing}").code == 1
    assert list(tmp_path.iterdir()) == [questions]


@pytest.mark.parametrize("command", READING, ids=lambda command: command[0])
def test_reading_changes_no_byte(command: list[str], run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    url, questions = f"sqlite:///{folder / 'memory.db'}", tmp_path / "questions.jsonl"
    questions.write_text('{"question": "who?", "user_id": "ana", "text": "Ana"}\n')
    with KronvexMemory(url) as memory:
        id_ = memory.remember("Ana likes tea.", user_id="ana").id
    path = folder / "memory.db"
    path.chmod(0o644)
    before = path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode

    run(*[part.format(id=id_, questions=questions) for part in command], "--url", url)

    assert (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode) == before
    assert list(folder.iterdir()) == [path]
    assert list(tmp_path.iterdir()).count(tmp_path / "data") == 0
    assert application_id(path)


def test_reading_an_api_makes_no_outbox(run: Run, tmp_path: Path) -> None:
    from contract.served import APIS

    url = APIS.url(tmp_path)
    for command in READING[:2]:
        assert run(*command, "--url", url).code == 0
    assert list(tmp_path.iterdir()) == []


def test_the_module_runs_and_says_its_version() -> None:
    for module in ("langchain_kronvex", "langchain_kronvex.cli"):
        done = subprocess.run(
            [sys.executable, "-m", module, "--version"], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0
        assert done.stdout.startswith("langchain-kronvex ")


def test_a_reader_that_goes_away_is_no_error(own_url: str) -> None:
    with KronvexMemory(own_url) as memory:
        for number in range(300):
            memory.remember(f"note {number} {'x' * 300}", user_id="ana")
    command = [
        sys.executable,
        "-m",
        "langchain_kronvex",
        "list",
        "--url",
        own_url,
        "--limit",
        "300",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(60) == 1
    process.stderr.close()


def test_stats_are_shown_again_until_interrupted(own_url: str) -> None:
    KronvexMemory(own_url).close()
    command = [sys.executable, "-m", "langchain_kronvex", "stats", "--watch", "0.05", "--json"]
    process = subprocess.Popen(
        [*command, "--url", own_url], stdout=subprocess.PIPE, text=True, env={**os.environ},
        # A test run in the background of a shell ignores this signal, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stdout is not None
    try:
        seen = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0
    assert {each["memories"] for each in seen} == {0}


def test_wrong_use_is_told_from_failure(run: Run, own_url: str) -> None:
    KronvexMemory(own_url).close()
    assert run("list", "--url", "mysql://host/db").code == 2
    assert run("list", "--url", own_url, "--limit", "0").code == 2
    assert run("recall", " ", "--url", own_url, "--user", "ana").code == 2


def test_an_unknown_option_shows_the_usage_of_its_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for command in (["list"], ["keys", "list"]):
        with pytest.raises(SystemExit) as wrong:
            main([*command, "--nonsense"])
        assert wrong.value.code == 2
        told = capsys.readouterr().err
        assert told.startswith(f"usage: langchain-kronvex {' '.join(command)} [-h]")
        assert "unrecognized arguments: --nonsense" in told


@pytest.mark.parametrize("command", ["list", "sessions"])
def test_a_user_who_is_not_there_is_said_to_be_unknown(command: str, filled: str, run: Run) -> None:
    for more in ([], ["--json"]):
        unknown = run(command, "--user", "anna", "--url", filled, *more)
        assert (unknown.code, unknown.out, unknown.err) == (1, "", "There is no user 'anna'.\n")
