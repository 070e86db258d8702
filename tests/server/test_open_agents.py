"""Many agents in one process: few are open at a time, and none is closed during a request."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from inside import NO_KEY, ItemTable, OpenAgents, Page, Selection, open_registry
from langchain_kronvex import KronvexMemory

from .running import client


@pytest.fixture
def opened(memory: KronvexMemory):  # type: ignore[no-untyped-def]
    agents = OpenAgents(memory, memory.for_agent, 2)
    yield agents
    agents.close()


def test_the_ones_not_used_are_closed(opened: OpenAgents, memory: KronvexMemory) -> None:
    seen = []
    for name in ("a", "b", "c", memory.agent_id):
        with opened.use(name) as agent:
            agent.memory.remember(name)
            seen.append(agent.memory)
    for closed in seen[:2]:
        with pytest.raises(Exception, match="closed"):
            closed.stats()
    assert seen[3] is memory
    opened.close()
    assert memory.stats().memories == 1  # its owner closes it
    with opened.use("a") as agent:
        assert agent.memory.stats().memories == 1


def test_one_in_use_stays_open(opened: OpenAgents) -> None:
    with opened.use("a") as first:
        for name in ("b", "c", "d"):
            with opened.use(name) as agent:
                agent.memory.stats()
        assert first.memory.remember("still here").content == "still here"


def test_use_alone_waits_for_others_and_makes_new_requests_wait(opened: OpenAgents) -> None:
    order: list[str] = []
    entered, leave = threading.Event(), threading.Event()

    def user() -> None:
        with opened.use("a"):
            entered.set()
            leave.wait(10)
            order.append("user")

    def alone() -> None:
        with opened.use_alone("a"):
            order.append("alone")

    threads = [threading.Thread(target=user), threading.Thread(target=alone)]
    threads[0].start()
    entered.wait(10)
    threads[1].start()
    with opened.use("b"):  # other agents are not held up
        pass
    leave.set()
    for thread in threads:
        thread.join(10)
    assert order == ["user", "alone"]
    with opened.use("a"):
        pass


@pytest.mark.slow
def test_more_agents_than_may_be_open(serve) -> None:  # type: ignore[no-untyped-def]
    base = serve(open_memories=2)

    def talk(number: int) -> int:
        name, user = f"agent-{number % 6}", f"user-{number}"
        with client(base) as api:
            said = {"content": f"I am number {number}", "session_id": user}
            assert api.post(f"/agents/{name}/remember", json=said).status_code == 201
            asked = {"query": "number", "session_id": user}
            found = api.post(f"/agents/{name}/recall", json=asked).json()
            return int(found["memories"][0]["content"].split()[-1])

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(talk, range(36))) == list(range(36))
    with client(base) as api:
        assert sorted(a["memory_count"] for a in api.get("/agents").json()) == [6] * 6


@pytest.mark.slow
def test_none_is_closed_under_a_request_while_many_come_and_go(serve) -> None:  # type: ignore[no-untyped-def]
    base = serve(open_memories=4)

    def talk(number: int) -> set[int]:
        draw, seen = random.Random(number), set()
        with client(base) as api:
            for step in range(20):
                path = f"/agents/agent-{draw.randrange(40)}"
                said = {"content": f"{number} {step}", "session_id": "u"}
                asked = {"query": "number", "session_id": "u"}
                answer = draw.choice(
                    [
                        lambda path=path, said=said: api.post(f"{path}/remember", json=said),
                        lambda path=path, asked=asked: api.post(f"{path}/recall", json=asked),
                        lambda path=path: api.get(f"{path}/memories"),
                        lambda: api.get("/agents"),
                    ]
                )()
                seen.add(answer.status_code)
        return seen

    with ThreadPoolExecutor(8) as pool:
        seen = set().union(*pool.map(talk, range(8)))
    assert seen <= {200, 201, 404}  # 404 where nobody has remembered anything yet


def test_an_agent_is_deleted_while_others_write_to_it(serve) -> None:  # type: ignore[no-untyped-def]
    base = serve()
    stop = threading.Event()

    def write(number: int) -> None:
        with client(base) as api:
            for n in range(1000):
                if stop.is_set():
                    return
                said = {"content": f"{number}.{n}", "session_id": "u"}
                assert api.post("/agents/a/remember", json=said).status_code == 201

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(write, number) for number in range(4)]
        with client(base) as api:
            for _ in range(5):
                assert api.delete("/agents/a").status_code in (204, 404)
            stop.set()
            for each in running:
                each.result(30)
            api.delete("/agents/a")
            api.post("/agents/a/remember", json={"content": "new"})
            assert api.get("/agents/a/memories").json()["total"] == 1


def test_a_store_in_ram_can_be_served(serve, store_url: str) -> None:  # type: ignore[no-untyped-def]
    from langchain_kronvex.server import ServerSettings, create_app

    from .running import serving

    with KronvexMemory("sqlite://") as memory:
        app = create_app(memory, ServerSettings(open_memories=1))
        with serving(app) as base, client(base) as api:
            for name in ("a", "b", "a"):
                api.post(f"/agents/{name}/remember", json={"content": "x"})
            assert api.get("/agents/a").json()["memory_count"] == 1


def test_items_are_seen_by_no_verb(memory: KronvexMemory, store_url: str) -> None:
    """Items may stand under any agent; no verb but forgetting everything touches them."""
    backend = memory.engine.backend
    table = ItemTable(
        backend, "ana", memory.engine.clock
    )  # as hostile as can be: an owner's own name
    item = table.put("key", "the item", {"n": 1})
    memory.remember("the memory", user_id="ana", session_id="ana")

    assert [m.content for m in memory.recall("the item", user_id="ana")] == ["the memory"]
    assert [m.content for m in memory.memories(user_id="ana")] == ["the memory"]
    assert memory.get(item.id) is None
    assert memory.load_messages("ana", user_id="ana") == []
    assert [(s.memories, s.messages) for s in memory.sessions()] == [(1, 0)]
    assert memory.stats().memories == 1
    assert [r.content for r in table.all()] == ["the item"]
    table.put("key", "another", {})
    found = table.find("key")
    assert found is not None
    assert found.content == "the item"  # the first one's content stays

    memory.forget(user_id="ana")
    assert [r.content for r in table.all()] == ["the item"]  # it is no user's
    memory.clear()
    assert backend.find(Selection(kind=None, scope=None), Page(), memory.engine.clock()) == []


def test_clearing_an_agent_leaves_the_servers_records(memory: KronvexMemory) -> None:
    with open_registry(memory.location) as (_, agents):
        agents.register(NO_KEY, "a")
        memory.remember("x")
        memory.clear()
        assert agents.find("a") is not None
