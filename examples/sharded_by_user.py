"""Growth: users spread over four PostgreSQL databases, one of which moves while the others serve.

Requires `pip install "langchain-kronvex[postgres]"` and five empty databases with pgvector in
KRONVEX_SHARDS: four to start with, and the one to move to. On one line, separated by spaces:
`KRONVEX_SHARDS="postgresql://…/a postgresql://…/b …" python examples/sharded_by_user.py`
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from langchain_kronvex import KronvexMemory

AGENT, SHARDS = "shards-example", 4
USERS = [f"user-{number}" for number in range(24)]


def shard_of(user_id: str) -> int:
    """Return the number of a user's shard: the same in every process, unlike `hash`.

    The number of shards never changes. Start with more of them than servers, several on each.
    """
    digest = hashlib.blake2b(user_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % SHARDS


class Shards:
    """One memory for each shard. Keep the URLs where every process reads them."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._memories = [KronvexMemory(url, agent_id=AGENT) for url in urls]
        self._locks = [threading.Lock() for _ in urls]

    @contextmanager
    def of(self, user_id: str) -> Iterator[KronvexMemory]:
        """Lend the memory of a user. It waits while the user's shard is moving.

        One lock for a shard keeps the example short; a lock that many may share serves better.
        """
        number = shard_of(user_id)
        with self._locks[number]:
            yield self._memories[number]

    def move(self, number: int, url: str) -> None:
        """Move a shard to another database. Only its own users wait.

        With several processes, hold this lock in the database or the proxy that they all use.
        """
        moved = KronvexMemory(url, agent_id=AGENT)
        with self._locks[number], tempfile.TemporaryDirectory() as folder:
            old, file = self._memories[number], Path(folder) / "shard.jsonl.gz"
            written = old.export(file, vectors=True)
            read = moved.import_(file)
            if read.stored != written.stored or moved.stats().memories != old.stats().memories:
                raise RuntimeError("The copy is not complete; the shard stays where it is.")
            self._memories[number] = moved
        old.clear()  # the last step: until here, the old database has everything
        old.close()

    def close(self) -> None:
        """Close all memories."""
        for memory in self._memories:
            memory.close()


def recalled(shards: Shards, user_id: str) -> str:
    with shards.of(user_id) as memory:
        return memory.recall("What does the user like?", user_id=user_id, top_k=1)[0].content


def main() -> None:
    urls = os.environ.get("KRONVEX_SHARDS", "").split()
    if len(urls) != SHARDS + 1:
        sys.exit(f"Set KRONVEX_SHARDS to {SHARDS + 1} URLs of databases")
    shards = Shards(urls[:SHARDS])
    for user_id in USERS:
        with shards.of(user_id) as memory:
            memory.remember(f"{user_id} likes tea.", user_id=user_id)
    before = {user_id: recalled(shards, user_id) for user_id in USERS}
    moving = shard_of(USERS[0])
    others = [user_id for user_id in USERS if shard_of(user_id) != moving]
    served, moved = [0], threading.Event()

    def serve() -> None:
        while not (served[0] and moved.is_set()):
            user_id = others[served[0] % len(others)]
            assert recalled(shards, user_id) == before[user_id]
            served[0] += 1

    serving = threading.Thread(target=serve)
    serving.start()
    shards.move(moving, urls[SHARDS])
    moved.set()
    serving.join()
    print(f"moved shard {moving}: {len(USERS) - len(others)} users")
    print(f"served {served[0]} recalls of the {len(others)} others meanwhile")
    assert {user_id: recalled(shards, user_id) for user_id in USERS} == before
    with KronvexMemory(urls[moving], agent_id=AGENT) as old:
        assert old.stats().memories == 0
    shards.close()


if __name__ == "__main__":
    main()
