"""Why a memory is recalled, or not: what its scores are made of, and a table of it for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from langchain_kronvex.core.errors import printable

KeptOut = Literal[
    "expired", "superseded", "as_of", "session", "memory_type", "since", "until", "filter",
    "this_turn", "threshold", "same_text", "derived", "prefilter", "top_k",
]  # fmt: skip

# What a memory's weighted sum is made of, then what the sum becomes; in the order of the table.
SUMMANDS = {
    "words": "words",
    "dates": "date",
    "neighbour_words": "words of the turns around it",
    "related": "related words",
    "reply": "words of the reply",
    "meaning": "meaning",
    "neighbour_meaning": "meaning of the turns around it",
    "speaker": "opens with the speaker's name",
    "answer": "follows a question",
    "question": "asks a question",
    "first": "opens its conversation",
    "personal": "in the first person",
    "when": "has a word of time",
    "session": "best turns of its conversation",
    "feedback": "like the best memories",
}
ADJUSTMENTS = {
    "scale": "put on the common scale",
    "unanswered": "a question without an answer",
    "together": "in a session that fits",
    "instruction": "a standing instruction",
    "rare": "holds one of the rare words",
}
FEATURES = {**SUMMANDS, **ADJUSTMENTS}
REASONS: dict[KeptOut, str] = {
    "expired": "it has expired",
    "superseded": "another memory has superseded it",
    "as_of": "it was not true at that time",
    "session": "it belongs to another session",
    "memory_type": "it is of another type",
    "since": "it was said before",
    "until": "it was said later",
    "filter": "its metadata does not pass the filter",
    "this_turn": "it was said in the turn under way",
    "same_text": "another memory with the same text is recalled",
    "derived": "what was derived from it is recalled, and says the same",
    "prefilter": "it was not weighed: hundreds of others fit better at first sight",
}
_MOST_TERMS, _LEAST_SHARE = 12, 0.0005  # in the table


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why `recall` returns a memory, or does not. `str()` is a table for people.

    It holds words of the query, as the memories spell them, and no other text. A memory that has
    expired or has been superseded is not weighed: it has no shares, and its scores are 0.

    Attributes:
        id: The memory.
        kept_out: What keeps it out of the results; empty if it is among them. `expired`,
            `superseded`, `as_of`, `session` (it belongs to another one), `memory_type`, `since`,
            `until`, `filter`, `this_turn` (a text of the turn under way), `threshold`, `same_text`
            (a recalled memory has the same text), `derived` (a recalled memory was derived from it,
            and says the same), `prefilter` (not weighed by `recall`, since
            hundreds of others fit better at first sight), or `top_k`.
        place: Its place by relevance among the memories that may be returned; 1 is the most
            relevant. For a memory that may not be returned, where it would be. None if it is not
            weighed, or if a server cannot tell. Of many thousand memories only those that the
            search weighs come before it.
        of: The number of those memories.
        top_k: How many were asked for.
        threshold: The lowest similarity that was asked for.
        rank_by_similarity: Its rank among the results before they are ordered; None if kept out.
        rank_by_confidence: Its rank by confidence.
        rank: Its rank in the results. By default, updates come before what they update.
        shares: What each feature adds to the relevance, by the names in `FEATURES`; together they
            are the relevance. Their weighted sum is everything before `scale`, which is the step
            to the scale that all kinds of memories share.
        terms: How the shares of words (the first five features) divide among the terms of the
            query. Terms are stems; "" stands for the days that the query names.
        relevance: What memories are chosen by.
        similarity: `tanh(relevance)`, at least 0.
        probability: How likely the memory answers the query.
        recency: 1 for a memory that is new or does not fade, 1/2 after 30 days, down to 0.
        frequency: 0 for a memory that was never recalled, 1 after ten times or more.
        confidence: `0.6 * similarity + 0.2 * recency + 0.2 * frequency`.
    """

    id: str
    kept_out: tuple[KeptOut, ...]
    place: int | None
    of: int
    top_k: int
    threshold: float
    rank_by_similarity: int | None
    rank_by_confidence: int | None
    rank: int | None
    shares: Mapping[str, float]
    terms: Mapping[str, float]
    relevance: float
    similarity: float
    probability: float
    recency: float
    frequency: float
    confidence: float

    @property
    def found(self) -> bool:
        """Whether recall returns the memory."""
        return not self.kept_out

    def __str__(self) -> str:
        rows = list(self._rows())
        width = max(len(label) for label, _, _ in rows)
        lines = (
            f"{label:{width}}  {'' if value is None else f'{value:6.3f}  '}{note}"
            for label, value, note in rows
        )
        return "\n".join(line.rstrip() for line in lines)

    def _rows(self) -> Iterator[tuple[str, float | None, str]]:
        """Yield the rows of the table: a label, a number, and a note."""
        yield "memory", None, self.id
        if self.found:
            ranks = (
                f"{self.rank_by_similarity} by similarity, {self.rank_by_confidence} by confidence"
            )
            yield "recalled", None, f"at rank {self.rank} ({ranks})"
        for reason in self.kept_out:
            yield "not recalled", None, self._explained(reason)
        if self.place is not None:
            yield "by relevance", None, f"place {self.place} of {self.of}"
        if self.shares:
            yield from self._scores()

    def _explained(self, reason: KeptOut) -> str:
        if reason == "top_k":
            return f"others fit better: the {self.top_k} best were asked for"
        if reason == "threshold":
            return f"the similarity is below {self.threshold:g}"
        return REASONS[reason]

    def _scores(self) -> Iterator[tuple[str, float | None, str]]:
        for name in SUMMANDS:
            if abs(self.shares[name]) >= _LEAST_SHARE:
                yield SUMMANDS[name], self.shares[name], ""
        yield "weighted sum", sum(self.shares[name] for name in SUMMANDS), ""
        for name in ADJUSTMENTS:
            if abs(self.shares[name]) >= _LEAST_SHARE:
                yield ADJUSTMENTS[name], self.shares[name], ""
        yield "relevance", self.relevance, ""
        yield "similarity", self.similarity, "tanh(relevance)"
        yield "probability", self.probability, ""
        yield "recency", self.recency, ""
        yield "frequency", self.frequency, ""
        yield "confidence", self.confidence, "0.6 similarity + 0.2 recency + 0.2 frequency"
        if terms := self._largest_terms():
            yield "by terms", None, ", ".join(terms)

    def _largest_terms(self) -> list[str]:
        held = sorted(self.terms.items(), key=lambda each: -each[1])[:_MOST_TERMS]
        return [
            f"{printable(term) or '(date)'} {share:.3f}"
            for term, share in held
            if share >= _LEAST_SHARE
        ]
