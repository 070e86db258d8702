"""What child processes do; run by `integration/zygote.py`."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from consolidation.scripted import Rules, Shown, derive
from langchain_kronvex import KronvexMemory
from langchain_kronvex.consolidation import KronvexConsolidator
from langchain_kronvex.server import create_app

Say = Callable[[Any], None]
Hear = Callable[[], Any]


def unique(shown: Shown) -> dict[str, Any]:
    """Return an answer whose facts are not those of any other answer."""
    answer = derive(shown)
    for each in answer["Fact"]:
        each["text"] += f" Answer {uuid.uuid4().hex}."
    return answer


def consolidate_on_command(say: Say, hear: Hear, url: str) -> None:
    """Consolidate everybody as soon as told to, then wait to be killed."""
    memory = KronvexMemory(url)
    model = Rules(during=unique)
    consolidator = KronvexConsolidator(memory, model, batch_exchanges=2, claim_seconds=0.01)
    say("ready")
    hear()
    consolidator.run()
    say("done")
    hear()


def share_the_work(say: Say, hear: Hear, url: str) -> None:
    """Consolidate whoever waits, as one of several workers; say what the model was shown."""
    with KronvexMemory(url) as memory:
        model = Rules(during=unique)
        consolidator = KronvexConsolidator(memory, model, batch_exchanges=3)
        say("ready")
        hear()
        while consolidator.waiting():
            consolidator.run()
        say(model.exchanges)


def work_in_the_background(say: Say, hear: Hear, url: str, users: list[str]) -> None:
    """Consolidate in the background, woken for all users; say what the model was shown."""
    with KronvexMemory(url) as memory:
        model = Rules(during=unique)
        consolidator = KronvexConsolidator(memory, model, batch_exchanges=3)
        say("ready")
        hear()
        consolidator.start(0.05)
        for user in users:
            consolidator.wake(user)
        consolidator.flush()
        say(model.exchanges)


def serve_in_the_background(say: Say, hear: Hear, url: str, users: list[str]) -> None:
    """Consolidate as a server does, woken for all users; say what the model was shown."""
    with KronvexMemory(url) as memory:
        model = Rules(during=unique)
        service = create_app(memory, consolidate=model).state.service
        say("ready")
        hear()
        with service.open_agents.use(memory.agent_id) as agent:
            for user in users:
                agent.consolidator.wake(user)
            agent.consolidator.flush()
        service.close()
        say(model.exchanges)


def fork_while_the_model_thinks(say: Say, hear: Hear, url: str, user: str) -> None:
    """Consolidate in the background, and fork meanwhile; the child tries to do the same."""
    memory, asked = KronvexMemory(url), threading.Event()

    def during(shown: Shown) -> None:
        asked.set()
        hear()

    consolidator = KronvexConsolidator(memory, Rules(during=during))
    consolidator.start(0.0)
    consolidator.wake(user)
    asked.wait()
    child = os.fork()
    if child == 0:
        stopped = KronvexConsolidator(memory, Rules()).run(user).stopped
        consolidator.stop()
        say([stopped, memory.stats().pending])
        os._exit(0)
    with suppress(ChildProcessError):  # children vanish by themselves
        os.waitpid(child, 0)
    consolidator.flush()
