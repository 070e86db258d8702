"""How well the words of a query fit each memory: BM25 by its terms, and by related words.

A memory's count of a term includes part of its neighbours' counts, and its date (see `ranking`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from langchain_kronvex.core.records import Floats
from langchain_kronvex.recall import ranking
from langchain_kronvex.recall.arrays.postings import Entries
from langchain_kronvex.recall.arrays.table import Table
from langchain_kronvex.recall.dates import Days, days_of
from langchain_kronvex.recall.index import IndexView, ScopeIndex
from langchain_kronvex.recall.ranking import AFTER, BEFORE, Form
from langchain_kronvex.recall.tokenizer import (
    DATA,
    common_stems,
    date_parts,
    focus,
    is_empty_pair,
    language_of,
    terms_of,
    words,
)

_DAYS = ""  # in the place of a term
_LENT = np.array([*BEFORE, *AFTER], np.float32)


@dataclass(frozen=True, slots=True)
class ParsedQuery:
    """A query with its terms looked up in an index.

    Attributes:
        vector: Of length 1; without one, related words do not count either.
        terms: Stems that distinguish the owner's memories, each once, the rarest first.
        all_terms: All stems.
        words: All words, among which a speaker's name is looked for.
        found: Where the terms occur, row i for term i. With a vector, as many rows follow, in the
            same order, for where related words occur.
        rows: How many rows there are.
        replied: Where the terms occur in replies; row i for term i.
        dated: For each term the memories whose date it names; None for other terms.
        missing: The share of the terms, weighted by how rare they are, that no memory holds.
        weights: Of the terms.
    """

    vector: Floats | None
    terms: Sequence[str]
    all_terms: Sequence[str]
    words: Sequence[str]
    found: Entries
    rows: int
    replied: Entries
    dated: Sequence[NDArray[np.bool_] | None]
    missing: float
    weights: Floats


def parse_query(index: ScopeIndex, text: str, vector: Floats | None, now: datetime) -> ParsedQuery:
    """Look up the terms of a query. The days that it names count as one more term.

    Terms that occur in most memories do not count. The number of terms is limited, because a query
    may be a whole document: those that no memory holds give way to the others.
    """
    split = list(dict.fromkeys(words(text)))
    if vector is not None and not text.isascii():
        split = [word for word in split if word.isascii() or not is_empty_pair(word)]
    all_terms = list(dict.fromkeys(_terms(index, split)))
    most = max(len(index), ranking.LEAST_DOCUMENTS) / 2
    found = {term: index.document_frequency(term) for term in all_terms}
    held = {term: n for term, n in found.items() if n < most}
    rarest = sorted(held, key=lambda term: held[term] or math.inf)[: ranking.MAX_QUERY_TERMS]
    meant = _meant(index, [term for term in rarest if not held[term]], rarest)
    rarest = list(dict.fromkeys(meant.get(term, term) for term in rarest))
    if days := days_of(text, now.date()):
        rarest.append(_DAYS)
    counts_for = dict.fromkeys(meant.values(), ranking.MEANT)
    rows: list[Iterable[tuple[str, float]]] = [((t, counts_for.get(t, 1.0)),) for t in rarest]
    replied = index.replies.entries(enumerate(rows) if len(index.replies) else ())
    if vector is not None:
        rows += map(related, rarest)
    entries = index.postings.entries(enumerate(rows))
    dated = _matching_dates(index.table, rarest, days)
    unheld = [not count and term not in meant for term, count in found.items()]
    missing = 0.0
    if any(unheld):
        rarity = ranking.positive_idf(len(index), np.array([*found.values()], np.float32))
        missing = float(rarity[unheld].sum() / rarity.sum())
    weights = _weights(index, text, rarest, meant)
    return ParsedQuery(
        vector, rarest, all_terms, split, entries, len(rows), replied, dated, missing, weights
    )


def _weights(
    index: ScopeIndex, text: str, chosen: Sequence[str], meant: Mapping[str, str]
) -> Floats:
    """Return the weight of each term: 1, or less for words beside the question of a message."""
    weights = np.ones(len(chosen), np.float32)
    if (asking := focus(text)) != text:
        asked = {meant.get(term, term) for term in _terms(index, words(asking))} | {_DAYS}
        weights[[term not in asked for term in chosen]] = ranking.BESIDE
    return weights


def _terms(index: ScopeIndex, split: Sequence[str]) -> Iterator[str]:
    """Yield the terms of a query, each in the language in which most memories have it."""
    language = language_of(split)
    least = len(index) * ranking.LEAST_OF_LANGUAGE
    used = [each for each, count in index.texts_in.items() if count >= least]
    others = [terms_of(split, each) for each in used if each != language]
    for term, *same in zip(terms_of(split, language), *others, strict=True):
        if term and same:
            yield max((term, *filter(None, same)), key=index.document_frequency)
        elif term:
            yield term


def _meant(index: ScopeIndex, missing: Sequence[str], held: Sequence[str]) -> dict[str, str]:
    """Return the terms that missing ones probably stand for, if the query does not have them."""
    common = common_stems()
    unknown = [term for term in missing if term not in common][: ranking.MOST_MEANT]
    found = {term: meant for term in unknown if (meant := index.spelling.meant(term))}
    return {term: meant for term, meant in found.items() if meant not in held}


def _matching_dates(
    table: Table, terms: Sequence[str], days: Days | None
) -> list[NDArray[np.bool_] | None]:
    """Mark the memories, except statements, whose date each term names; None for other terms.

    A number names a day only beside a month or a year: "route 12" is of no day.
    """
    parts = [date_parts(term) for term in terms]
    if not days and not any("month" in each or "year" in each for each in parts):
        parts = [{} for _ in terms]
    return [_matching(table, *each, days) for each in zip(terms, parts, strict=True)]


def _matching(
    table: Table, term: str, parts: Mapping[str, int], days: Days | None
) -> NDArray[np.bool_] | None:
    if term == _DAYS and days:
        first, last = (10_000 * day.year + 100 * day.month + day.day for day in days)
        # numpy 1 would keep the product with a scalar in the eight bits of the column.
        said = 10_000 * table["year"].astype(np.int32) + 100 * table["month"].astype(np.int32)
        said += table["day"]
        inside: NDArray[np.bool_] = (first <= said) & (said <= last)
        inside &= table["form"] < Form.STATEMENT
        return inside
    if not parts:
        return None
    same: NDArray[np.bool_] = table["form"] < Form.STATEMENT
    for part, number in parts.items():
        same &= table[part] == number
    return same


class TermScores(NamedTuple):
    """What each term of a query brings a feature in each memory, before it is saturated.

    Attributes:
        feature: The name of the feature.
        idf: The weight of each term.
        counts: How often each memory holds each term, shape (terms, slots).
        weight: BM25's weight of these counts.
    """

    feature: str
    idf: Floats
    counts: Floats
    weight: Floats


def word_scores(view: IndexView, query: ParsedQuery) -> list[tuple[str, Floats]]:
    """Return the features `words` and, with a vector, `related`, by slot; see `Weights`."""
    if not query.terms:
        return [(name, np.zeros(len(view), np.float32)) for name in ("words", "related")]
    many = float(query.weights.sum())
    return [
        (each.feature, ranking.saturate(each.idf @ each.weight, many))
        for each in term_scores(view, query)
    ]


def term_scores(view: IndexView, query: ParsedQuery) -> list[TermScores]:
    """Return what the terms bring in the texts: `words` and, with a vector, `related`."""
    rows, index = len(query.terms), view.index
    counts = _windowed(view, view.inside(query.found), query.rows)
    exact = counts[:rows]
    for row, same in enumerate(query.dated):
        if same is not None:
            exact[row] += view.of(same)
    if query.vector is not None:
        counts[rows:] += exact
    frequency = _document_frequency(view, exact, query)
    weight = ranking.tf_weight(counts, view.kept("norm", lambda: _norm(view)))
    idf = ranking.idf(len(index), frequency) * query.weights
    found = [TermScores("words", idf, exact, weight[:rows])]
    if query.vector is not None:
        idf = ranking.positive_idf(len(index), frequency) * query.weights
        found.append(TermScores("related", idf, counts[rows:], weight[rows:]))
    return found


def _norm(view: IndexView) -> Floats:
    return ranking.length_norm(view.column("length"), view.index.average_length)


def reply_scores(view: IndexView, query: ParsedQuery) -> Floats:
    """Return the BM25 score of the replies alone, saturated, by slot."""
    if (found := term_scores_of_replies(view, query)) is None:
        return np.zeros(len(view), np.float32)
    return ranking.saturate(found.idf @ found.weight, float(query.weights.sum()))


def term_scores_of_replies(view: IndexView, query: ParsedQuery) -> TermScores | None:
    """Return what the terms bring in the replies; None if no reply holds one."""
    size, rows, index = len(view), len(query.terms), view.index
    found = view.inside(query.replied)
    if not len(found.row):
        return None
    held = np.bincount(found.row * size + found.place, found.value, rows * size)
    counts = held.astype(np.float32).reshape(rows, size)
    weight = ranking.tf_weight(counts, view.kept("reply norm", lambda: _reply_norm(view)))
    frequency = [index.replies.document_frequency(term) for term in query.terms]
    idf = ranking.idf(len(index), np.array(frequency, np.float32))
    return TermScores("reply", idf * query.weights, counts, weight)


def _reply_norm(view: IndexView) -> Floats:
    return ranking.length_norm(view.column("reply_length"), view.index.average_reply_length)


def _windowed(view: IndexView, entries: Entries, rows: int) -> Floats:
    """Return how often each term occurs in each memory, its neighbours' words included."""
    size = 1 + len(view)  # the first one is for slot -1, no memory
    start = entries.row * size + 1
    if not view.index.neighbours.links:
        counts = np.bincount(start + entries.place, entries.value, rows * size)
        return counts.reshape(rows, size)[:, 1:].astype(np.float32)
    near = view.neighbours.take(entries.place, axis=0)
    counts = np.bincount(
        np.concatenate([start + entries.place, (start[:, None] + near).ravel()]),
        np.concatenate([entries.value, (entries.value[:, None] * _LENT).ravel()]),
        rows * size,
    )
    return counts.reshape(rows, size)[:, 1:].astype(np.float32)


