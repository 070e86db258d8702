"""Explaining: why a memory is recalled, what its scores are made of, and what keeps it out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from contract.drivers import NOW, Backend, Clock, Driver
from inside import Limits, exchange_content, open_turn, prefilter, ranking
from langchain_kronvex import InvalidInput, Memory, MemoryDraft, MemoryNotFound

QUERY = "Which nuts is Ana allergic to?"
TEXTS = [
    "Ana is allergic to peanuts.", "Ana's allergy began in May 2019.", "Do you like nuts?",
    "Ana plays the cello.", "The car needs new tyres.", "Always greet Ana in French.",
]  # fmt: skip


@pytest.fixture
def stored(memory: Driver, clock: Clock) -> list[Memory]:
    drafts = [
        MemoryDraft(
            text,
            user_id="ana",
            session_id=f"s{n % 2}",
            memory_type="semantic" if n == 5 else "episodic",
            created_at=clock.now - timedelta(days=n),
            metadata={"n": n},
        )
        for n, text in enumerate(TEXTS)
    ]
    stored = memory.remember_many(drafts)
    memory.flush()
    return stored


def test_what_is_recalled_is_explained(memory: Driver, stored: list[Memory]) -> None:
    memory.remember("Ben is allergic to nuts.", user_id="ben")
    before = {each.id: each.access_count for each in memory.memories(user_id="ana")}
    explained = {each.id: memory.explain(QUERY, each.id, user_id="ana") for each in stored}
    after = {each.id: each.access_count for each in memory.memories(user_id="ana")}
    found = memory.recall(QUERY, user_id="ana")

    assert len(found) == 5
    for rank, each in enumerate(found, 1):
        why = explained[each.id]
        assert (why.found, why.rank, why.id) == (True, rank, each.id)
        assert why.place == why.rank_by_similarity
        assert why.of == len(TEXTS)
        assert sum(why.shares.values()) == pytest.approx(why.relevance, abs=1e-5)
        assert why.similarity == pytest.approx(each.similarity)
        assert why.probability == pytest.approx(each.probability)
        if not memory.memory.engine.backend.is_remote:
            assert why.confidence == pytest.approx(each.confidence)
            assert before == after
    [out] = explained.keys() - {each.id for each in found}
    assert explained[out].kept_out == ("top_k",)
    assert (explained[out].place, explained[out].rank) == (6, None)


def test_features_have_their_shares(memory: Driver, stored: list[Memory]) -> None:
    allergic, dated, *_, instruction = [
        memory.explain("Ana's allergy in May 2019", each.id, user_id="ana") for each in stored
    ]

    assert allergic.shares["words"] > 0
    assert allergic.shares["speaker"] > 0
    assert allergic.shares["meaning"] > 0
    assert {*allergic.terms} >= {"ana", "allergi", "2019"}
    assert allergic.terms["2019"] == 0 < dated.terms["2019"]
    assert instruction.shares["instruction"] == pytest.approx(ranking.INSTRUCTION, abs=1e-5)


KEPT_OUT: list[tuple[int, dict[str, Any], tuple[str, ...]]] = [
    (0, {"session_id": "s1"}, ("session",)),
    (0, {"memory_type": "semantic"}, ("memory_type",)),
    (0, {"session_id": "s1", "memory_type": "semantic"}, ("session", "memory_type")),
    (2, {"memory_type": ["semantic", "fact"]}, ("memory_type",)),
    (1, {"since": NOW - timedelta(hours=1)}, ("since",)),
    (1, {"until": NOW - timedelta(days=1)}, ("until",)),
    (1, {"as_of": NOW - timedelta(days=2)}, ("as_of",)),
    (1, {"filter": {"n": {"$gte": 2}}}, ("filter",)),
    (1, {"filter": {"n": {"$lte": 1}}, "since": NOW - timedelta(days=1), "top_k": 2}, ()),
    (3, {"threshold": 1.0}, ("threshold",)),
    (4, {"threshold": 1.0, "top_k": 1}, ("threshold", "top_k")),
    (4, {"top_k": 1}, ("top_k",)),
    (0, {"session_id": "s0", "memory_type": "episodic", "top_k": 1}, ()),
]


def test_what_keeps_a_memory_out_is_named(memory: Driver, stored: list[Memory]) -> None:
    for number, options, kept_out in KEPT_OUT:
        id_ = stored[number].id
        why = memory.explain(QUERY, id_, user_id="ana", **options)

        assert why.kept_out == kept_out, options
        found = memory.recall(QUERY, user_id="ana", **options)
        assert (id_ in [each.id for each in found]) is why.found
        assert ("not recalled" in str(why)) is bool(kept_out)


def test_the_place_is_among_what_may_be_returned(
    memory: Driver, stored: list[Memory], backend: Backend
) -> None:
    memory.remember("Nuts are stored in the kitchen.")  # of the agent
    memory.flush()
    for options, of in (({"session_id": "s0"}, 3), ({"include_shared": True}, 7)):
        why = memory.explain(QUERY, stored[0].id, user_id="ana", **options)
        # A server is asked for one owner, whose sessions it does not know.
        expected = (None, 0) if backend.name == "kronvex-api" else (1, of)
        assert (why.place, why.of) == expected


def test_a_repeated_text_and_one_of_the_turn_under_way_are_kept_out(
    memory: Driver, stored: list[Memory]
) -> None:
    [one, two] = memory.remember_many(
        [MemoryDraft("Nuts again.", user_id="ana", session_id=name) for name in ("x", "y")]
    )
    memory.flush()
    explained = [memory.explain(QUERY, each.id, user_id="ana", top_k=50) for each in (one, two)]
    assert sorted(why.kept_out for why in explained) == [(), ("same_text",)]

    said = memory.remember(exchange_content("Do I like nuts?", None), user_id="ana")
    memory.flush()
    with open_turn([HumanMessage("Do I like nuts?")]):
        why = memory.explain(QUERY, said.id, user_id="ana", top_k=50)
    assert why.kept_out == ("this_turn",)


def test_an_expired_memory_is_told_from_an_unknown_one(
    memory: Driver, clock: Clock, backend: Backend
) -> None:
    id_ = memory.remember("Ana likes nuts.", user_id="ana", ttl_days=1).id
    memory.flush()
    clock.advance(days=2)

    why = memory.explain(QUERY, id_, user_id="ana")

    assert why.kept_out == ("expired",)
    assert (why.place, why.shares, why.similarity, why.confidence) == (None, {}, 0, 0)
    assert "it has expired" in str(why)


def test_a_superseded_memory_is_explained_as_such(
    memory: Driver, clock: Clock, stored: list[Memory]
) -> None:
    clock.advance(days=1)
    old = stored[0].id
    new = memory.remember("Ana's allergy is gone.", user_id="ana", supersedes=old).id
    memory.flush()

    why = memory.explain(QUERY, old, user_id="ana")
    assert (why.kept_out, why.shares) == (("superseded",), {})
    assert memory.explain(QUERY, new, user_id="ana").of == len(TEXTS)
    for options in ({"include_superseded": True}, {"as_of": NOW + timedelta(hours=1)}):
        why = memory.explain(QUERY, old, user_id="ana", **options)
        assert why.found
        assert sum(why.shares.values()) == pytest.approx(why.relevance, abs=1e-5)


def test_ids_of_others_are_as_unknown_as_any(memory: Driver, stored: list[Memory]) -> None:
    agents, theirs = memory.remember("Nuts."), memory.remember("Nuts.", user_id="ben")
    memory.flush()
    said = set()
    for id_, options in (
        (agents.id, {"user_id": "ana"}),
        (theirs.id, {"user_id": "ana", "include_shared": True}),
        (stored[0].id, {"user_id": "ANA"}),
        (stored[0].id, {"session_id": "s0"}),
        (stored[0].id, {}),
        ("none", {"user_id": "ana"}),
    ):
        with pytest.raises(MemoryNotFound) as raised:
            memory.explain(QUERY, id_, **options)
        said.add(str(raised.value))
    assert len(said) == 1
    assert memory.explain(QUERY, agents.id, user_id="ana", include_shared=True, top_k=9).found
    assert memory.explain(QUERY, agents.id).found


def test_what_the_first_look_leaves_out_is_weighed_but_not_found(
    memory: Driver, stored: list[Memory], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = Limits(exact_up_to=3, by_words=2, by_vectors=1, latest=1)
    monkeypatch.setattr(prefilter, "LIMITS", few)
    drafts = [MemoryDraft(f"The car was cleaned, {n}.", user_id="ana") for n in range(20)]
    memory.remember_many(drafts)
    memory.flush()

    explained = [memory.explain(QUERY, each.id, user_id="ana", top_k=1) for each in stored]

    assert explained[0].found
    assert ("prefilter",) in [why.kept_out for why in explained]
    assert all(why.of == 26 for why in explained)


def test_values_that_do_not_fit_are_refused(memory: Driver, stored: list[Memory]) -> None:
    for options in ({"order_by": "age"}, {"top_k": 0}, {"threshold": 2}, {"memory_type": "x"}):
        with pytest.raises(InvalidInput):
            memory.explain(QUERY, stored[0].id, user_id="ana", **options)
    with pytest.raises(InvalidInput, match="id"):
        memory.explain(QUERY, "", user_id="ana")
