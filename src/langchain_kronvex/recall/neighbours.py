"""Which turns of running conversations stand next to each other, and may borrow words."""

from __future__ import annotations

from dataclasses import dataclass, field

from langchain_kronvex.recall.ranking import BEFORE


@dataclass(slots=True)
class Tail:
    """The end of a session's running conversation.

    Attributes:
        conversation: Its number.
        turns: Places of the last turns; -1 for one too long to lend its words.
        asks: The last turn asks a question.
        said: When the last turn was said.
    """

    conversation: int
    turns: list[int] = field(default_factory=list)
    asks: bool = False
    said: float = 0.0


@dataclass(slots=True)
class Joined:
    """What a batch of turns adds to the conversations; link i lets two turns borrow words."""

    places: list[int] = field(default_factory=list)
    conversations: list[int] = field(default_factory=list)
    priors: list[tuple[bool, ...]] = field(default_factory=list)
    earlier: list[int] = field(default_factory=list)
    later: list[int] = field(default_factory=list)
    distance: list[int] = field(default_factory=list)

    def add(self, tail: Tail, place: int, *, short: bool) -> None:
        """Let a turn follow the end of a conversation."""
        self.places.append(place)
        self.conversations.append(tail.conversation)
        for distance, other in enumerate(reversed(tail.turns)):
            if short and other >= 0:
                self.earlier.append(other)
                self.later.append(place)
                self.distance.append(distance)
        tail.turns = [*tail.turns, place if short else -1][-len(BEFORE) :]
