"""A retention of the memory never takes items: of a store here, or of a client of a server."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

from langchain_core.messages import AIMessage, HumanMessage

from langchain_kronvex import KronvexKeyValueStore, KronvexMemory, Retention
from langchain_kronvex.langgraph import KronvexStore
from langchain_kronvex.server import create_app
from server.running import serving

KEPT = Retention(max_memories=1, idle_days=1)


def test_items_are_not_limited(tmp_path: Path) -> None:
    with KronvexMemory(f"sqlite:///{tmp_path}/memory.db", retention=KEPT) as memory:
        with KronvexStore(memory) as store:
            for n in range(5):
                store.put(("users", "ana"), f"key {n}", {"text": f"Value {n}."})
            store.memory.flush()
        with KronvexStore(memory) as store:
            assert len(store.search(("users", "ana"))) == 5


def test_a_server_keeps_the_chats_and_items_of_its_clients(tmp_path: Path) -> None:
    days = [0]

    def clock() -> datetime:
        return datetime.now(timezone.utc) + timedelta(days=days[0])

    place = f"sqlite:///{tmp_path}/memory.db"
    said = [HumanMessage("Hello"), AIMessage("Hello, Ana!")]
    for n in range(2):  # again after days, when the server opens its agents anew
        with (
            KronvexMemory(place, retention=KEPT, clock=clock) as memory,
            serving(create_app(memory)) as url,
            KronvexMemory(url, agent_id="bot", outbox=tmp_path / f"outbox{n}.db") as client,
            KronvexStore(client, ttl={"default_ttl": 30 * 24 * 60}) as store,
        ):
            if n == 0:
                # What never expires is pinned on a server.
                for text in ("tea", "milk"):
                    client.remember(text, user_id="ana", ttl_days=30)
                client.save_messages(said, "s", user_id="ana", remember=False)
                KronvexKeyValueStore(client, "settings").set("theme", "dark", ttl_days=30)
                for name in ("a", "b"):
                    store.put(("users",), name, {"text": name})
                assert client.flush(20)
                assert store.memory.flush(20)
                days[0] += 2
                continue
            with memory.for_agent("bot") as served:
                assert served.flush(20)
                assert served.expire() == []
            assert client.memories(user_id="ana") == []
            assert client.load_messages("s", user_id="ana") == said
            assert KronvexKeyValueStore(client, "settings").get("theme") == "dark"
            assert len(store.search(("users",))) == 2
