"""Small parts that tests and child processes share: a chain, embeddings, texts to recognise."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import Runnable, RunnableLambda

PROMPT = ChatPromptTemplate.from_messages(
    [
        ("system", "Answer. What you remember:\n{memory_context}"),
        MessagesPlaceholder("chat_history"),
        ("human", "{input}"),
    ]
)


def parrot() -> Runnable[Any, Any]:
    """A chain whose model answers `re <input>`."""
    return PROMPT | RunnableLambda(lambda prompt: f"re {prompt.to_messages()[-1].text}")


def seen_by_model() -> tuple[Runnable[Any, Any], list[str]]:
    """A chain, and the list of the prompts that its model was shown, as text."""
    shown: list[str] = []

    def answer(prompt: Any) -> str:
        shown.append(prompt.to_string())
        return f"answer {len(shown)}"

    return PROMPT | RunnableLambda(answer), shown


class HashedWords(Embeddings):
    """Deterministic embeddings: every word adds one to the dimension it hashes to."""

    def __init__(self, width: int = 16, model: str = "hashed-words") -> None:
        self.width = width
        self.model = model

    def _vector(self, text: str) -> list[float]:
        vector = [0.0] * self.width
        for word in text.lower().split():
            vector[hashlib.md5(word.encode()).digest()[0] % self.width] += 1.0
        return vector

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self._vector(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self._vector(text)


class Fickle(HashedWords):
    """Embeddings that fail in the way they are told to; they repeat what they are given."""

    def __init__(self, width: int = 16) -> None:
        super().__init__(width, model="fickle")
        self.documents: Callable[[list[Any]], Any] = lambda vectors: vectors
        self.queries: Callable[[list[float]], Any] = lambda vector: vector
        self.asked = 0

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.asked += 1
        try:
            return self.documents(super().embed_documents(texts))  # type: ignore[no-any-return]
        except RuntimeError as error:
            raise RuntimeError(f"cannot embed {texts}") from error

    def embed_query(self, text: str) -> list[float]:
        try:
            return self.queries(super().embed_query(text))  # type: ignore[no-any-return]
        except RuntimeError as error:
            raise RuntimeError(f"cannot embed {text!r}") from error

    def recover(self) -> None:
        self.documents = lambda vectors: vectors
        self.queries = lambda vector: vector


def fail(_: object) -> Any:
    """What `Fickle` does when it is down."""
    raise RuntimeError


def long_text(token: str) -> str:
    """A text of 20 to 8,000 characters that `token` alone decides, with `token` at both ends."""
    length = int.from_bytes(hashlib.md5(token.encode()).digest()[:4], "big")
    size = 20 + (length % 300 if length % 5 else length % 8000)
    filler = hashlib.sha256(token.encode()).hexdigest()
    return f"{token} {(filler * (size // 64 + 1))[:size]} {token}"


# A word of a random text: one pass finds all that are there, instead of one pass for each.
_WORD = re.compile(rb"(?=([uw][0-9a-f]{16}))")


def files_with(folder: Path, *needles: str | bytes) -> list[str]:
    """Return `file: needle` for each needle that stands in a file of the folder."""
    wanted = {needle.encode() if isinstance(needle, str) else needle for needle in needles}
    words = {needle for needle in wanted if _WORD.match(needle) and len(needle) == 17}
    found = []
    for path in sorted(folder.rglob("*")):
        data = path.read_bytes() if path.is_file() else b""
        there = words.intersection(_WORD.findall(data))
        there.update(needle for needle in wanted - words if needle in data)
        found += [f"{path.name}: {needle.decode(errors='replace')}" for needle in sorted(there)]
    return found
