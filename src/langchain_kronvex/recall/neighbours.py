"""Conversations: neighbouring turns share their words and vectors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from langchain_kronvex.recall import ranking
from langchain_kronvex.recall.arrays.columns import LAST_TURNS, NO_TURN, TAILS
from langchain_kronvex.recall.arrays.table import Table, runs
from langchain_kronvex.recall.features import TextFeatures
from langchain_kronvex.recall.ranking import AFTER, BEFORE

# Columns whose vectors a turn takes in, with their weights.
VECTOR_WINDOW = [
    *((len(BEFORE) + n, weight) for n, weight in enumerate(ranking.MEANING_BEFORE)),
    *enumerate(ranking.MEANING_AFTER),
]
_BEFORE = np.array(BEFORE, np.float32)
_AFTER = np.array([*AFTER, *[0] * (len(BEFORE) - len(AFTER))], np.float32)


@dataclass(slots=True)
class ConversationTail:
    """The end of a session's current conversation.

    Attributes:
        conversation: Its number.
        turns: Places of the last turns; -1 for one that is too long to lend its words.
        asks: Whether the last turn asks a question.
        said: When the last turn was said.
    """

    conversation: int
    turns: list[int] = field(default_factory=list)
    asks: bool = False
    said: float = 0.0


class Turn(NamedTuple):
    """A turn to be added: the number of its text, its session, and when it was first said."""

    text: int
    session: int
    said: float


class Neighbours:
    """Links between the turns of an index, written to its columns.

    Args:
        table: The columns of the memories.
        first_words: For each first word, how many turns open with it, and the sum of their priors.

    Attributes:
        conversations: How many conversations there are.
        tails: Where each session ends, by its number.
        links: How many neighbours the turns borrow words from, summed over all turns.
        borrowed_length: How many terms the turns borrow, in all.
    """

    def __init__(self, table: Table, first_words: Table) -> None:
        self._table, self._first_words = table, first_words
        self.tails = Table(TAILS)
        self.conversations = self.links = 0
        self.borrowed_length = 0.0

    def add(self, turns: Sequence[Turn], start: int, features: TextFeatures) -> None:
        """Add turns in the order of writing; the place of a text is its number plus `start`."""
        conversations: list[int] = []
        priors: list[tuple[bool, ...]] = []
        links: list[tuple[int, int, int]] = []
        short = (features.word_count <= ranking.SHORT_WORDS).tolist()
        personal, timed = features.personal.tolist(), features.timed.tolist()
        tails = self._tails_of({turn.session for turn in turns})
        for turn in turns:
            n, place, tail = turn.text, start + turn.text, self._tail_before(turn, tails)
            conversations.append(tail.conversation)
            priors.append((tail.asks, features.asks[n], not tail.turns, personal[n], timed[n]))
            for distance, earlier in enumerate(reversed(tail.turns)):
                if short[n] and earlier >= 0:
                    links.append((earlier, place, distance))
            tail.turns = [*tail.turns, place if short[n] else -1][-len(BEFORE) :]
            tail.asks, tail.said = features.asks[n], turn.said
        places = [start + turn.text for turn in turns]
        self._table["conversation"][places] = conversations
        self._table["priors"][places] = priors
        first_word = self._table["first_word"][places]
        np.add.at(self._first_words["count"], first_word, 1)
        np.add.at(self._first_words["sum"], first_word, np.array(priors, np.float32))
        self._write_links(*np.array(links, np.intp).reshape(-1, 3).T)
        self._put_tails(tails)

    def _tail_before(self, turn: Turn, tails: dict[int, ConversationTail]) -> ConversationTail:
        """Return the end of the conversation that a turn continues or begins."""
        tail = tails.get(turn.session)
        if tail is None or abs(turn.said - tail.said) > ranking.SESSION_GAP_SECONDS:
            tail = tails[turn.session] = ConversationTail(self.conversations)
            self.conversations += 1
        return tail

    def _tails_of(self, sessions: Iterable[int]) -> dict[int, ConversationTail]:
        """Return the ends of the sessions that have turns."""
        numbers = np.array([each for each in sessions if each < len(self.tails)], np.intp)
        numbers = numbers[self.tails["conversation"][numbers] >= 0]
        columns = ("conversation", "turns", "asks", "said")
        rows = zip(*(self.tails[name][numbers].tolist() for name in columns), strict=True)
        return {
            number: ConversationTail(of, [each for each in last if each != NO_TURN], asks, said)
            for number, (of, last, asks, said) in zip(numbers.tolist(), rows, strict=True)
        }

    def _put_tails(self, tails: dict[int, ConversationTail]) -> None:
        numbers, columns = list(tails), self.tails
        columns.extend(max(0, *(number + 1 - len(columns) for number in numbers)))
        for name in ("conversation", "asks", "said"):
            columns[name][numbers] = [getattr(tail, name) for tail in tails.values()]
        columns["turns"][numbers] = [
            [*tail.turns, *[NO_TURN] * (LAST_TURNS - len(tail.turns))] for tail in tails.values()
        ]

    def _write_links(
        self, earlier: NDArray[np.intp], later: NDArray[np.intp], distance: NDArray[np.intp]
    ) -> None:
        back = distance < len(AFTER)
        near, own = self._table["neighbours"], self._table["own_length"]
        near[earlier, distance] = later
        near[later[back], len(BEFORE) + distance[back]] = earlier[back]
        # In the order of the links, so that one batch and many make the same sums.
        lent = np.stack([_BEFORE[distance] * own[earlier], _AFTER[distance] * own[later]], 1)
        np.add.at(self._table["length"], np.stack([later, earlier], 1), lent)
        self.links += len(earlier) + int(back.sum())
        self.borrowed_length += float(lent.sum(dtype=np.float64))


@dataclass(frozen=True, slots=True)
class ConversationOrder:
    """Turns sorted by conversation.

    Attributes:
        places: Of the turns.
        starts: Where each conversation begins among them.
        sizes: How many turns each conversation has.
        base: For each turn a number that grows by `apart` from conversation to conversation.
        further: Of the conversations with a second turn, and of those with a third: their numbers,
            and where that turn is.
        counted: How many turns of each conversation count, at most three.
    """

    places: NDArray[np.intp]
    starts: NDArray[np.intp]
    sizes: NDArray[np.intp]
    base: NDArray[np.float64]
    further: list[tuple[NDArray[np.intp], NDArray[np.intp]]]
    counted: NDArray[np.intp]
    apart: ClassVar[float] = 64.0  # more than any relevance

    @classmethod
    def of(cls, conversation: NDArray[np.int32]) -> ConversationOrder:
        """Sort the memories that have a conversation; -1 marks the others."""
        turns = (conversation >= 0).nonzero()[0]
        places = turns.take(conversation.take(turns).argsort(kind="stable"))
        starts, sizes = runs(conversation.take(places))
        base = np.repeat(cls.apart * np.arange(len(starts)), sizes)
        longer = [(sizes > rank).nonzero()[0] for rank in (1, 2)]
        further = [(each, starts[each] + rank) for rank, each in enumerate(longer, 1)]
        return cls(places, starts, sizes, base, further, np.minimum(sizes, 3))
