"""The command `consolidate`, and the server's option, with a model of OpenAI's client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from consolidation.models import openai_server
from inside import main
from langchain_kronvex import KronvexMemory

from .running import Process, client

Captured = pytest.CaptureFixture[str]
MODEL = "openai:gpt-4o-mini"


class Provider:
    """What the model answers, and what it was sent."""

    def __init__(self) -> None:
        self.text = "Ana lives in Porto."
        self.asked: list[dict[str, Any]] = []

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(body)
        entry = {"text": self.text, "sources": [1], "reason": None, "since": None}
        found = {"Fact": [{**entry, "replaces": None}], "Preference": [], "Procedure": []}
        content = json.dumps({**found, "confirmed": []})
        return {"message": {"role": "assistant", "content": content}}


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    provider = Provider()
    with openai_server(provider.answer) as base_url:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
        monkeypatch.setenv("OPENAI_BASE_URL", base_url)
        yield provider


@pytest.fixture
def filled(store_url: str) -> str:
    """The URL of a store with what two users said."""
    with KronvexMemory(store_url) as memory:
        memory.save_exchange("I live in Porto.", "How nice!", user_id="ana")
        memory.save_exchange("I live in Rome.", "How nice!", user_id="ben")
    return store_url


def derived(url: str, user_id: str) -> list[str]:
    with KronvexMemory(url) as memory:
        found = memory.memories(user_id=user_id, memory_type="semantic")
        return [each.content for each in found]


def test_one_user_is_consolidated(provider: Provider, filled: str, capsys: Captured) -> None:
    assert main(["consolidate", "--url", filled, "--user", "ana", "--model", MODEL]) == 0

    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "1 exchange of 1 user: 1 added, 0 superseded, 0 confirmed"
    assert shown[1].startswith("1 call, 120 tokens read, 34 written, ")
    assert shown[-1].startswith("+ add [semantic, ")
    assert "Ana lives in Porto. (1 source)" in shown[-1]
    assert derived(filled, "ana") == ["Ana lives in Porto."]
    assert derived(filled, "ben") == []


def test_the_report_as_json(provider: Provider, filled: str, capsys: Captured) -> None:
    for added in (1, 0):
        assert (
            main(["consolidate", "--url", filled, "--user", "ana", "--json", "--model", MODEL]) == 0
        )
        report = json.loads(capsys.readouterr().out)
        assert (report["added"], len(report["operations"])) == (added, added)


def test_every_user_is_consolidated_once(provider: Provider, filled: str, capsys: Captured) -> None:
    assert main(["consolidate", "--url", filled, "--model", MODEL]) == 0
    assert "2 exchanges of 2 users" in capsys.readouterr().out

    assert main(["consolidate", "--url", filled, "--model", MODEL]) == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == "Nothing is waiting to be consolidated.\n"
    assert len(provider.asked) == 2

    again = ["--user", "ana", "--again", "all"]
    assert main(["consolidate", "--url", filled, "--model", MODEL, *again]) == 0
    assert len(provider.asked) == 3


def test_a_dry_run_stores_nothing(provider: Provider, filled: str, capsys: Captured) -> None:
    given = ["consolidate", "--url", filled, "--user", "ana", "--model", MODEL, "--dry-run"]
    assert main(given) == 0
    assert "dry run: nothing was stored" in capsys.readouterr().out
    assert derived(filled, "ana") == []


def test_what_a_model_writes_cannot_steer_the_terminal(
    provider: Provider, filled: str, capsys: Captured
) -> None:
    provider.text = "Ana \x1b[2J\x07lives\u202e in\nPorto."

    assert main(["consolidate", "--url", filled, "--user", "ana", "--model", MODEL]) == 0

    shown = capsys.readouterr().out
    assert "Porto." in shown
    assert all(line.isprintable() for line in shown.splitlines())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--user", "nobody"], "holds nothing of the user 'nobody'"),
        (["--agent", "nobody"], "holds nothing of the agent 'nobody'"),
        (["--user", " "], "holds nothing of the user ' '"),
        (["--model", "no such provider:x"], "cannot be used"),
        (["--url", "http://127.0.0.1:9"], "serve --consolidate"),
    ],
    ids=str,
)
def test_errors_are_one_line_and_nothing_is_sent(
    provider: Provider, filled: str, arguments: list[str], told: str, capsys: Captured
) -> None:
    assert main(["consolidate", "--url", filled, "--model", MODEL, *arguments]) == 2

    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("langchain-kronvex: ")
    assert told in shown.err
    assert not provider.asked


def test_no_store_is_created(
    provider: Provider, store_url: str, tmp_path: Path, capsys: Captured
) -> None:
    assert main(["consolidate", "--url", store_url, "--model", MODEL]) == 1
    assert "holds no store" in capsys.readouterr().err
    assert not [*tmp_path.glob("*.db*")]


def test_a_model_is_required(filled: str, capsys: Captured) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["consolidate", "--url", filled])
    assert ended.value.code == 2
    assert "--model" in capsys.readouterr().err


def test_a_provider_that_fails_is_named_without_its_words(
    provider: Provider, filled: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the tries

    assert main(["consolidate", "--url", filled, "--user", "ana", "--model", MODEL]) == 1

    told = capsys.readouterr().err
    assert "failed: " in told
    assert "ConnectionError" in told
    assert "sk-secret" not in told
    assert "Porto" not in told


def test_the_server_takes_a_model(provider: Provider, filled: str, log_file: Path) -> None:
    process = Process(filled, log_file, "--consolidate", MODEL)
    try:
        with client(process.base_url) as api:
            answer = api.post("/agents/default/consolidate")
            assert answer.json() == {"status": "consolidation_queued", "agent_id": "default"}
    finally:
        assert process.stop() == 0
    assert "Traceback" not in process.log


def test_a_server_does_not_start_with_an_unusable_model(filled: str, capsys: Captured) -> None:
    assert main(["serve", "--url", filled, "--consolidate", "no such provider:x"]) == 2
    assert "cannot be used" in capsys.readouterr().err
