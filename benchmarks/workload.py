"""Synthetic conversations: words drawn by Zipf's law, turns in sessions; the same every time."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

from langchain_kronvex import MemoryDraft
from langchain_kronvex.lexical import STOP_WORDS

_SYLLABLES = "ba ce di fo gu la me ni po ru sa te vi zo ka le mi no pu ra".split()
_START = datetime(2026, 1, 1, 9, tzinfo=timezone.utc)


class Workload:
    """Sentences of 6 to 25 words; about half of the words are stop words, as in English."""

    def __init__(self, seed: int = 7, vocabulary: int = 12_000) -> None:
        self._random = random.Random(seed)
        self._words = ["".join(self._random.choices(_SYLLABLES, k=3)) for _ in range(vocabulary)]
        self._weights = [1 / (rank + 3) for rank in range(vocabulary)]
        self._stop_words = sorted(STOP_WORDS)

    def sentence(self, least: int = 6, most: int = 25) -> str:
        """Return one sentence."""
        count = self._random.randint(least, most)
        rare = self._random.choices(self._words, self._weights, k=count // 2)
        common = self._random.choices(self._stop_words, k=count - count // 2)
        words = [*rare, *common]
        self._random.shuffle(words)
        return " ".join(words)

    def drafts(self, count: int, user_id: str = "ana") -> Iterator[MemoryDraft]:
        """Yield turns of two speakers, in sessions of 20 turns, one session a day."""
        for n in range(count):
            session, turn = divmod(n, 20)
            speaker = ("Ana", "Ben")[turn % 2]
            yield MemoryDraft(
                content=f"{speaker} said: {self.sentence()} {n}",
                user_id=user_id,
                session_id=f"session-{session}",
                created_at=_START + timedelta(days=session % 300, seconds=30 * turn),
            )

    def queries(self, count: int) -> list[str]:
        """Return questions."""
        return [f"When did Ana {self.sentence(6, 12)}?" for _ in range(count)]
