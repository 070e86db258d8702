"""Many processes on one file: nobody is turned away, nothing is lost, everybody sees it all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from langchain_kronvex import KronvexMemory

from .crew import Child, Crew

OpenMemory = Callable[..., KronvexMemory]
MEMBERS = 8


def _all(children: list[Child], what: object) -> None:
    for child in children:
        child.say(what)


def _hear_all(children: list[Child], expected: object) -> None:
    assert [child.hear() for child in children] == [expected] * len(children)


@pytest.mark.parametrize("rounds", [6, pytest.param(200, marks=pytest.mark.soak)])
def test_eight_processes_write_and_recall_on_one_new_file(
    crew: Crew, store_url: str, open_memory: OpenMemory, rounds: int
) -> None:
    children = [crew.start("member", url=store_url, number=n) for n in range(MEMBERS)]
    _hear_all(children, "ready")
    _all(children, "open, all at once")
    _hear_all(children, "open")
    for round_number in range(rounds):
        order = {"round": round_number, "members": MEMBERS}
        _all(children, {"do": "write", **order})
        _hear_all(children, "written")
        _all(children, {"do": "look", **order})
        _hear_all(children, [])  # nobody misses anything
    _all(children, {"do": "stop"})
    for child in children:
        child.finish()

    memory = open_memory()
    greetings = Counter(m.content for m in memory.memories(user_id="everyone", limit=100_000))
    for number in range(MEMBERS):
        for round_number in range(rounds):
            assert greetings.pop(f"greeting m{number}r{round_number}") == 1
            own = memory.memories(session_id=f"own-{number}", limit=100_000)
            question = f"User: question m{number}r{round_number}\nAssistant: answer"
            assert [m.content for m in own].count(question) == 1
    _check_room([m.text for m in memory.chat_history("room", "everyone").messages], rounds)
    # What was said in the room was remembered too, line by line.
    assert set(greetings.values()) == {1}
    assert len(greetings) == MEMBERS * rounds * 2 * 3


def _check_room(lines: list[str], rounds: int) -> None:
    """Batches of three stay together, and each writer's batches in their order."""
    assert len(lines) == MEMBERS * rounds * 2 * 3
    batches = [lines[start : start + 3] for start in range(0, len(lines), 3)]
    names = [batch[0].split(" ")[0] for batch in batches]
    for name, batch in zip(names, batches, strict=True):
        assert batch == [f"{name} {line}" for line in range(3)]
    for number in range(MEMBERS):
        own = [name for name in names if name.startswith(f"m{number}r")]
        assert own == [f"m{number}r{r}p{part}" for r in range(rounds) for part in range(2)]


@pytest.mark.parametrize("stores", [25, pytest.param(500, marks=pytest.mark.soak)])
def test_eight_processes_open_a_new_store_at_the_same_moment(
    crew: Crew, tmp_path: Path, open_memory: OpenMemory, stores: int
) -> None:
    arguments = {"folder": str(tmp_path), "stores": stores}
    children = [crew.start("open_many", **arguments, number=n) for n in range(MEMBERS)]
    for _ in range(stores):
        _hear_all(children, "ready")
        _all(children, "now")
    for child in children:
        child.finish()
    for store in range(stores):
        with open_memory(f"sqlite:///{tmp_path / str(store) / 'memory.db'}") as memory:
            opened = sorted(m.content for m in memory.memories(user_id="ana"))
            assert opened == [f"opened by {n}" for n in range(MEMBERS)]


def test_the_same_text_from_many_processes_is_stored_once(
    crew: Crew, store_url: str, open_memory: OpenMemory
) -> None:
    children = [crew.start("remote", url=store_url) for _ in range(4)]
    _hear_all(children, "open")
    for _ in range(10):
        _all(children, {"do": "remember", "content": "said by all", "user_id": "ana"})
    for child in children:
        assert [child.hear() for _ in range(10)] == ["remembered"] * 10
        child.say({"do": "stop"})
        child.finish()
    assert [m.content for m in open_memory().memories(user_id="ana")] == ["said by all"]


def test_a_process_sees_what_another_wrote_at_its_next_recall(
    crew: Crew, store_url: str, memory: KronvexMemory
) -> None:
    child = crew.start("remote", url=store_url)
    child.hear()
    ask = {"do": "recall", "query": "the number", "user_id": "ana"}
    for number in range(20):
        memory.remember(f"the number {number}", user_id="ana")
        child.say(ask)
        assert sorted(child.hear()) == sorted(f"the number {n}" for n in range(number + 1))
        child.say({"do": "remember", "content": f"heard {number}", "user_id": "ben"})
        assert child.hear() == "remembered"
        found = memory.recall(f"heard {number}", user_id="ben", top_k=2)
        assert f"heard {number}" in [each.content for each in found]
    memory.forget(user_id="ana")
    child.say(ask)
    assert child.hear() == []


def test_memories_forgotten_by_one_process_do_not_count_in_another(
    crew: Crew, store_url: str, memory: KronvexMemory
) -> None:
    child = crew.start("remote", url=store_url)
    child.hear()
    stored = [memory.remember(f"number{n} " + "tea " * n, user_id="ana") for n in range(1, 81)]
    ask = {"do": "recall", "query": "tea", "user_id": "ana"}
    child.say(ask)
    first = child.hear()
    assert len(first) == 50
    for each in stored:
        if each.content in first[:45]:
            memory.forget(id=each.id)
    child.say(ask)
    assert len(child.hear()) == 35
