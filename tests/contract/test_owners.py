"""Listing the owners of memories by a prefix of their names."""

from __future__ import annotations

from langchain_core.messages import HumanMessage

from contract.drivers import Clock, Driver


def test_owners_are_told_by_the_beginning_of_their_names(memory: Driver, clock: Clock) -> None:
    names = ["/a", "/a/b", "/a%", "/A/b", "/ab", "a", "\U0010ffff", "/a/\U0010ffff"]
    for name in names:
        memory.remember("tea", user_id=name)
    memory.remember("tea", session_id="/a/session")
    memory.remember("short", user_id="/a/short", ttl_days=1)
    memory.remember("gone", user_id="/a/gone")
    memory.forget(user_id="/a/gone")
    memory.save_messages([HumanMessage("hello")], "chat", user_id="/a/chat", remember=False)
    clock.advance(days=2)

    def owners(beginning: str) -> set[str]:
        backend = memory.memory.engine.backend
        return set(backend.owners(beginning, clock()))

    assert owners("/a/") == {"/a/b", "/a/\U0010ffff", "/a/session"}
    assert owners("/a") == {"/a", "/a/b", "/a%", "/ab", "/a/\U0010ffff", "/a/session"}
    assert owners("") == {*names, "/a/session"}
    assert owners("/a_") == set()
