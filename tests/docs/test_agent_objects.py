"""Agents in one object, with `ChatOpenAI` over HTTP; the stand-in server quotes its prompt."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from langchain_kronvex import KronvexMemory

from .openai_stub import openai_stub
from .programs import EXAMPLES, PATIENCE, example, settings

MakeAgent = Callable[..., Any]


@pytest.fixture
def flow() -> threading.Event:
    """While it is not set, streams stop after their first word."""
    event = threading.Event()
    event.set()
    return event


@pytest.fixture
def model_url(flow: threading.Event) -> Iterator[str]:
    with openai_stub(before_next_word=lambda: flow.wait(PATIENCE)) as url:
        yield url
        flow.set()


@pytest.fixture
def agent(
    memory: KronvexMemory, model_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakeAgent]:
    """Makes an `AgentWithMemory`."""
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")
    monkeypatch.setenv("OPENAI_BASE_URL", model_url)
    module = example("agent_with_memory", monkeypatch)
    with module.chat_openai() as model:
        yield lambda user_id, session_id: module.AgentWithMemory(
            memory, model, user_id=user_id, session_id=session_id
        )


def texts(memory: KronvexMemory, user_id: str, session_id: str) -> list[str]:
    return [message.text for message in memory.chat_history(session_id, user_id).messages]


def test_learned_and_heard_things_reach_the_model(agent: MakeAgent, memory: KronvexMemory) -> None:
    ana = agent("ana", "monday")
    ana.learn("The user is allergic to peanuts.")
    first = ana.chat("I keep a parrot.")
    prompt = agent("ana", "tuesday").chat("Which allergy and which parrot?")
    assert "] The user is allergic to peanuts." in prompt
    assert "] User: I keep a parrot. Assistant:" in prompt  # recalled: another session
    assert " | I keep a parrot. | " in ana.chat("And now?")  # the history of its own
    assert texts(memory, "ana", "monday")[:2] == ["I keep a parrot.", first]


def test_a_fact_learned_twice_is_kept_once(agent: MakeAgent, memory: KronvexMemory) -> None:
    for session_id in ("monday", "tuesday"):
        agent("ana", session_id).learn("The user is allergic to peanuts.")
    assert len(memory.memories(user_id="ana")) == 1


def test_words_arrive_one_by_one_and_are_saved_whole(
    agent: MakeAgent, memory: KronvexMemory, flow: threading.Event
) -> None:
    flow.clear()
    words = agent("ana", "monday").stream("I keep a parrot.")
    told = [next(word for word in words if word)]  # while the rest is held back
    flow.set()
    told += [word for word in words if word]
    assert len(told) > 10
    assert "".join(told).endswith("| I keep a parrot.")
    assert texts(memory, "ana", "monday") == ["I keep a parrot.", "".join(told)]


def test_a_caller_that_stops_listening_keeps_the_conversation(
    agent: MakeAgent, memory: KronvexMemory, flow: threading.Event
) -> None:
    flow.clear()
    words = agent("ana", "monday").stream("I keep a parrot.")
    first = next(word for word in words if word)
    words.close()
    assert texts(memory, "ana", "monday") == ["I keep a parrot.", first]


async def test_users_at_once_see_only_their_own(agent: MakeAgent) -> None:
    ana, ben = agent("ana", "monday"), agent("ben", "monday")
    await asyncio.gather(ana.achat("I keep a parrot."), ben.achat("I keep a tortoise."))
    of_ana, of_ben = await asyncio.gather(ana.achat("Which pet?"), ben.achat("Which pet?"))
    assert "parrot" in of_ana
    assert "tortoise" not in of_ana
    assert "tortoise" in of_ben
    assert "parrot" not in of_ben


@pytest.mark.slow
def test_the_last_session_goes_on_in_another_process(
    tmp_path: Path, store_url: str, model_url: str
) -> None:
    def chat(message: str) -> str:
        program = [sys.executable, EXAMPLES / "persistent_agent.py", "--url", store_url]
        return subprocess.run(
            [*program, "--user", "ana", message], cwd=tmp_path, check=True, capture_output=True,
            env=settings(tmp_path, model_url), text=True, timeout=60,
        ).stdout  # fmt: skip

    assert "[ana, 0 messages so far]" in chat("I keep a parrot.")
    goes_on = chat("What did I say?")
    assert "[ana, 2 messages so far]" in goes_on
    assert " | I keep a parrot. | " in goes_on


def test_a_new_session_recalls_and_is_the_one_that_goes_on(
    memory: KronvexMemory, model_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")
    monkeypatch.setenv("OPENAI_BASE_URL", model_url)
    module = example("persistent_agent", monkeypatch)
    memory.remember("Ana is allergic to peanuts.", user_id="ana", session_id="no conversation")
    with module.chat_openai() as model:
        ana = module.PersistentAgent(memory, model, "ana")
        assert ana.history == []
        ana.chat("I keep a parrot.")
        ana.start_session()
        assert "] User: I keep a parrot. Assistant:" in ana.chat("Which bird do I keep?")
        again = module.PersistentAgent(memory, model, "ana")
        ben = module.PersistentAgent(memory, model, "ben")
        assert ben.history == []
        assert "keep a parrot" not in ben.chat("Which bird do I keep?")
    assert again.session_id == ana.session_id
    assert again.history[0].text == "Which bird do I keep?"
