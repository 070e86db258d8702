"""Export from a server and import to one, with foreign memories, and while the server is away."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest

from langchain_kronvex import KronvexMemory, MemoryDraft, ServerUnavailable

from .conftest import Open
from .plain_server import Item, PlainServer


def foreign(content: str, session: str | None = "ana", **more: object) -> Item:
    """A memory that another client wrote."""
    values = {"memory_type": "semantic", "metadata": {}, "pinned": True, "expires_at": None, **more}
    return Item(content, session_id=session, **values)  # type: ignore[arg-type]


def test_what_others_wrote_moves_as_far_as_it_fits(
    plain: PlainServer, open_on: Open, store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    memory = open_on(plain)
    memory.remember("ours", user_id="ana")
    assert memory.flush(10)
    [items] = plain.items.values()
    items += [
        foreign("fits", metadata={"a": [1.5]}, access_count=2),
        foreign("of an unknown type", memory_type="dream"),
        foreign("with \0 in it"),
        foreign("of a long id", id="x" * 300),
        foreign("no number in it", metadata={"a": float("nan")}),
        foreign("of everybody", session=None),
    ]
    stream = io.BytesIO()
    with caplog.at_level(logging.WARNING, "langchain_kronvex"):
        written = memory.export(stream)
    assert written.stored == 3
    assert caplog.text.count("left out of the export") == 4
    assert "in it" not in caplog.text
    with KronvexMemory(store_url) as local:
        assert local.import_(io.BytesIO(stream.getvalue())).stored == 3
        found = local.memories(user_id="ana")
        assert {(m.content, m.access_count) for m in found} == {("ours", 0), ("fits", 2)}
        assert [m.content for m in local.memories()] == ["of everybody"]


def test_a_server_that_is_away_gives_no_file(
    plain: PlainServer, open_on: Open, tmp_path: Path
) -> None:
    plain.__exit__()
    memory = open_on(plain)
    with pytest.raises(ServerUnavailable):
        memory.export(tmp_path / "file")
    assert list(tmp_path.glob("*file*")) == []


def test_an_import_reaches_the_server_once(
    plain: PlainServer, open_on: Open, store_url: str
) -> None:
    stream = io.BytesIO()
    with KronvexMemory(store_url) as local:
        local.remember_many([MemoryDraft(f"number {n}", user_id="ana") for n in range(20)])
        local.export(stream)
    memory = open_on(plain)
    for new in (20, 0):
        assert memory.import_(io.BytesIO(stream.getvalue())).stored == new
        assert memory.flush(20)
    assert sorted(item.content for item in plain.all_items()) == sorted(
        f"number {n}" for n in range(20)
    )
