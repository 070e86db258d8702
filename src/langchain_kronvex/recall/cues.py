"""What sentences do, by their signs: only ask, or only say that the answer is not known. Pure.

These signs only order memories: a memory without one is found as before.
"""

from __future__ import annotations

import re

_STATED = re.compile(r"[.!:;]\s|[。！]")  # noqa: RUF001 - of CJK text
_SHORT_CHARS = 300  # a longer reply says more than that
_UNKNOWN = re.compile(
    r"\b(?:do|did|does|would)(?:n't| not) (?:\w+ )?(?:know|have|recall|remember|see|find)\b"
    r"|\b(?:have|has)(?:n't| not) (?:\w+ )?(?:told|mentioned|said|shared|specified|given|been)\b"
    r"|\bnot (?:sure|aware|certain|able to|told|mentioned|said|shared|specified|given)\b"
    r"|\b(?:can't|cannot|can not|couldn't|unable to) (?:tell|find|recall|remember|say|see)\b"
    r"|\bno (?:idea|information|records?|memory|memories|details|mention)\b"
    r"|\bunknown to me\b",
    re.IGNORECASE,
)


def only_asks(text: str) -> bool:
    """Return whether a text is a question, and says nothing beside it.

    >>> only_asks("Where do I live?"), only_asks("I moved to Porto. Do you know a good café?")
    (True, False)
    """
    return text.rstrip().endswith(("?", "？")) and not _STATED.search(text)  # noqa: RUF001


def knows_nothing(reply: str) -> bool:
    """Return whether a reply only says that the answer is not known.

    >>> knows_nothing("I'm sorry, I don't have that information."), knows_nothing("In Porto.")
    (True, False)
    """
    return len(reply) <= _SHORT_CHARS and bool(_UNKNOWN.search(reply.replace("\u2019", "'")))
