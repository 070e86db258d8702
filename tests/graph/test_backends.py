"""What the store does on a Kronvex API alone."""

from __future__ import annotations

from pathlib import Path

from langgraph.store.base import PutOp

from contract.served import APIS
from langchain_kronvex import KronvexMemory
from langchain_kronvex.langgraph import KronvexStore

ANA, BEN = ("users", "ana"), ("users", "john_doe")


def test_a_move_on_an_api_is_in_the_outbox_as_one_and_survives_there(tmp_path: Path) -> None:
    url, there, elsewhere = APIS.url(tmp_path), tmp_path / "outbox.db", tmp_path / "other.db"
    with KronvexMemory(url, outbox=there) as memory, KronvexStore(memory) as store:
        store.put(ANA, "token", {"text": "t"})
        store.memory.flush()
        store.memory.engine.backend.agent.wake = lambda: None  # as if it died now
        store.batch([PutOp(BEN, "token", {"text": "t"}), PutOp(ANA, "token", None)])
        assert [item.namespace for item in store.search(())] == [BEN]
        with KronvexMemory(url, outbox=elsewhere) as other, KronvexStore(other) as theirs:
            assert [item.namespace for item in theirs.search(())] == [ANA]
            with KronvexMemory(url, outbox=there) as again, KronvexStore(again) as reopened:
                reopened.memory.flush()
                assert [item.namespace for item in theirs.search(())] == [BEN]
