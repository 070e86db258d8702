"""How memories look in a prompt: one line each, which cannot be mistaken for anything else.

A line reads `[semantic, 2026-04-28] User prefers concise answers.`
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence

from langchain_kronvex.core.types import Memory, RecalledMemory

PLACEHOLDER = "<memory_context>"

# Control and format characters of Unicode (line breaks, bidirectional overrides, zero-width
# characters, tags), line and paragraph separators, lone surrogates. The zero-width joiners that
# emoji and some scripts need are kept.
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000110bd\U000110cd"
    "\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f]"
)
_TAG = re.compile(r"<(?=\s*/?\s*memory_context)", re.IGNORECASE)
_LINE_HEAD = re.compile(r"\[(\s*\w+\s*,\s*\d{4}-\d{2}-\d{2}\s*)\]")


def memory_line(memory: Memory) -> str:
    """Return the line of a memory in a prompt."""
    return (
        f"[{memory.memory_type}, {memory.created_at.date().isoformat()}] {neutral(memory.content)}"
    )


def document_lines(content: str) -> list[str] | None:
    """Return the fields of a JSON object, one line for each that has a value; None for other texts.

    >>> document_lines('{"name": "Ana", "pets": ["Miso"], "born": null, "likes": []}')
    ['name: Ana', 'pets: ["Miso"]']
    """
    try:
        fields = json.loads(content)
    except ValueError:
        return None
    if not isinstance(fields, dict):
        return None
    texts = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in fields.items()
        if value not in (None, "", [], {})
    }
    return [f"{neutral(name)}: {neutral(text)}" for name, text in texts.items()]


def neutral(text: str) -> str:
    """Return a text as one line, without control characters and our own markers."""
    is_plain = text.isascii() and text.isprintable()
    one_line = " ".join((text if is_plain else _CONTROL.sub(" ", text)).split())
    return _LINE_HEAD.sub(r"(\1)", _TAG.sub("(", one_line))


def context_text(memories: Sequence[RecalledMemory]) -> str:
    """Return the lines of the memories, in their order."""
    return "\n".join(memory_line(memory) for memory in memories)


def within(
    memories: Sequence[RecalledMemory],
    max_tokens: int | None,
    ranked: Sequence[RecalledMemory] | None = None,
) -> list[RecalledMemory]:
    """Return the most relevant memories whose lines fit, in their order.

    The most relevant are the most similar ones, unless `ranked` has them in another order.
    """
    if max_tokens is None:
        return list(memories)
    kept: set[str] = set()
    left = max_tokens
    if ranked is None:
        ranked = sorted(memories, key=lambda memory: -memory.similarity)
    for memory in ranked:
        left -= approximate_tokens(memory_line(memory) + "\n")
        if left < 0:
            break
        kept.add(memory.id)
    return [memory for memory in memories if memory.id in kept]


def approximate_tokens(text: str) -> int:
    """Estimate tokens: four ASCII characters, or one other character, are one token."""
    ascii_count = len(text.encode("ascii", "ignore"))
    return math.ceil(ascii_count / 4) + len(text) - ascii_count
