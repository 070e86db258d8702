"""A server with every known weakness: no leaks, no silent losses, no endless loops."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langchain_kronvex import KronvexMemoryContext, ServerMisbehaved

from .bad_server import BadServer
from .conftest import Open
from .plain_server import KEY, likeness

USERS = ["ana", "bob", "Ana", "eve"]


def contents(memories: Any) -> set[str]:
    return {m.content for m in memories}


def test_the_agent_is_made_by_name_once_and_its_id_is_remembered(
    bad: BadServer, open_on: Open
) -> None:
    first = open_on(bad, agent_id="my agent")
    first.remember("tea", user_id="ana")
    assert first.flush(10)
    assert list(bad.agents.values()) == ["my agent"]
    first.close()
    asked = bad.count("GET", "/agents")
    second = open_on(bad, agent_id="my agent")
    assert contents(second.memories(user_id="ana")) == {"tea"}
    assert bad.count("GET", "/agents") == asked
    assert len(bad.agents) == 1


def test_the_same_sentence_of_four_users_is_four_memories(
    bad: BadServer, open_on: Open, told: list[Exception]
) -> None:
    memory = open_on(bad)
    for user in USERS:
        memory.remember("I am allergic to peanuts and to shellfish.", user_id=user)
    assert memory.flush(10)
    assert [type(error).__name__ for error in told] == ["WriteLost"] * 3
    assert (len(bad.all_items()), memory.stats().failed) == (1, 3)  # kept here, and found
    for user in USERS:
        found = memory.recall("allergic", user_id=user)
        assert [(m.user_id, m.content) for m in found] == [
            (user, "I am allergic to peanuts and to shellfish.")
        ]
    assert memory.stats().memories == 4


def test_sentences_that_are_alike_do_not_hide_each_other(
    bad: BadServer, open_on: Open, told: list[Exception]
) -> None:
    memory = open_on(bad)
    said = [f"My order number is {n} and it is late" for n in (1001, 1002, 1003)]
    assert likeness(said[0], said[1]) > 0.72
    for text in said:
        memory.remember(text, user_id="ana")
    assert memory.flush(10)
    assert contents(memory.memories(user_id="ana")) == set(said)
    assert contents(memory.recall("order", user_id="ana")) == set(said)
    assert not any(item.superseded for item in bad.all_items())
    assert told == []


def test_what_a_short_lived_memory_hides_is_reported(
    bad: BadServer, open_on: Open, told: list[Exception]
) -> None:
    memory = open_on(bad)
    for n in (1001, 1002):
        memory.remember(f"My order number is {n} and it is late", user_id="ana", ttl_days=2)
    assert memory.flush(10)
    assert any(isinstance(error, ServerMisbehaved) and "hide 1" in str(error) for error in told)
    assert len(memory.memories(user_id="ana")) == 2


def test_memories_of_others_are_dropped_and_reported_without_their_text(
    bad: BadServer, open_on: Open, told: list[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    memory = open_on(bad)
    for user in USERS:
        memory.remember(f"The zebra of {user} sleeps", user_id=user)
    assert memory.flush(10)
    for user in USERS:
        for top_k in (1, 5, 50):
            found = memory.recall("zebra", user_id=user, top_k=top_k)
            assert contents(found) == {f"The zebra of {user} sleeps"}
            context = memory.inject_context("zebra", user_id=user, top_k=top_k)
            assert context.context.count("zebra") == 1
    assert memory.recall("zebra", user_id="nobody") == []
    assert memory.recall("zebra") == []
    assert any("memories of others" in str(error) for error in told)
    assert memory.stats().degraded > 0
    assert "zebra" not in caplog.text
    assert KEY not in caplog.text
    assert bad.count("POST", "/inject-context") == 0


def test_what_is_merged_across_users_is_nobodys(bad: BadServer, open_on: Open) -> None:
    bad.merge_every = 4
    memory = open_on(bad)
    for n, user in enumerate(["ana", "bob"] * 4):
        memory.remember(f"The password of my bank account is {n}", user_id=user, ttl_days=5)
    assert memory.flush(10)
    assert any(item.is_meta for item in bad.all_items())
    assert memory.recall("password") == []
    assert memory.memories() == []
    for user, others in (("ana", "1357"), ("bob", "0246")):
        for found in (memory.memories(user_id=user), memory.recall("password", user_id=user)):
            assert not any(text.endswith(tuple(others)) for text in contents(found))
    assert memory.recall("password", user_id="ana", include_shared=True, top_k=50) is not None


def test_types_stay_as_they_were_given(bad: BadServer, open_on: Open) -> None:
    memory = open_on(bad)
    memory.remember("Tea at four", user_id="ana", ttl_days=5)
    assert memory.flush(10)
    assert [m.memory_type for m in memory.recall("tea", user_id="ana")] == ["episodic"]
    assert len(memory.recall("tea", user_id="ana", memory_type="episodic")) == 1
    assert memory.recall("tea", user_id="ana", memory_type="fact") == []
    assert {item.memory_type for item in bad.all_items()} == {"fact"}


def test_chat_histories_are_exact(bad: BadServer, open_on: Open) -> None:
    memory = open_on(bad)
    said = []
    for _ in range(30):
        said += [HumanMessage("ok"), AIMessage("ok"), HumanMessage("yes"), AIMessage("ok")]
    for start in range(0, len(said), 4):
        memory.save_messages(said[start : start + 4], "chat", user_id="ana", remember=False)
        memory.save_messages([HumanMessage("ok")], "chat", user_id="bob", remember=False)
    assert memory.flush(30)
    assert memory.load_messages("chat", user_id="ana") == said
    assert memory.load_messages("chat", user_id="bob") == [HumanMessage("ok")] * 30
    assert memory.load_messages("chat", user_id="ana", max_messages=4) == said[-4:]
    assert memory.load_messages("chat", user_id="eve") == []
    assert memory.stats().failed == 0


def test_a_write_that_the_server_always_swallows_is_reported_and_kept(
    bad: BadServer, open_on: Open, told: list[Exception]
) -> None:
    class Swallowing(BadServer):
        def remember(self, items: list[Any], body: dict[str, Any]) -> dict[str, Any]:
            return items[0].as_json(deduplicated=True) if items else super().remember(items, body)

    with Swallowing() as server:
        memory = open_on(server)
        memory.remember("The first", user_id="ana")
        memory.remember("Something else", user_id="bob")
        assert memory.flush(10)
        assert [type(error).__name__ for error in told] == ["WriteLost"]
        assert "Something else" not in str(told[0])
        stats = memory.stats()
        assert (stats.failed, stats.pending) == (1, 0)
        assert contents(memory.recall("something", user_id="bob")) == {"Something else"}
        assert memory.forget(user_id="bob") == 1
        assert memory.recall("something", user_id="bob") == []


def test_listings_that_never_end_do_end(bad: BadServer, open_on: Open) -> None:
    memory = open_on(bad)
    for n in range(5):
        memory.remember(f"note {n} about gadget{n}", user_id="ana")
    assert memory.flush(10)
    bad.endless = True
    assert len(memory.memories(user_id="ana")) == 5
    assert memory.stats().memories == 5
    assert bad.count("GET", "/memories") < 30


def test_forgetting_one_user_keeps_the_others(bad: BadServer, open_on: Open) -> None:
    memory = open_on(bad)
    for user in USERS:
        memory.remember("I am allergic to peanuts and to shellfish.", user_id=user)
        memory.save_messages([HumanMessage("hi")], "chat", user_id=user, remember=False)
    assert memory.forget(user_id="ana") == 2
    assert memory.memories(user_id="ana") == []
    assert memory.load_messages("chat", user_id="ana") == []
    for user in USERS[1:]:
        assert len(memory.memories(user_id=user)) == 1
        assert len(memory.load_messages("chat", user_id=user)) == 1
    assert memory.clear() == 6
    assert bad.all_items() == []


def test_a_prompt_is_filled_with_its_users_memories_alone(bad: BadServer, open_on: Open) -> None:
    memory = open_on(bad)
    memory.remember("The dog of Bob is called Rex", user_id="bob")
    memory.remember("The cat is called Tom", user_id="ana")
    filled = KronvexMemoryContext(memory=memory, user_id="ana").invoke({"input": "called?"})
    assert "Tom" in filled["memory_context"]
    assert "Rex" not in filled["memory_context"]
