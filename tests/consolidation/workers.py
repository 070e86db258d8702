"""What child processes do; run by `integration/zygote.py`."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from typing import Any

from consolidation.scripted import Rules, Shown, derive
from langchain_kronvex import KronvexMemory
from langchain_kronvex.consolidation import KronvexConsolidator

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


def end_with_work_left(say: Say, hear: Hear, url: str, user: str, how: str) -> None:
    """Start a consolidation in the background that cannot end, and fork or leave."""
    memory = KronvexMemory(url)
    started: list[Shown] = []

    def during(shown: Shown) -> None:
        started.append(shown)
        say("asked")
        hear()

    consolidator = KronvexConsolidator(memory, Rules(during=during))
    consolidator.start(0.0)
    consolidator.wake(user)
    if how == "fork":
        while not started:
            time.sleep(0.001)
        child = os.fork()
        if child == 0:
            answers = Rules()
            own = KronvexConsolidator(memory, answers)
            stopped = own.run(user).stopped
            consolidator.stop()
            say([stopped, memory.stats().memories])
            os._exit(0)
        os.waitpid(child, 0)
