"""What sentences do, by their signs: only ask, or only say that the answer is not known. Pure.

These signs only order memories: a memory without one is found as before.
"""

from __future__ import annotations

import re

_MARKS = ("?", "？")  # noqa: RUF001 - of CJK text
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")  # noqa: RUF001
_SHORT_MESSAGE = 40  # words
_MOST_QUESTIONS = 3
_STATED = re.compile(r"[.!:;]\s|[。！]")  # noqa: RUF001 - of CJK text
_SHORT_CHARS = 300  # a longer reply says more than that
_INSTRUCTS = re.compile(
    r"^(?:\w+ said: )?(?:please )?(?:from now on,? )?(?:always|never|please|don't|do not|avoid|use"
    r"|keep|explain|answer|reply|respond|call me|make sure|remember to|whenever|when (?:you|i)\b"
    r"|i(?:'d| would)? (?:much )?(?:prefer|rather)|i(?:'d| would) like you"
    r"|i want (?:you|my|your))\b"
    r"|\bwhen(?:ever)? i (?:ask|mention|talk|want)\b|\bfrom now on\b"
    r"|\bwhen(?:ever)? you (?:answer|reply|write|recommend|suggest)\b",
    re.IGNORECASE,
)
_UNKNOWN = re.compile(
    r"\b(?:do|did|does|would)(?:n't| not) (?:\w+ )?(?:know|have|recall|remember|see|find)\b"
    r"|\b(?:have|has)(?:n't| not) (?:\w+ )?(?:told|mentioned|said|shared|specified|given|been)\b"
    r"|\bnot (?:sure|aware|certain|able to|told|mentioned|said|shared|specified|given)\b"
    r"|\b(?:can't|cannot|can not|couldn't|unable to) (?:tell|find|recall|remember|say|see)\b"
    r"|\bno (?:idea|information|records?|memory|memories|details|mention)\b"
    r"|\bunknown to me\b",
    re.IGNORECASE,
)


def focus(text: str) -> str:
    """Return what a message asks: its questions and its last sentence; a short one as it is.

    Of a text without an end of a sentence, that is its end.

    >>> focus("Where do I live?")
    'Where do I live?'
    """
    if len(text.split()) <= _SHORT_MESSAGE:
        return text
    sentences = [each for each in _SENTENCE_END.split(text) if each.strip()]
    asked = [each for each in sentences[:-1] if each.rstrip().endswith(_MARKS)]
    return " ".join(
        " ".join([*asked[-_MOST_QUESTIONS:], *sentences[-1:]]).split()[-_SHORT_MESSAGE:]
    )


def only_asks(text: str) -> bool:
    """Return whether a text is a question, and says nothing beside it.

    >>> only_asks("Where do I live?"), only_asks("I moved to Porto. Do you know a good café?")
    (True, False)
    """
    return text.rstrip().endswith(_MARKS) and not _STATED.search(text)


def instructs(text: str) -> bool:
    """Return whether a short text says how to answer from now on.

    >>> instructs("Always suggest vegan options when I ask about food."), instructs("I'm vegan.")
    (True, False)
    """
    return len(text) <= _SHORT_CHARS and bool(_INSTRUCTS.search(text.replace("\u2019", "'")))


def knows_nothing(reply: str) -> bool:
    """Return whether a reply only says that the answer is not known.

    >>> knows_nothing("I'm sorry, I don't have that information."), knows_nothing("In Porto.")
    (True, False)
    """
    return len(reply) <= _SHORT_CHARS and bool(_UNKNOWN.search(reply.replace("\u2019", "'")))