def _document_frequency(view: IndexView, counts: Floats, query: ParsedQuery) -> Floats:
    """Return in how many memories of the owner each term counts."""
    index = view.index
    if view.places is None:
        return np.array([np.count_nonzero(row) for row in counts], np.float32)
    held = np.array([index.postings.document_frequency(t) for t in query.terms], np.float32)
    # It also counts in neighbours, some of which are counted already: as if drawn at random.
    copies = 1 + index.neighbours.links / len(index)
    missing: Floats = np.exp(-held * np.float32(copies / len(index)))
    for row, same in enumerate(query.dated):
        if same is not None:
            missing[row] *= 1 - np.float32(np.mean(same))
    return len(index) * (1 - missing)


# -- related words -----------------------------------------------------------------------------


@functools.lru_cache(maxsize=1)
def load_thesaurus() -> tuple[dict[str, int], list[str], NDArray[np.uint16], NDArray[np.uint8]]:
    """Read the related words: for each common English stem up to twelve nearest others.

    Their cosines are at least one half; see `scripts/build_thesaurus.py`.

    Returns:
        The number of each stem, all stems, their nearest ones, and the cosines times 255.
    """
    numbers = common_stems()
    return (
        numbers,
        list(numbers),
        np.load(DATA / "near_rows.npy"),
        np.load(DATA / "near_cosines.npy"),
    )


def related(stem: str) -> Sequence[tuple[str, float]]:
    """Return related stems with their cosines, nearest first; none for rare words.

    Args:
        stem: As `tokenizer.stems` returns it.
    """
    number = load_thesaurus()[0].get(stem)
    return () if number is None else _related(number)


@functools.lru_cache(maxsize=1024)
def _related(number: int) -> Sequence[tuple[str, float]]:
    _, stems, near, cosines = load_thesaurus()
    nearest = zip(near[number].tolist(), cosines[number].tolist(), strict=True)
    return [(stems[other], cosine / 255) for other, cosine in nearest if cosine]
