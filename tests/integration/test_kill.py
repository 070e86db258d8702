"""A writer may be killed at any moment: what was acknowledged is there, whole and once."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from langchain_kronvex import KronvexMemory

from .crew import Crew
from .parts import files_with, long_text

OpenMemory = Callable[..., KronvexMemory]
PARTS = "abc"


def _way(token: str) -> int:
    return int(token.partition("n")[2]) % 5


def _memories_of(token: str) -> list[str]:
    """The memories that the acknowledged write `token` of `write_until_killed` stands for."""
    if _way(token) == 0:
        return [long_text(token)]
    if _way(token) == 1:
        return [long_text(f"{token}{part}") for part in PARTS]
    return [f"User: {long_text(token)}\nAssistant: re {long_text(token)}"]


def _messages_of(tokens: Iterable[str]) -> list[str]:
    written = [token for token in tokens if _way(token) in (3, 4)]
    return [text for token in written for text in (long_text(token), f"re {long_text(token)}")]


def _next_token(acknowledged: list[str], round_number: int) -> str:
    """The write that was under way when the child was killed."""
    return f"r{round_number}n{len(acknowledged)}"


def _check_memories(stored: Counter[str], tokens: Iterable[str], begun: Iterable[str]) -> None:
    """Everything acknowledged once; of what was begun all, nothing, or a turn without answer."""
    expected = Counter(text for token in tokens for text in _memories_of(token))
    assert expected - stored == Counter(), "lost"
    unasked = stored - expected
    for token in begun:
        whole = Counter(_memories_of(token))
        if whole <= unasked:
            unasked -= whole
        elif _way(token) == 4:
            unasked -= Counter([f"User: {long_text(token)}"])
    assert unasked == Counter(), "doubled, broken, or stored in part"


def _check_messages(stored: list[str], tokens: list[str], begun: str) -> None:
    expected, more = _messages_of(tokens), _messages_of([begun])
    assert stored[: len(expected)] == expected
    allowed = [[], more] if _way(begun) != 4 else [[], more[:1], more]
    assert stored[len(expected) :] in allowed


def _write_kill_reopen(
    crew: Crew, url: str, open_memory: OpenMemory, rounds: int, luck: random.Random
) -> None:
    acknowledged: dict[str, list[str]] = {}
    begun: dict[str, list[str]] = {}
    for round_number in range(rounds):
        user = f"user{round_number // 50}"
        child = crew.start("write_until_killed", url=url, user_id=user, round_number=round_number)
        heard = [child.hear() for _ in range(luck.randint(0, 12))]
        time.sleep(luck.uniform(0, 0.005))  # the moment of death is what is random here
        tokens = heard + child.kill()
        under_way = _next_token(tokens, round_number)
        with open_memory(url, embeddings=False) as memory:
            for token in tokens:
                for text in _memories_of(token):
                    name = text.removeprefix("User: ").split(" ")[0]
                    found = memory.recall(name, user_id=user, top_k=1)
                    assert [each.content for each in found] == [text]
            messages = memory.chat_history(f"session-{round_number}", user).messages
            _check_messages([each.text for each in messages], tokens, under_way)
        acknowledged.setdefault(user, []).extend(tokens)
        begun.setdefault(user, []).append(under_way)
    assert sum(map(len, acknowledged.values())) > rounds  # it did write
    with open_memory(url, embeddings=False) as memory:
        for user, tokens in acknowledged.items():
            every = memory.memories(user_id=user, limit=1_000_000)
            contents = Counter(each.content for each in every)
            _check_memories(contents, tokens, begun[user])
        for round_number in range(rounds):
            user, prefix = f"user{round_number // 50}", f"r{round_number}n"
            tokens = [token for token in acknowledged[user] if token.startswith(prefix)]
            messages = memory.chat_history(f"session-{round_number}", user).messages
            under_way = _next_token(tokens, round_number)
            _check_messages([each.text for each in messages], tokens, under_way)


@pytest.mark.slow
def test_acknowledged_writes_survive_kills(
    crew: Crew, store_url: str, open_memory: OpenMemory
) -> None:
    _write_kill_reopen(crew, store_url, open_memory, 15, random.Random(1))


@pytest.mark.soak
def test_acknowledged_writes_survive_a_thousand_kills(
    crew: Crew, store_url: str, open_memory: OpenMemory
) -> None:
    _write_kill_reopen(crew, store_url, open_memory, 1000, random.Random(2))


@pytest.mark.slow
def test_a_store_whose_creation_was_killed_can_be_opened(
    crew: Crew, tmp_path: Path, open_memory: OpenMemory
) -> None:
    luck = random.Random(3)
    for number in range(40):
        url = f"sqlite:///{tmp_path / str(number) / 'memory.db'}"
        child = crew.start("open_and_say", url=url)
        time.sleep(luck.uniform(0, 0.012))
        said = child.kill()
        with open_memory(url) as memory:
            memory.remember("opened after the kill", user_id="ana")
            found = {each.content for each in memory.recall("opened", user_id="ana")}
        assert "opened after the kill" in found
        if "written" in said:
            assert "opened by a child" in found


def test_a_killed_reader_does_not_affect_others(
    crew: Crew, store_url: str, memory: KronvexMemory
) -> None:
    for number in range(20):
        memory.remember(f"memory number {number}", user_id="ana")
    child = crew.start("remote", url=store_url)
    child.hear()
    child.say({"do": "recall", "query": "memory number", "user_id": "ana"})
    child.kill()
    memory.remember("after the kill", user_id="ana")
    assert memory.recall("after the kill", user_id="ana", top_k=1)
    assert memory.forget(user_id="ana") == 21


# -- killed while erasing ----------------------------------------------------------------------


def _fill(memory: KronvexMemory) -> None:
    for user in ("benedict", "ana"):
        for number in range(30):
            memory.remember(
                long_text(f"{user}memory{number}"), user_id=user, metadata={"note": f"{user}note"}
            )
            memory.chat_history("chat", user).add_user_message(long_text(f"{user}message{number}"))


def _check_erasure(
    memory: KronvexMemory, folder: Path, *, forgotten: bool, everything: int = 60
) -> bool:
    """Nothing of Benedict is left, or all; all of Ana is. Tells whether he was erased."""
    assert len(memory.memories(user_id="ana", limit=1000)) == everything
    assert len(memory.chat_history("chat", "ana").messages) == 30
    left = memory.memories(user_id="benedict", limit=1000)
    if left:
        assert not forgotten
        assert len(left) == everything
        assert len(memory.chat_history("chat", "benedict").messages) == 30
        assert memory.recall("benedictmemory7", user_id="benedict")
        return False
    assert memory.chat_history("chat", "benedict").messages == []
    assert files_with(folder, "benedict") == []
    return True


@pytest.mark.slow
def test_an_erasure_killed_at_any_statement_is_finished_at_the_next_opening(
    crew: Crew, tmp_path: Path, open_memory: OpenMemory
) -> None:
    outcomes = []
    for at in range(1, 60):
        folder = tmp_path / str(at)
        url = f"sqlite:///{folder / 'memory.db'}"
        with open_memory(url) as memory:
            _fill(memory)
        child = crew.start("forget_and_die", url=url, user_id="benedict", at=at)
        said = child.rest()
        child.close()
        with open_memory(url) as memory:
            outcomes.append(_check_erasure(memory, folder, forgotten=said == ["forgotten"]))
        if said == ["forgotten"]:
            break
    assert outcomes[0] is False  # killed before anything happened
    assert outcomes[-1] is True  # lived to the end
    assert outcomes == sorted(outcomes)
    assert outcomes.count(True) > 2  # some were killed halfway


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [15, pytest.param(500, marks=pytest.mark.soak)])
def test_an_erasure_killed_at_any_moment_is_finished_at_the_next_opening(
    crew: Crew, tmp_path: Path, open_memory: OpenMemory, rounds: int
) -> None:
    luck = random.Random(4)
    for number in range(rounds):
        folder = tmp_path / str(number)
        url = f"sqlite:///{folder / 'memory.db'}"
        with open_memory(url) as memory:
            _fill(memory)
        child = crew.start("forget_on_command", url=url, user_id="benedict")
        assert child.hear() == "ready"
        child.say("now")
        time.sleep(luck.uniform(0, 0.01))
        said = child.kill()
        with open_memory(url) as memory:
            _check_erasure(memory, folder, forgotten="forgotten" in said)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_chain_is_whole_after_a_kill(
    crew: Crew, store_url: str, open_memory: OpenMemory, seed: int
) -> None:
    luck = random.Random(seed)
    for round_number in range(4):
        user = f"user{round_number}"
        child = crew.start("supersede_until_killed", url=store_url, user_id=user)
        told = [child.hear() for _ in range(luck.randint(1, 8))]
        time.sleep(luck.uniform(0, 0.005))
        told += child.kill()
        with open_memory(store_url) as memory:
            (current,) = memory.memories(user_id=user)
            history = memory.history(current.id)
            assert [each.content.partition(",")[0] for each in history] == [
                f"home {number}" for number in range(len(history))
            ]
            assert len(history) in (len(told), len(told) + 1)
            assert history[: len(told)][-1].content == (
                f"home {told[-1]}, corrected" if told[-1] % 2 else f"home {told[-1]}"
            )
            assert [each.superseded_by for each in history[:-1]] == [m.id for m in history[1:]]
            assert [m.id for m in memory.recall("home", user_id=user)] == [current.id]
