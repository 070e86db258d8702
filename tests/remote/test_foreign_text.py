"""What a server says reaches logs, errors and the terminal escaped, and without memory text."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from inside import main
from langchain_kronvex import BadRequest

from .bad_server import FaultyServer, status
from .conftest import Open

EVIL = "\x1b[2J\x07\u202e\u2028zebra\r\nERROR forged"
REFUSALS: dict[str, Any] = {
    "places": [{"loc": ["body", "metadata", EVIL], "msg": EVIL, "type": EVIL}],
    "many places": [{"loc": ["body", "content", f"zebra {n}"]} for n in range(100)],
    "places that are odd": [{"loc": [{"zebra": 1}, ["zebra"], None, 3.5, True]}],
    "a text": f"content {EVIL}",
    "an object": {"error": EVIL, "limit": EVIL},
}


@pytest.mark.parametrize("detail", REFUSALS.values(), ids=REFUSALS.keys())
def test_a_servers_refusal(
    faulty: FaultyServer, open_on: Open, told: list[Exception], tmp_path: Path, detail: Any,
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    box = tmp_path / "box.db"
    memory = open_on(faulty, outbox=box)
    faulty.only = "/remember"
    faulty.faults.append(status(422, detail))
    with caplog.at_level(logging.DEBUG, "langchain_kronvex"):
        memory.remember("zebra", user_id="ana")
        assert memory.flush(10)
    last_error = memory.stats().last_error
    faulty.only = "/recall"
    faulty.faults.append(status(422, detail))
    with pytest.raises(BadRequest) as raised:
        memory.recall("zebra", user_id="ana")
    memory.close()
    assert main(["outbox", "list", "--outbox", str(box)]) == 0

    lines = [record.getMessage() for record in caplog.records]
    lines += [str(error) for error in (*told, raised.value)]
    lines += [str(last_error), *capsys.readouterr().out.splitlines()]
    assert any("HTTP 422" in line for line in lines)
    for line in lines:
        assert line.isprintable()
        assert "zebra" not in line
