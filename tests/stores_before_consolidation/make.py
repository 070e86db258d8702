"""Made the files of this folder, with the code of the commit `c0924a8`; see `__init__.py`."""

from __future__ import annotations

import gzip
import subprocess
import tempfile
from datetime import timedelta
from pathlib import Path

from langchain_core.messages import AIMessage, HumanMessage

from consolidation.scripted import fact, said
from langchain_kronvex import KronvexMemory

from ..databases import DATABASES
from ..stores_of_0_1 import make as before
from . import MADE_AT

HERE = Path(__file__).parent


def fill(url: str) -> None:
    """Store what two users said, and what they stated."""
    now = MADE_AT
    with KronvexMemory(url, clock=lambda: now) as memory:
        for user in ("ana", "ben"):
            memory.remember(said("city", "Lisbon"), user_id=user)
            now += timedelta(days=1)
            for number in range(5):
                memory.save_exchange(f"Hello {number}.", "Hi!", user_id=user, session_id="chat")
            turn = [HumanMessage(said("city", "Porto")), AIMessage("How nice!")]
            memory.chat_history("chat", user).add_messages(turn)
            old = memory.remember(said("cat", "Tom"), user_id=user)
            memory.remember(said("cat", "Felix"), user_id=user, supersedes=old.id)
            memory.remember(fact("dog", "Rex"), user_id=user, memory_type="semantic", pinned=True)
            memory.recall("city", user_id=user)
            now += timedelta(days=1)
        memory.flush()


def main() -> None:
    """Write the files."""
    before.HERE = HERE
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "memory.db"
        fill(f"sqlite:///{path}")
        before.keep(path)
    url = DATABASES.bare()
    fill(url)
    dump = subprocess.run(
        [before.pg_dump(), "--schema", before.SCHEMA, "--inserts", "--no-owner",
         "--no-privileges", url],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    # Left out: comments, settings of the session, and what only psql understands.
    lines = [line for line in dump.splitlines() if not line.startswith(("--", "SET ", "\\"))]
    with gzip.GzipFile(HERE / "postgres.sql.gz", "wb", mtime=0) as file:
        file.write("\n".join(line for line in lines if line).encode())


if __name__ == "__main__":
    main()
