"""Owners: every way of writing against every way of reading."""

from __future__ import annotations

import pytest
from langchain_core.messages import HumanMessage

from contract.drivers import Driver

Ids = tuple[str | None, str | None]

WRITTEN: dict[str, Ids] = {
    "agent": (None, None),
    "ana": ("ana", None),
    "ana-1": ("ana", "s1"),
    "ana-2": ("ana", "s2"),
    "session-ana": (None, "ana"),
    "ana-ana": ("ana", "ana"),
    "session-1": (None, "s1"),
    "user-s1": ("s1", None),
    "bob-1": ("bob", "s1"),
    "bob-ana": ("bob", "ana"),
    "Ana": ("Ana", None),
    "ana-space": ("ana ", None),
}
ALL_OF_ANA = {"ana", "ana-1", "ana-2", "session-ana", "ana-ana"}
READ: dict[Ids, set[str]] = {
    (None, None): {"agent"},
    ("ana", None): ALL_OF_ANA,
    ("ana", "s1"): {"ana-1"},
    ("ana", "s2"): {"ana-2"},
    ("ana", "ana"): {"session-ana", "ana-ana"},
    ("ana", "s3"): set(),
    ("ana", "bob"): set(),
    (None, "ana"): ALL_OF_ANA,
    (None, "s1"): {"session-1", "user-s1"},
    ("s1", None): {"session-1", "user-s1"},
    ("s1", "s1"): {"session-1"},
    ("s1", "ana"): set(),
    (None, "s2"): set(),
    ("bob", None): {"bob-1", "bob-ana"},
    (None, "bob"): {"bob-1", "bob-ana"},
    ("bob", "s1"): {"bob-1"},
    ("bob", "ana"): {"bob-ana"},
    ("Ana", None): {"Ana"},
    ("ANA", None): set(),
    ("an", None): set(),
    ("an%", None): set(),
    ("an_", None): set(),
    ("ana ", None): {"ana-space"},
    (" ana", None): set(),
    ("ana", "s1 "): set(),
    ("ana", "S1"): set(),
    ("ana", "s%"): set(),
}


@pytest.fixture
def filled(memory: Driver) -> Driver:
    for name, (user_id, session_id) in WRITTEN.items():
        memory.remember(f"tea {name}", user_id=user_id, session_id=session_id)
    return memory


def names(memories) -> set[str]:
    return {m.content.removeprefix("tea ") for m in memories}


def test_each_reading_shows_exactly_its_own(filled: Driver) -> None:
    for ids, visible in READ.items():
        scope = dict(zip(("user_id", "session_id"), ids, strict=True))
        shared = visible | {"agent"}
        assert names(filled.memories(**scope)) == visible, ids
        assert names(filled.recall("tea", top_k=99, **scope)) == visible, ids
        assert names(filled.inject_context("tea", top_k=99, **scope).memories) == visible, ids
        assert names(filled.recall("tea", top_k=99, include_shared=True, **scope)) == shared, ids
        assert names(filled.memories(include_shared=True, **scope)) == shared, ids


# No two of these reach the same memories by the same ids.
FORGOTTEN = [
    ("ana", None), ("ana", "s1"), ("ana", "ana"), ("ana", "s3"), (None, "ana"), (None, "s1"),
    ("s1", "s1"), ("s1", "ana"), ("bob", "ana"), ("Ana", None), ("ANA", None), ("an%", None),
    ("ana ", None), ("ana", "s%"),
]  # fmt: skip


@pytest.mark.parametrize("ids", FORGOTTEN, ids=repr)
def test_forgetting_reaches_exactly_as_far_as_reading(filled: Driver, ids: Ids) -> None:
    gone = READ[ids]
    assert filled.forget(user_id=ids[0], session_id=ids[1]) == len(gone)
    for (user_id, session_id), visible in READ.items():
        left = filled.memories(user_id=user_id, session_id=session_id)
        assert names(left) == visible - gone


def test_writing_and_reading_with_the_same_ids_always_meet(memory: Driver) -> None:
    for number, ids in enumerate(WRITTEN.values()):
        scope = dict(zip(("user_id", "session_id"), ids, strict=True))
        stored = memory.remember(f"tea {number}", **scope)
        assert (stored.user_id, stored.session_id) == ids
        assert stored.id in {m.id for m in memory.recall("tea", top_k=99, **scope)}
        exchange = memory.save_exchange(f"tea {number}?", "yes", **scope)[0]
        assert {stored.id, exchange.id} <= {m.id for m in memory.memories(**scope)}


def test_messages_belong_to_their_user_and_session(memory: Driver) -> None:
    pairs = [ids for ids in WRITTEN.values() if ids[1] is not None]
    for user_id, session_id in pairs:
        memory.save_messages(
            [HumanMessage(f"{user_id} {session_id}")], session_id, user_id=user_id, remember=False
        )
    for user_id, session_id in [*pairs, ("ana", "s3"), ("Ana", "s1"), (None, "s2")]:
        seen = [m.content for m in memory.load_messages(session_id, user_id=user_id)]
        expected = [
            f"{user} {session}"
            for user, session in pairs
            if (user or session, session) == (user_id or session_id, session_id)
        ]
        assert seen == expected
