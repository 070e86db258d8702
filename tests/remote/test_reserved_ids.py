"""User ids that look like sessions of this package on the server are separate users."""

from __future__ import annotations

import pytest

from inside import AGENT_SESSION, Scope, wire_session

from .conftest import Open
from .plain_server import PlainServer

LOOKALIKES = [
    AGENT_SESSION,
    wire_session("message", Scope("ana", "s1")),
    wire_session("memory", Scope(AGENT_SESSION)),
]
NAMES = ["agent", "ana's chat", "another such id"]


@pytest.mark.parametrize("id_", LOOKALIKES, ids=NAMES)
@pytest.mark.parametrize("as_user", [True, False], ids=["user", "session"])
def test_they_read_and_erase_their_own_alone(
    plain: PlainServer, open_on: Open, id_: str, as_user: bool
) -> None:
    whose = {"user_id": id_} if as_user else {"session_id": id_}
    memory = open_on(plain, timeout_seconds=10)
    memory.remember("The zebra is everybody's")
    memory.remember("The zebra is the lookalike's", user_id=AGENT_SESSION)
    history = memory.chat_history("s1", user_id="ana")
    history.add_user_message("The zebra is Ana's")
    own = memory.chat_history("s1", **({"user_id": id_} if as_user else {}))
    own.add_user_message("Hello.")
    assert memory.flush(20)
    others = {"The zebra is everybody's", "User: The zebra is Ana's"} | (
        set() if id_ == AGENT_SESSION else {"The zebra is the lookalike's"}
    )
    assert memory.forget(**whose) == (1 if id_ == AGENT_SESSION else 0) + 2 * as_user

    memory.remember("The zebra is mine", **whose)
    assert memory.flush(20)
    for found in (memory.recall("zebra", **whose), memory.memories(**whose)):
        assert [m.content for m in found] == ["The zebra is mine"]
    shared = memory.recall("zebra", **whose, include_shared=True)
    assert {m.content for m in shared} == {"The zebra is mine", "The zebra is everybody's"}
    again = open_on(plain)  # knows nothing but what the server says
    assert [m.content for m in again.memories(**whose)] == ["The zebra is mine"]
    assert {m.content for m in again.memories()} == {"The zebra is everybody's"}
    assert again.forget(**whose) == 1
    left = {item.content.partition("\n")[0] for item in plain.all_items()}
    assert others <= left
    assert "The zebra is mine" not in left
    assert [m.content for m in again.chat_history("s1", user_id="ana").messages] == [
        "The zebra is Ana's"
    ]


@pytest.mark.parametrize("id_", LOOKALIKES, ids=NAMES)
def test_what_others_write_there_is_nobodys(plain: PlainServer, open_on: Open, id_: str) -> None:
    memory = open_on(plain)
    for session in (id_, wire_session("memory", Scope(id_))):
        item = plain.new_item({"content": "The zebra is strange", "session_id": session})
        plain.items.setdefault("default", []).append(item)
    assert memory.recall("zebra", user_id=id_) == memory.memories(user_id=id_) == []
    assert len(memory.memories()) == (1 if id_ == AGENT_SESSION else 0)
