"""A chat model that follows rules: what the user says of a thing becomes a fact about it.

`My city is Porto.` becomes `Their city is Porto.`; what is known of the same thing is replaced, or
confirmed if it says the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape
from typing import Any, NamedTuple

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field

_EXCHANGE = re.compile(r'<exchange number="(\d+)".*?>\n(.*?)</exchange>', re.DOTALL)
_KNOWN = re.compile(r"^\[(\d+|-)\] \d{4}-\d\d-\d\d[^:]*: (.*)$", re.MULTILINE)
_SAID = re.compile(r"My (\w+) is ([\w ]+)\.")
_FACT = re.compile(r"Their (\w+) is ([\w ]+)\.")


def said(thing: str, value: str) -> str:
    """What the user says."""
    return f"My {thing} is {value}."


def fact(thing: str, value: str) -> str:
    """What the model makes of it."""
    return f"Their {thing} is {value}."


class Shown(NamedTuple):
    """What the model was shown: the exchanges, and the known facts with their numbers, or None."""

    exchanges: list[str]
    known: list[tuple[int | None, str]]


class Rules(BaseChatModel):
    """The model.

    Attributes:
        shown: What it was shown, call by call.
        during: Called with what it is shown before it answers; what it returns is the answer, if
            it is not None.
    """

    shown: list[Shown] = Field(default_factory=list)
    during: Callable[[Shown], Any] | None = None

    @property
    def _llm_type(self) -> str:
        return "rules"

    @property
    def exchanges(self) -> list[str]:
        """The user's words that it was shown, in order."""
        return [each for shown in self.shown for each in shown.exchanges]

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        shown = read(messages[-1].text)
        self.shown.append(shown)
        answer = self.during(shown) if self.during else None
        content = answer if isinstance(answer, str) else json.dumps(answer or derive(shown))
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content))])


def read(prompt: str) -> Shown:
    """Return what a prompt shows."""
    exchanges = [
        "\n".join(unescape(line[6:]) for line in body.splitlines() if line.startswith("user| "))
        for _, body in _EXCHANGE.findall(prompt)
    ]
    known = [(None if n == "-" else int(n), unescape(text)) for n, text in _KNOWN.findall(prompt)]
    return Shown(exchanges, known)


def derive(shown: Shown) -> dict[str, Any]:
    """Return the answer: of each thing, what was said of it last."""
    latest: dict[str, tuple[str, list[int]]] = {}
    for number, words in enumerate(shown.exchanges, 1):
        for thing, value in _SAID.findall(words):
            before = latest.get(thing, ("", []))
            latest[thing] = (value, [*before[1], number] if before[0] == value else [number])
    known = {}
    for number, text in shown.known:
        if found := _FACT.fullmatch(text):
            known[found[1]] = (number, found[2])
    facts, confirmed = [], []
    for thing, (value, sources) in latest.items():
        number, there = known.get(thing, (None, ""))
        if there != value:
            facts.append({"text": fact(thing, value), "sources": sources, "replaces": number})
        elif number is not None:
            confirmed.append({"known": number, "sources": sources})
    return {"Fact": facts, "confirmed": confirmed}
