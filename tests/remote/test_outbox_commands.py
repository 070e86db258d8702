"""Refused writes are kept; the command line sends them again or erases them."""

from __future__ import annotations

from pathlib import Path

import pytest

from inside import main
from langchain_kronvex import KronvexMemory, NotAStore

from .bad_server import FaultyServer, status
from .conftest import Open
from .plain_server import wait_until


@pytest.fixture
def box(tmp_path: Path) -> Path:
    return tmp_path / "box.db"


def refuse_two(faulty: FaultyServer, open_on: Open, box: Path) -> None:
    faulty.only = "/remember"
    faulty.faults.extend([status(422), status(422)])
    memory = open_on(faulty, outbox=box)
    memory.remember("zebra one", user_id="ana")
    memory.remember("zebra two", user_id="ana")
    memory.remember("zebra three", user_id="ana")
    assert memory.flush(20)
    assert (memory.stats().failed, len(faulty.all_items())) == (2, 1)
    memory.close()


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(["outbox", *arguments]) == 0
    return capsys.readouterr().out


def test_listed_without_their_texts_and_sent_again(
    faulty: FaultyServer, open_on: Open, box: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse_two(faulty, open_on, box)
    listed = run(capsys, "list", "--outbox", str(box))
    assert "2 refused, 0 to be sent" in listed
    assert listed.count("HTTP 422") == 2
    assert "zebra" not in listed

    assert "1 to be sent again" in run(capsys, "resend", "--outbox", str(box), "1")
    assert "1 refused, 1 to be sent" in run(capsys, "list", "--outbox", str(box))
    assert "1 to be sent again" in run(capsys, "resend", "--outbox", str(box))
    memory = open_on(faulty, outbox=box)  # it sends what an earlier process left
    wait_until(lambda: memory.stats().pending == 0)
    assert sorted(item.content for item in faulty.all_items()) == [
        "zebra one", "zebra three", "zebra two",
    ]  # fmt: skip
    assert memory.stats().failed == 0


def test_discarded_for_good(
    faulty: FaultyServer, open_on: Open, box: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse_two(faulty, open_on, box)
    assert "1 discarded" in run(capsys, "discard", "--outbox", str(box), "1")
    assert "1 discarded" in run(capsys, "discard", "--outbox", str(box))
    assert "0 refused, 0 to be sent" in run(capsys, "list", "--outbox", str(box))
    assert not [p for p in box.parent.glob("box.db*") if b"zebra" in p.read_bytes()]


def test_those_in_the_users_folder(
    faulty: FaultyServer, open_on: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "list") == ""
    memory = open_on(faulty)
    memory.remember("tea", user_id="ana")
    assert memory.flush(20)
    memory.close()
    assert "0 refused, 0 to be sent" in run(capsys, "list")


def test_what_is_no_outbox_is_left_alone(
    faulty: FaultyServer, open_on: Open, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, box = tmp_path / "memory.db", tmp_path / "box.db"
    with KronvexMemory(f"sqlite:///{store}") as memory:
        memory.remember("tea", user_id="ana")
    before = store.read_bytes()
    with pytest.raises(NotAStore, match="memories instead of an outbox"):
        open_on(faulty, outbox=store)
    assert main(["outbox", "list", "--outbox", str(store)]) == 1
    assert main(["outbox", "discard", "--outbox", str(tmp_path / "nowhere.db")]) == 2
    assert not (tmp_path / "nowhere.db").exists()
    assert store.read_bytes() == before
    with KronvexMemory(f"sqlite:///{store}") as memory:
        assert [m.content for m in memory.memories(user_id="ana")] == ["tea"]

    open_on(faulty, outbox=box).close()
    with pytest.raises(NotAStore, match="or an outbox instead of memories"):
        KronvexMemory(f"sqlite:///{box}")
    capsys.readouterr()
