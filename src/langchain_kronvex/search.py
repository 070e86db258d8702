"""Asking one owner's index: the features of every memory for a query, weighed and cut."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from langchain_kronvex import ranking
from langchain_kronvex.errors import EmbeddingMismatch
from langchain_kronvex.index import Posting, ScopeIndex
from langchain_kronvex.lexical import date_parts, terms, words
from langchain_kronvex.ranking import AFTER, BEFORE, Floats, Form, Weights

_LENT = np.array([*BEFORE, *AFTER], np.float32)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of one owner's memories. `now` in seconds since 1970, UTC."""

    query: str
    vector: Floats | None
    limit: int
    now: float
    memory_type: str | None = None
    session_id: str | None = None
    threshold: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The chosen memories, most relevant first: their numbers, similarity and probability."""

    seqs: list[int]
    similarity: list[float]
    probability: list[float]


def search(index: ScopeIndex, question: Question) -> Answer:
    """Return the `limit` most relevant visible memories that reach the threshold."""
    if not len(index):
        return Answer([], [], [])
    of_turns, alone = _weights(index, question)
    relevance = _relevance(index, question, of_turns, alone)
    relevance[index.table["expires"] <= question.now] = -np.inf
    wanted = _wanted(index, question)
    chosen = ranking.best(
        relevance if wanted is None else np.where(wanted, relevance, -np.inf), question.limit
    )
    similarity = ranking.similarity(relevance[chosen])
    kept = chosen[similarity >= question.threshold]
    if not len(kept):
        return Answer([], [], [])
    return Answer(
        index.table["seq"][kept].tolist(),
        similarity[: len(kept)].tolist(),
        ranking.probability(relevance, kept, of_turns.full).tolist(),
    )


def _wanted(index: ScopeIndex, question: Question) -> NDArray[np.bool_] | None:
    wanted: NDArray[np.bool_] | None = None
    for column, name in (("type", question.memory_type), ("session", question.session_id)):
        if name is not None:
            same = index.table[column] == index.code(f"{column} {name}")
            wanted = same if wanted is None else wanted & same
    return wanted


def _relevance(index: ScopeIndex, question: Question, of_turns: Weights, alone: Weights) -> Floats:
    """Return the relevance of every memory; see `ranking`."""
    table = index.table
    turns = table["form"] == Form.TURN
    query_terms = list(dict.fromkeys(terms(question.query)))
    # What expired lends neither its words nor its meaning to its neighbours.
    expired = table["expires"] <= question.now
    lends = ~expired if expired.any() else None
    bm25 = ranking.saturate(_words_score(index, query_terms, lends))
    relevance = np.where(turns, of_turns.words, alone.words) * bm25
    if question.vector is not None and (vectors := index.vectors) is not None:
        if vectors.shape[1] != len(question.vector):
            raise EmbeddingMismatch(
                f"The memories were indexed in {vectors.shape[1]} dimensions, but the query has "
                f"{len(question.vector)}. Use the embeddings they were indexed with."
            )
        cosine = vectors @ question.vector
        cosine[expired] = 0
        relevance += of_turns.meaning * np.maximum(
            np.where(turns, index.windowed(cosine), cosine), 0
        )
    if index.conversations:
        relevance += np.where(turns, _priors(index, question.query, of_turns), 0)
        relevance += of_turns.speaker * (turns & _speakers(index, query_terms))
        relevance[expired] = 0
        relevance += of_turns.session * _session_best(index, relevance)
    shares = relevance / np.where(turns, of_turns.full, alone.full)
    return shares.astype(np.float32, copy=False)


def _weights(index: ScopeIndex, question: Question) -> tuple[Weights, Weights]:
    if question.vector is None or index.vectors is None:
        return ranking.TURNS_BY_WORDS, ranking.ALONE_BY_WORDS
    return ranking.TURNS, ranking.ALONE


def _words_score(
    index: ScopeIndex, query_terms: Sequence[str], lends: NDArray[np.bool_] | None
) -> Floats:
    """Return BM25 of the query's terms, counted in a memory, its neighbours and its date."""
    size, length = len(index), index.table["length"]
    average = max(float(length.mean()), 1.0)
    score = np.zeros(size, np.float32)
    for term in _telling(index, query_terms):
        counts = _counts(index, index.postings.get(term), term, lends)
        places = np.flatnonzero(counts)
        if len(places):
            score[places] += ranking.term_score(
                counts[places], length[places], average, ranking.rarity(size, len(places))
            )
    return score


def _telling(index: ScopeIndex, query_terms: Sequence[str]) -> Sequence[str]:
    """Leave out what adds nothing, and bound the work for a query that is a whole document."""

    def held_by(term: str) -> int:
        posting = index.postings.get(term)
        return len(posting.places) if posting else 0

    most = max(len(index), ranking.LEAST_DOCUMENTS) / 2
    telling = [term for term in query_terms if held_by(term) < most]
    return sorted(telling, key=held_by)[: ranking.MAX_QUERY_TERMS]


def _counts(
    index: ScopeIndex, posting: Posting | None, term: str, lends: NDArray[np.bool_] | None
) -> Floats:
    """Return how often each memory holds a term, its neighbours' words and its date counted in."""
    size = len(index)
    counts = np.zeros(size, np.float32)
    if posting is not None:
        places = np.frombuffer(posting.places, np.int32)
        own = np.frombuffer(posting.counts, np.float32)
        if lends is not None:
            places, own = places[lends[places]], own[lends[places]]
        near = index.table["near"][places]
        lent = own[:, None] * _LENT
        there = near >= 0
        counts = np.bincount(
            np.concatenate([places, near[there]]), np.concatenate([own, lent[there]]), size
        ).astype(np.float32)
    for part, number in date_parts(term).items():
        counts += (index.table[part] == number) & (index.table["form"] != Form.STATEMENT)
    return counts


def _priors(index: ScopeIndex, query: str, weights: Weights) -> Floats:
    """Return what speaks for a turn whatever its words, less the mean of turns that open alike."""
    asked_when = "when" in words(query[:1000])
    weight = np.array(
        [
            weights.answer,
            weights.question,
            weights.first,
            weights.personal,
            weights.when if asked_when else 0,
        ],
        np.float32,
    )
    openers = index.openers
    means = openers["sum"] @ weight / np.maximum(openers["count"], 1)
    priors: Floats = index.table["priors"] @ weight - means[index.table["opener"]]
    return priors


def _speakers(index: ScopeIndex, query_terms: Sequence[str]) -> NDArray[np.bool_]:
    """Mark memories that open with a word of the query which opens many: the speaker's name."""
    counts, opener = index.openers["count"], index.table["opener"]
    spoken = np.zeros(len(index), np.bool_)
    for term in query_terms:
        code = index.opener(term)
        if code >= 0 and counts[code] > ranking.NAME_SHARE * len(index):
            spoken |= opener == code
    return spoken


def _session_best(index: ScopeIndex, relevance: Floats) -> Floats:
    """Return, for each turn, the mean relevance of the three best turns of its conversation."""
    order = index.conversation_order()
    of = order.conversation
    left = np.maximum(relevance[order.places], 0)
    total = np.zeros(len(order.starts), np.float32)
    for _ in range(3):
        top = np.maximum.reduceat(left, order.starts)
        total += top
        equal = np.flatnonzero(left == top[of])
        first = np.ones(len(equal), np.bool_)  # of several equal ones, one of each conversation
        np.not_equal(of[equal][1:], of[equal][:-1], out=first[1:])
        left[equal[first]] = 0
    best = np.zeros(len(index), np.float32)
    best[order.places] = total[of] / 3
    return best
