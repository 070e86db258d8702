"""The store on other backends keeps the same promises as on SQLite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from langgraph.store.base import PutOp

from contract.served import APIS
from databases import DATABASES
from langchain_kronvex import KronvexMemory
from langchain_kronvex.langgraph import KronvexStore

ANA, BEN, JOHN = ("users", "ana"), ("users", "john_doe"), ("users", "john-doe")


@pytest.mark.parametrize("name", ["postgres", "kronvex-api"])
def test_items_are_put_found_replaced_and_deleted(name: str, tmp_path: Path) -> None:
    on_api = name == "kronvex-api"
    url: Callable[[Path], str] = APIS.url if on_api else DATABASES.url
    # The outbox of the memory; the store's own is next to it.
    outbox = tmp_path / "outbox.db" if on_api else None
    with KronvexMemory(url(tmp_path), outbox=outbox) as memory, KronvexStore(memory) as store:
        store.put(ANA, "drink", {"text": "Ana likes tea."})
        store.put(BEN, "drink", {"text": "He likes coffee."})
        store.put(JOHN, "drink", {"text": "She likes water."})
        store.put(ANA, "drink", {"text": "Ana likes cocoa."})
        memory.remember("no item", user_id="ana")

        assert store.get(ANA, "drink").value == {"text": "Ana likes cocoa."}
        assert [i.value["text"] for i in store.search(BEN, query="tea or coffee?")] == [
            "He likes coffee."
        ]
        best = store.search(("users",), query="cocoa")[0]
        assert (best.namespace, best.key) == (ANA, "drink")
        assert store.list_namespaces(prefix=("users",)) == [ANA, JOHN, BEN]
        store.delete(ANA, "drink")
        assert store.get(ANA, "drink") is None
        assert {item.namespace for item in store.search(("users",))} == {BEN, JOHN}
    with KronvexMemory(url(tmp_path), outbox=outbox) as memory, KronvexStore(memory) as store:
        assert store.get(JOHN, "drink").value == {"text": "She likes water."}


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
