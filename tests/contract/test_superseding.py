"""`supersedes=`: the older memory is kept, hidden, shown on request, and brought back."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from contract.drivers import NOW, Clock, Driver
from inside import indexes
from langchain_kronvex import InvalidInput, MemoryDraft, MemoryNotFound

OpenDriver = Callable[..., Driver]
LISBON, PORTO, BRAGA = "Ana lives in Lisbon.", "Ana lives in Porto.", "Ana lives in Braga."
WHERE = "Where does Ana live?"


def contents(found: Any) -> list[str]:
    return [each.content for each in found]


def move(memory: Driver, clock: Clock, *texts: str, **options: Any) -> list[str]:
    """Store texts, each of which supersedes the one before, a month apart; return their ids."""
    ids: list[str] = []
    for text in texts:
        older = {"supersedes": ids[-1]} if ids else {}
        ids.append(memory.remember(text, user_id="ana", **older, **options).id)
        clock.advance(days=30)
    return ids


def test_a_superseded_memory_is_kept_and_hidden(memory: Driver, clock: Clock) -> None:
    memory.remember("Ana likes tea.", user_id="ana")
    old, new = move(memory, clock, LISBON, PORTO, memory_type="semantic")
    for top_k in (1, 10):
        assert LISBON not in contents(memory.recall(WHERE, user_id="ana", top_k=top_k))
    assert LISBON not in str(memory.inject_context(WHERE, user_id="ana"))
    assert LISBON not in contents(memory.memories(user_id="ana"))

    kept = memory.get(old)
    assert (kept.content, kept.superseded_by) == (LISBON, new)
    assert kept.valid_until == memory.get(new).valid_from == NOW + timedelta(days=30)
    assert contents(memory.history(old)) == contents(memory.history(new)) == [LISBON, PORTO]
    everything = memory.recall(WHERE, user_id="ana", include_superseded=True)
    assert {LISBON, PORTO} <= {*contents(everything)}
    assert LISBON in contents(memory.memories(user_id="ana", include_superseded=True))


def test_what_was_true_at_a_moment(memory: Driver, clock: Clock) -> None:
    move(memory, clock, LISBON, PORTO, BRAGA)
    for days, there in ((-1, []), (0, [LISBON]), (29, [LISBON]), (30, [PORTO]), (60, [BRAGA])):
        moment = NOW + timedelta(days=days)
        assert contents(memory.recall(WHERE, user_id="ana", as_of=moment)) == there
        assert contents(memory.memories(user_id="ana", as_of=moment)) == there
        context = memory.inject_context(WHERE, user_id="ana", as_of=moment)
        assert contents(context.memories) == there


def test_validity_may_begin_before_it_was_said(memory: Driver, clock: Clock) -> None:
    old = memory.remember(LISBON, user_id="ana", valid_from=NOW - timedelta(days=900))
    moved = NOW - timedelta(days=100)
    memory.remember(PORTO, user_id="ana", valid_from=moved, supersedes=[old.id])
    at = {days: NOW - timedelta(days=days) for days in (901, 900, 101, 100)}
    found = {d: contents(memory.memories(user_id="ana", as_of=at[d])) for d in at}
    assert found == {901: [], 900: [LISBON], 101: [LISBON], 100: [PORTO]}


def test_one_memory_may_supersede_several(memory: Driver) -> None:
    ids = [memory.remember(text, user_id="ana").id for text in (LISBON, PORTO)]
    memory.remember_many([MemoryDraft(BRAGA, user_id="ana", session_id="may", supersedes=ids)])
    assert contents(memory.memories(user_id="ana")) == [BRAGA]
    assert {*contents(memory.history(ids[0]))} == {LISBON, PORTO, BRAGA}


def test_two_successors_of_one_memory_make_one_chain(memory: Driver, clock: Clock) -> None:
    old = memory.remember(LISBON, user_id="ana").id
    clock.advance(days=1)
    memory.remember(PORTO, user_id="ana", supersedes=old)
    clock.advance(days=1)
    memory.remember(BRAGA, user_id="ana", supersedes=old)
    assert contents(memory.memories(user_id="ana")) == [BRAGA]
    assert contents(memory.history(old)) == [LISBON, PORTO, BRAGA]


def test_workers_that_supersede_the_same_memory_lose_nothing(open_shared: OpenDriver) -> None:
    workers = [open_shared(clock=None) for _ in range(4)]
    old = workers[0].remember(LISBON, user_id="ana").id
    workers[0].flush(30)
    ready = threading.Barrier(4)

    def supersede(number: int) -> None:
        ready.wait(10)
        workers[number].memory.remember(f"Home {number}.", user_id="ana", supersedes=old)

    threads = [threading.Thread(target=supersede, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(workers[0].memories(user_id="ana")) == 1
    assert len(workers[0].history(old)) == 5


def test_forgetting_the_newer_brings_nothing_back(memory: Driver, clock: Clock) -> None:
    old, new = move(memory, clock, LISBON, PORTO)
    assert memory.forget(id=new) == 1
    assert memory.memories(user_id="ana") == memory.recall(WHERE, user_id="ana") == []
    assert contents(memory.history(old)) == [LISBON]
    memory.remember(BRAGA, user_id="ana", supersedes=old)
    assert contents(memory.history(old)) == [LISBON, BRAGA]


def test_forgetting_a_user_takes_all(memory: Driver, clock: Clock) -> None:
    old, new = move(memory, clock, LISBON, PORTO)
    assert memory.forget(user_id="ana") == 2
    assert (memory.get(old), memory.get(new)) == (None, None)
    assert memory.memories(user_id="ana", include_superseded=True) == []


def test_it_is_brought_back(memory: Driver, clock: Clock) -> None:
    old, _ = move(memory, clock, LISBON, PORTO)
    restored = memory.restore(old)
    assert (restored.content, restored.superseded_by, restored.valid_until) == (LISBON, None, None)
    assert {*contents(memory.memories(user_id="ana"))} == {LISBON, PORTO}
    assert {*contents(memory.recall(WHERE, user_id="ana"))} == {LISBON, PORTO}
    assert memory.restore(old).valid_from == restored.valid_from
    assert memory.remember(LISBON, user_id="ana").id == old
    with pytest.raises(MemoryNotFound):
        memory.restore("nothing")
    with pytest.raises(MemoryNotFound):
        memory.history("nothing")


def test_what_was_superseded_may_be_true_again(memory: Driver, clock: Clock) -> None:
    old, new = move(memory, clock, LISBON, PORTO)
    again = memory.remember(LISBON, user_id="ana", supersedes=new)
    assert (again.id != old, again.deduplicated) == (True, False)
    assert contents(memory.memories(user_id="ana")) == [LISBON]
    assert contents(memory.history(old)) == [LISBON, PORTO, LISBON]
    with pytest.raises(InvalidInput, match="already exists"):
        memory.restore(old)
    assert memory.get(old).superseded_by == new


def test_a_text_that_is_stored_already_supersedes(memory: Driver, clock: Clock) -> None:
    old, known = (memory.remember(text, user_id="ana").id for text in (LISBON, PORTO))
    clock.advance(days=1)
    again = memory.remember(PORTO, user_id="ana", supersedes=[old, known])
    assert (again.id, again.deduplicated, again.superseded_by) == (known, True, None)
    assert contents(memory.memories(user_id="ana")) == [PORTO]


def test_no_memory_of_others_is_superseded(memory: Driver) -> None:
    hers = memory.remember(LISBON, user_id="ana", session_id="monday")
    for whose in ({"user_id": "ben"}, {"session_id": "ben"}, {}):
        for supersedes in (hers.id, [hers.id], "nothing"):
            with pytest.raises(MemoryNotFound):
                memory.remember(PORTO, supersedes=supersedes, **whose)
        with pytest.raises(MemoryNotFound):
            memory.remember_many(
                [MemoryDraft("Other.", **whose), MemoryDraft(PORTO, supersedes=hers.id, **whose)]
            )
        assert memory.memories(**whose) == []
    assert contents(memory.memories(user_id="ana")) == [LISBON]


def test_ids_that_do_not_fit(memory: Driver) -> None:
    for supersedes in (3, [None], "", [" "], {"id": "x"}):
        with pytest.raises(InvalidInput):
            memory.remember(PORTO, user_id="ana", supersedes=supersedes)
    assert memory.memories(user_id="ana") == []


def test_chains_survive_a_restart(open_shared: OpenDriver, clock: Clock) -> None:
    first = open_shared()
    old, _ = move(first, clock, LISBON, PORTO, BRAGA)[:2]
    first.flush(20)
    first.memory.close()
    second = open_shared()
    assert contents(second.recall(WHERE, user_id="ana")) == [BRAGA]
    assert contents(second.history(old)) == [LISBON, PORTO, BRAGA]


@pytest.mark.parametrize("there", ["empty", "with the same ids"])
def test_chains_move(open_driver: OpenDriver, clock: Clock, there: str) -> None:
    memory, other = open_driver(), open_driver(agent_id="other")
    ids = move(memory, clock, LISBON, PORTO, BRAGA)
    memory.flush(20)
    file = io.StringIO()
    memory.export(file)
    if there == "empty":
        memory.clear()
    for _ in range(2):  # importing again changes nothing
        file.seek(0)
        other.import_(file)
        other.flush(20)
        (now,) = other.memories(user_id="ana")
        assert now.content == BRAGA
        assert contents(other.history(now.id)) == [LISBON, PORTO, BRAGA]
        assert contents(other.memories(user_id="ana", as_of=NOW)) == [LISBON]
    if there != "empty":
        assert contents(memory.history(ids[1])) == [LISBON, PORTO, BRAGA]


def test_a_chain_moves_to_where_its_last_text_is_known(
    open_driver: OpenDriver, clock: Clock
) -> None:
    memory, other = open_driver(), open_driver(agent_id="other")
    move(memory, clock, LISBON, PORTO, BRAGA)
    known = other.remember(BRAGA, user_id="ana").id
    memory.flush(20)
    other.flush(20)
    file = io.StringIO()
    memory.export(file)
    for _ in range(2):
        file.seek(0)
        other.import_(file)
        other.flush(20)
        assert [each.id for each in other.memories(user_id="ana")] == [known]
        assert {*contents(other.history(known))} == {LISBON, PORTO, BRAGA}
        assert len(other.history(known)) == 3


@pytest.mark.parametrize("length", [1, 2, 3])
def test_an_imported_circle_ends(memory: Driver, length: int) -> None:
    said = NOW.isoformat()
    shared = {"kind": "memory", "type": "semantic", "created_at": said, "user_id": "ana"}
    lines = [
        {**shared, "id": f"m{n}", "content": f"Home {n}.", "valid_until": said,
         "superseded_by": f"m{(n + 1) % length}"}
        for n in range(length)
    ]  # fmt: skip
    header = {"format": "langchain-kronvex memories", "version": 1, "agent_id": "x", "package": "1",
              "created_at": said, "records": length}  # fmt: skip
    footer = {"end": True, "memory": length, "message": 0, "item": 0}
    memory.import_(
        io.StringIO("".join(json.dumps(each) + "\n" for each in [header, *lines, footer]))
    )
    memory.flush(20)
    assert len(memory.history("m0")) == length
    memory.remember(PORTO, user_id="ana", supersedes="m0")
    assert contents(memory.memories(user_id="ana")) == [PORTO]


def test_an_answer_to_what_was_superseded_takes_no_key(memory: Driver) -> None:
    begun = memory.save_messages([HumanMessage(LISBON)], "monday", user_id="ana")
    (asked,) = memory.memories(user_id="ana")
    memory.remember(PORTO, user_id="ana", supersedes=asked.id)
    memory.save_messages([AIMessage("Noted.")], "monday", user_id="ana", reply_to=begun)
    (again,) = memory.save_exchange(LISBON, "Noted.", user_id="ana", session_id="monday")
    assert (again.deduplicated, again.superseded_by) == (False, None)


@pytest.mark.parametrize("others_before", [0, 1])
def test_a_memory_that_is_superseded_during_a_recall_is_not_returned(
    open_shared: OpenDriver, monkeypatch: pytest.MonkeyPatch, others_before: int
) -> None:
    memory, other = open_shared(), open_shared()
    old = memory.remember(LISBON, user_id="ana").id
    search, searches, new = indexes.search, iter(range(99)), list[Any]()

    def superseded_after(*given: Any) -> Any:
        found, number = search(*given), next(searches)
        if number < others_before:  # then the recall catches up with another write first
            other.memory.remember(f"Ana likes tea {number}.", user_id="ana")
        elif number == others_before:
            new.append(other.memory.remember(PORTO, user_id="ana", supersedes=old))
        return found

    monkeypatch.setattr(indexes, "search", superseded_after)
    found = {each.id for each in memory.recall(WHERE, user_id="ana")}
    assert new or others_before  # SQLite need not catch up with another write
    assert (old in found) is not bool(new)
