"""Explaining by servers that cannot, that answer nonsense, or that do not have the memory."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_kronvex import NotSupported, ServerMisbehaved

from .bad_server import FaultyServer, status
from .conftest import Open
from .plain_server import Call, PlainServer

SHARES: dict[str, Any] = {"shares": {"words": 1}, "terms": {}, "kept_out": []}
SCORES: dict[str, Any] = {
    "place": 1, "of": 1, "similarity": 0.5, "probability": 0.5, "relevance": 1,
}  # fmt: skip


class Explaining(PlainServer):
    """Answers every question for an explanation alike."""

    said: Any = None

    def agent_call(self, call: Call, agent: str, rest: list[str]) -> tuple[int, Any]:
        return (200, self.said) if rest == ["explain"] else super().agent_call(call, agent, rest)


def test_a_server_that_cannot_explain_is_named(open_on: Open, plain: PlainServer) -> None:
    memory = open_on(plain)
    id_ = memory.remember("The zebra sleeps.", user_id="ana").id
    assert memory.flush(10)

    with pytest.raises(NotSupported, match="cannot explain"):
        memory.explain("zebra", id_, user_id="ana")


@pytest.mark.parametrize(
    "answer",
    [
        None, [], {"memories": [1]}, {**SHARES, "terms": 5}, {**SHARES, **SCORES, "place": "first"},
        {**SHARES, **SCORES, "relevance": 10**400}, {**SHARES, **SCORES, "shares": {"words": None}},
    ],
)  # fmt: skip
def test_an_answer_that_explains_nothing_is_an_error(open_on: Open, answer: Any) -> None:
    with Explaining() as server:
        server.said = answer
        memory = open_on(server)
        id_ = memory.remember("The zebra sleeps.", user_id="ana").id
        assert memory.flush(10)
        with pytest.raises(ServerMisbehaved):
            memory.explain("zebra", id_, user_id="ana")


def test_what_a_server_makes_up_is_kept_within_bounds(open_on: Open) -> None:
    with Explaining() as server:
        told = {"words": 1, "aura": 9}
        server.said = {**SHARES, **SCORES, "shares": told, "similarity": 7, "terms": {"\x1b": 1}}
        memory = open_on(server)
        id_ = memory.remember("The zebra sleeps.", user_id="ana").id
        assert memory.flush(10)

        why = memory.explain("zebra", id_, user_id="ana")

        assert why.similarity == 1
        assert "aura" not in why.shares
        assert str(why).replace("\n", "").isprintable()


def test_what_the_server_refused_cannot_be_explained(faulty: FaultyServer, open_on: Open) -> None:
    memory = open_on(faulty)
    faulty.only = "/remember"
    faulty.faults.append(status(422))
    id_ = memory.remember("The lion is awake.", user_id="ana").id
    memory.flush(10)

    assert memory.recall("lion", user_id="ana")[0].id == id_
    with pytest.raises(NotSupported, match="not on the server"):
        memory.explain("lion", id_, user_id="ana")
