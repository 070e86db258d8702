"""A typical program: every main verb, with what must come of it."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage, HumanMessage

from contract.drivers import Driver
from langchain_kronvex import KronvexKeyValueStore, KronvexMemory, MemoryDraft


def in_both_colours(memory: KronvexMemory) -> None:
    """Run the program for some users plainly, and for others with the `a…` twins."""
    run_program(memory, "plain")
    loop = Driver(memory, "async")
    try:
        run_program(loop, "awaited")
    finally:
        loop._loop.run_until_complete(loop._loop.shutdown_default_executor())
        loop._loop.close()


def run_program(memory: Any, name: str) -> None:
    """Use the memory for two users, and see that each gets what is theirs."""
    ana, ben = f"ana {name}", f"ben {name}"
    first = memory.remember("Ana drinks black tea ☕.", user_id=ana, metadata={"n": [1, None]})
    memory.remember_many(
        [MemoryDraft(f"Ana saw whale number {n}.", user_id=ana, session_id="sea") for n in range(5)]
    )
    memory.remember("Ben drinks nothing but tea.", user_id=ben)
    memory.save_exchange("I moved to Porto.", "How nice!", user_id=ana, session_id="move")
    memory.remember("It lasts a while.", user_id=ana, ttl_days=2, memory_type="semantic")
    assert memory.remember("Ana drinks black tea ☕.", user_id=ana).deduplicated

    (found,) = memory.recall("Who drinks tea?", user_id=ana, top_k=1)
    assert (found.content, found.id) == ("Ana drinks black tea ☕.", first.id)
    assert found.metadata == {"n": [1, None]}
    assert "Porto" in memory.recall("Where does she live, Porto?", user_id=ana, top_k=1)[0].content
    assert [m.user_id for m in memory.recall("tea", user_id=ben)] == [ben]
    assert len(memory.recall("whale", user_id=ana, session_id="sea", top_k=9)) == 5

    memory.save_messages([HumanMessage("Hi"), AIMessage("Hello")], "chat", user_id=ana)
    memory.save_messages([HumanMessage("Bye")], "chat", user_id=ana)
    said = [m.text for m in memory.load_messages("chat", user_id=ana)]
    assert said == ["Hi", "Hello", "Bye"]
    assert memory.update(first.id, pinned=True, memory_type="fact").pinned
    assert memory.get(first.id).memory_type == "fact"
    assert memory.forget(id=first.id) == 1
    assert memory.get(first.id) is None
    assert {s.session_id for s in memory.sessions(user_id=ana)} == {None, "sea", "move", "chat"}
    assert memory.forget(user_id=ana, session_id="sea") == 5
    assert memory.stats().memories >= 3
    assert memory.forget(user_id=ana) > 0
    assert memory.memories(user_id=ana) == []
    assert [m.content for m in memory.memories(user_id=ben)] == ["Ben drinks nothing but tea."]
    _use_items(memory, name)


def _use_items(memory: Any, name: str) -> None:
    if isinstance(memory, KronvexMemory):
        store = KronvexKeyValueStore(memory, f"things {name}")
        store.mset([("a", 1), ("b", [2])])
        store.set("a", 3)
        assert store.mget(["a", "b", "c"]) == [3, [2], None]
        store.change("b", lambda known: [*known, 4], [])
        assert store.mget(["b"]) == [[2, 4]]
        store.mdelete(["a"])
        assert list(store.yield_keys()) == ["b"]
