"""Commands that only read create nothing, and say when there is nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inside import main
from langchain_kronvex import KronvexMemory


@pytest.fixture
def missing(tmp_path: Path) -> Path:
    return tmp_path / "mistyped.db"


@pytest.mark.parametrize(
    "command",
    [["export", "{file}"], ["export", "--user", "ana", "{file}"], ["export", "--vectors", "-"],
     ["keys", "list"], ["keys", "revoke", "kv-12345"]],
    ids=" ".join,
)  # fmt: skip
def test_a_mistyped_path_is_an_error(
    command: list[str], missing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = missing.with_name("export.jsonl")
    given = [part.format(file=file) for part in command]

    assert main([*given, "--url", f"sqlite:///{missing}"]) == 1
    assert "holds no store" in capsys.readouterr().err
    assert list(missing.parent.iterdir()) == []


@pytest.mark.parametrize("named", ["nowhere.jsonl", "."])
def test_an_import_without_its_file_creates_no_store(
    named: str, missing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = missing.parent / named

    assert main(["import", "--url", f"sqlite:///{missing}", str(file)]) == 2
    assert "There is no file" in capsys.readouterr().err
    assert list(missing.parent.iterdir()) == []


@pytest.mark.parametrize("options", [["--user", "anna"], ["--agent", "defualt"]], ids=" ".join)
def test_who_is_unknown_is_an_error_and_overwrites_no_file(
    options: list[str], store_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with KronvexMemory(store_url) as memory:
        memory.remember("tea", user_id="ana")
    file = tmp_path / "backup.jsonl"
    file.write_text("yesterday's")

    assert main(["export", "--url", store_url, *options, str(file)]) == 2
    assert repr(options[1]) in capsys.readouterr().err
    assert file.read_text() == "yesterday's"


def test_who_is_known_is_exported(
    store_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with KronvexMemory(store_url) as memory:
        memory.chat_history("monday", user_id="ana").add_user_message("hello")
    file = tmp_path / "ana.jsonl"

    assert main(["export", "--url", store_url, "--user", "ana", str(file)]) == 0
    assert "1 message and" in capsys.readouterr().err
    assert len([json.loads(line) for line in file.read_text().splitlines()]) >= 2


def test_an_empty_list_says_so(store_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    KronvexMemory(store_url).close()

    assert main(["keys", "list", "--url", store_url]) == 0
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "There are no keys in this store.\n")
    assert main(["outbox", "list"]) == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("There is no outbox in ")


def test_names_reach_the_terminal_without_control_characters(
    store_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "app\x1b[2J\u202e\u2028é"

    assert main(["keys", "create", "--url", store_url, "--name", evil]) == 0
    assert main(["keys", "list", "--url", store_url]) == 0
    assert main(["export", "--url", store_url, "--user", evil, "-"]) == 2
    assert main(["keys", "revoke", "--url", store_url, evil]) == 2
    told = capsys.readouterr()
    shown = (told.out + told.err).replace("\n", "")
    assert shown.isprintable()
    assert "app\\x1b[2J\\u202e\\u2028é" in told.out
