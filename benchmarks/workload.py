"""Synthetic conversations in real English words, drawn by Zipf's law; the same every time.

The words are those of the bundled vocabulary, which lists them roughly by frequency, so that
stemming, related words and embeddings have their real work. The sentences make no sense.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from importlib.resources import files

from langchain_kronvex import MemoryDraft
from langchain_kronvex.recall.tokenizer import STOP_WORDS

USER = "ana"
_START = datetime(2005, 1, 1, 9, tzinfo=timezone.utc)
_TURNS_PER_SESSION = 20
_QUESTIONS = (
    "When did Ana {}?",
    "What did Ben say about {}?",
    "Why did they {}?",
    "Where was the {} that Ana wanted?",
    "Do you remember {}?",
)


def english_words() -> list[str]:
    """Return the whole words of at least four letters, the more frequent first."""
    vocabulary = files("langchain_kronvex.embeddings") / "data" / "vocab.txt"
    return [
        word
        for word in vocabulary.read_text(encoding="utf-8").split("\n")
        if len(word) >= 4
        and word.isascii()
        and word.isalpha()
        and word.islower()
        and word not in STOP_WORDS
    ]


class Workload:
    """Sentences of 6 to 49 words, 27 on average, half of them stop words: as in spoken turns."""

    def __init__(self, seed: int = 7) -> None:
        self._seed = seed
        self._words = english_words()
        weights = (1 / (rank + 3) for rank in range(len(self._words)))
        self._weights = list(itertools.accumulate(weights))
        self._stop_words = sorted(STOP_WORDS)

    def sentence(self, number: int) -> str:
        """Return the sentence of that number."""
        draw = random.Random(self._seed * 1_000_003 + number)
        content = self._content(draw)
        words = content + draw.choices(self._stop_words, k=len(content) + draw.randint(0, 1))
        draw.shuffle(words)
        return " ".join(words)

    def _content(self, draw: random.Random) -> list[str]:
        return draw.choices(self._words, cum_weights=self._weights, k=draw.randint(3, 24))

    def drafts(self, count: int) -> Iterator[MemoryDraft]:
        """Yield turns of two speakers, oldest first: sessions of 20 turns, three hours apart."""
        for n in range(count):
            session, turn = divmod(n, _TURNS_PER_SESSION)
            speaker = ("Ana", "Ben")[turn % 2]
            yield MemoryDraft(
                content=f"{speaker} said: {self.sentence(n)}",
                user_id=USER,
                session_id=f"session-{session}",
                created_at=_START + timedelta(hours=3 * session, seconds=30 * turn),
            )

    def queries(self, count: int, memories: int) -> list[str]:
        """Return distinct questions; each shares two to four content words with some memory."""
        draw = random.Random(self._seed)
        asked: dict[str, None] = {}
        while len(asked) < count:
            said = self._content(random.Random(self._seed * 1_000_003 + draw.randrange(memories)))
            shared = draw.sample(said, min(draw.randint(2, 4), len(said)))
            linked = f" {draw.choice(self._stop_words)} ".join(shared)
            asked[draw.choice(_QUESTIONS).format(linked)] = None
        return list(asked)
