"""Entries of one API key are sent with another key only on request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from defaults import limit_pauses
from inside import main

from .bad_server import status
from .conftest import Open
from .plain_server import KEY, Call, Item, PlainServer, wait_until

OLD, NEW = "kv-key-of-ana", "kv-key-of-bob"


class Accounts(PlainServer):
    """Each key has an account of its own; while `away`, nothing is stored."""

    def __init__(self) -> None:
        self.accounts: dict[str, dict[str, list[Item]]] = {}
        self.away = False
        super().__init__()

    def intercept(self, call: Call, handler: Any) -> bool:
        stores = call.path.endswith("/remember")
        return self.away and stores and status(503)(call, handler)

    def answer(self, call: Call) -> tuple[int, Any]:
        with self.lock:
            self.items = self.accounts.setdefault(call.headers["x-api-key"], {})
            return super().answer(replace(call, headers={**call.headers, "x-api-key": KEY}))

    def texts(self, key: str) -> list[str]:
        return [item.content for items in self.accounts.get(key, {}).values() for item in items]


@pytest.fixture
def accounts() -> Iterator[Accounts]:
    with Accounts() as server:
        yield server


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    limit_pauses(monkeypatch, 0.05)


@pytest.fixture(params=["in the user's folder", "in a folder", "in a file"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    folder = tmp_path / "boxes"
    folder.mkdir()
    named = {"in a folder": folder, "in a file": folder / "mine.db"}
    return named.get(request.param)


def leave(accounts: Accounts, open_on: Open, place: Path | None) -> None:
    """Leave an entry of the old key behind."""
    accounts.away = True
    memory = open_on(accounts, api_key=OLD, outbox=place)
    memory.remember("The zebra is Ana's", user_id="ana")
    wait_until(lambda: memory.stats().last_error is not None)
    memory.close()
    accounts.away = False


def boxes(tmp_path: Path, place: Path | None) -> list[Path]:
    folder = place or tmp_path / "data" / "langchain-kronvex"
    folder = folder if folder.is_dir() else folder.parent
    return [p for p in folder.iterdir() if not p.name.endswith((".lock", "-wal", "-shm"))]


def test_two_keys_at_once_do_not_meet(
    accounts: Accounts, open_on: Open, place: Path | None, caplog: pytest.LogCaptureFixture
) -> None:
    ana = open_on(accounts, api_key=OLD, outbox=place)
    bob = open_on(accounts, api_key=NEW, outbox=place)
    for n in range(5):
        ana.remember(f"note {n} of ana", user_id="ana")
        bob.remember(f"note {n} of bob", user_id="bob")
    assert ana.flush(20)
    assert bob.flush(20)
    assert "another API key" not in caplog.text
    assert accounts.texts(OLD) == [f"note {n} of ana" for n in range(5)]
    assert accounts.texts(NEW) == [f"note {n} of bob" for n in range(5)]


def test_what_an_old_key_left_is_told_and_not_sent_with_the_new_one(
    accounts: Accounts, open_on: Open, place: Path | None, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    leave(accounts, open_on, place)
    caplog.clear()
    memory = open_on(accounts, api_key=NEW, outbox=place)
    [warning] = [r.getMessage() for r in caplog.records if "another API key" in r.getMessage()]
    assert warning.startswith("1 entries for this server and agent wait")
    assert "zebra" not in warning
    memory.remember("The lion is Bob's", user_id="ana")
    assert memory.flush(20)
    assert [m.content for m in memory.recall("zebra", user_id="ana")] == ["The lion is Bob's"]
    assert (accounts.texts(OLD), accounts.texts(NEW)) == ([], ["The lion is Bob's"])
    memory.close()
    for path in boxes(tmp_path, place):
        assert OLD.encode() not in path.read_bytes()

    again = open_on(accounts, api_key=OLD, outbox=place)
    assert again.flush(20)
    assert accounts.texts(OLD) == ["The zebra is Ana's"]


def test_its_owner_may_send_it_with_the_present_key(
    accounts: Accounts, open_on: Open, place: Path | None, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    leave(accounts, open_on, place)
    [box] = boxes(tmp_path, place)
    hand_over = ["outbox", "hand-over", "--outbox"]
    assert main([*hand_over, str(box)]) == 2
    assert "Set KRONVEX_API_KEY" in capsys.readouterr().err
    monkeypatch.setenv("KRONVEX_API_KEY", NEW)
    assert main([*hand_over, str(box.parent)]) == 2
    assert "no outbox" in capsys.readouterr().err
    assert main([*hand_over, str(box)]) == 0
    assert "1 to be sent with the present key" in capsys.readouterr().out
    listed = box if place and not place.is_dir() else box.parent
    assert main(["outbox", "list", "--outbox", str(listed)]) == 0
    old, new = sorted(capsys.readouterr().out.splitlines(), key=lambda line: "present" in line)
    assert "0 refused, 0 to be sent" in old
    assert "0 refused, 1 to be sent" in new
    assert f"{accounts.url}/api/v1, agent 'default', API key " in old
    assert b"zebra" not in box.read_bytes()
    memory = open_on(accounts, api_key=NEW, outbox=place)
    assert memory.flush(20)
    wait_until(lambda: memory.stats().pending == 0)
    assert (accounts.texts(OLD), accounts.texts(NEW)) == ([], ["The zebra is Ana's"])
