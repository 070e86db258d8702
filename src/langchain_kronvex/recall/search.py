"""Searches one owner's index: computes features of memories, weighs them, and takes the best."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from langchain_kronvex.core.errors import EmbeddingMismatch
from langchain_kronvex.core.records import Floats
from langchain_kronvex.recall import prefilter, ranking
from langchain_kronvex.recall.arrays.table import value_counts
from langchain_kronvex.recall.arrays.vectors import QuantizedVectors
from langchain_kronvex.recall.bm25 import ParsedQuery, parse_query, reply_scores, word_scores
from langchain_kronvex.recall.index import IndexView, ScopeIndex
from langchain_kronvex.recall.neighbours import VECTOR_WINDOW, ConversationOrder
from langchain_kronvex.recall.ranking import Form, Formulas, Weights
from langchain_kronvex.recall.request import RecallRequest
from langchain_kronvex.recall.tokenizer import STOP_WORDS, common_stems

_WINDOW_COLUMNS = [column for column, _ in VECTOR_WINDOW]
_WINDOW_WEIGHTS = np.array([weight for _, weight in VECTOR_WINDOW], np.float32)


@dataclass(frozen=True, slots=True)
class Hits:
    """The chosen memories, most relevant first: their numbers, similarity and probability."""

    seqs: list[int]
    similarity: list[float]
    probability: list[float]


def search(
    index: ScopeIndex, request: RecallRequest, limits: prefilter.Limits | None = None
) -> Hits:
    """Return the `top_k` most relevant visible memories that reach the threshold."""
    if not len(index):
        return Hits([], [], [])
    query, allowed, view = prepared(index, request, limits)
    *_, (_, relevance) = relevance_steps(view, query, request.is_encoded)
    eligible = eligible_only(relevance, view, allowed)
    chosen = ranking.best(eligible, request.top_k)
    similarity = ranking.similarity(relevance[chosen])
    kept = chosen[similarity >= request.threshold]
    if not len(kept):
        return Hits([], [], [])
    probability = ranking.probability(relevance, kept, len(index) - len(view), query.missing)
    seqs = index.table["seq"][view.placed(kept)]
    return Hits(seqs.tolist(), similarity[: len(kept)].tolist(), probability.tolist())


def prepared(
    index: ScopeIndex, request: RecallRequest, limits: prefilter.Limits | None = None
) -> tuple[ParsedQuery, NDArray[np.bool_] | None, IndexView]:
    """Return the query, marks of the memories that may be returned (None: all), those to score."""
    query = parse_query(index, request.query, _checked_vector(index, request), request.now)
    allowed = _allowed(index, request)
    limits, places = limits or prefilter.LIMITS, None
    if len(index) > max(limits.exact_up_to, 4 * request.top_k):
        places = prefilter.candidates(index, query, allowed, request.top_k, limits)
    view = IndexView(
        index, places, request.now.timestamp(), is_current=not request.include_superseded
    )
    return query, allowed, view


def eligible_only(relevance: Floats, view: IndexView, allowed: NDArray[np.bool_] | None) -> Floats:
    """Return the relevance of memories that may be returned; minus infinity for all others.

    The relevance of memories that are gone is minus infinity from now on.
    """
    view.blank_gone(relevance, -np.inf)
    return relevance if allowed is None else np.where(view.of(allowed), relevance, -np.inf)


def _checked_vector(index: ScopeIndex, request: RecallRequest) -> Floats | None:
    """Return the vector of a request; None if the memories have none to compare it with."""
    vectors, vector = index.vectors, request.vector
    if vectors is None or vector is None or not vector.any():  # zeros: of words it does not know
        return None
    if vectors.width != len(vector):
        raise EmbeddingMismatch(
            f"The memories were indexed in {vectors.width} dimensions, but the query "
            f"has {len(vector)}. Use the embeddings they were indexed with."
        )
    return vector


def _allowed(index: ScopeIndex, request: RecallRequest) -> NDArray[np.bool_] | None:
    """Mark the memories that may be returned; None for all."""
    masks = list(_masks(index, request))
    return np.logical_and.reduce(masks) if masks else None


def _masks(index: ScopeIndex, request: RecallRequest) -> Iterator[NDArray[np.bool_]]:
    """Yield the conditions of a request, each as a mark of the memories that meet it."""
    now, table = request.now.timestamp(), index.table
    if index.soonest_expiry <= now and not (alive := table["expires"] > now).all():
        yield alive
    if request.as_of is not None:
        moment = request.as_of.timestamp()
        yield (table["true_from"] <= moment) & (table["true_until"] > moment)
    elif index.has_superseded and not request.include_superseded:
        yield table["true_until"] == np.inf
    session = request.scope.only_session
    sessions = None if session is None else (session,)
    for column, names in (("type", request.memory_types), ("session", sessions)):
        if names is not None:
            codes = [index.codes.get(f"{column} {name}", -1) for name in names]
            yield np.isin(table[column], codes) if len(codes) > 1 else table[column] == codes[0]
    if request.since is not None:
        yield table["created"] >= request.since.timestamp()
    if request.until is not None:
        yield table["created"] < request.until.timestamp()
    if request.filter is not None:
        yield index.metadata.mask(request.filter)[table["metadata"]]


def relevance_steps(
    view: IndexView, query: ParsedQuery, is_encoded: bool
) -> Iterator[tuple[str, Floats]]:
    """Yield what each step makes of the relevance of every memory of the view; see `ranking`.

    Steps have the names of `Weights`, and of `explanation.FEATURES`. The last one is the relevance.
    The array may be the same each time: what a step adds is the difference from what it held.
    """
    formulas = ranking.formulas(query.vector is not None, is_encoded)
    relevance = np.zeros(len(view), np.float32)
    for name, values in _features(view, query):
        if view.only_form is None:
            weights = np.array([getattr(formula, name) for formula in formulas], np.float32)
            relevance += weights[view.column("form")] * values
        else:
            relevance += np.float32(getattr(formulas[view.only_form], name)) * values
        yield name, relevance
    if Form.TURN in view.index.forms:
        yield from _turn_steps(relevance, view, query, formulas[Form.TURN])
    relevance = _on_one_scale(view, relevance, formulas)
    yield "scale", relevance
    _lower_questions(relevance, view, query)
    yield "unanswered", relevance
    if view.index.forms & {Form.EXCHANGE, Form.STATEMENT}:
        _lift_to_sessions(relevance, view)
        yield "together", relevance
    instructions = view.marked("instructs")
    if len(instructions):
        relevance[instructions[relevance[instructions] > 0]] += np.float32(ranking.INSTRUCTION)
    yield "instruction", relevance
    _lift_rare(relevance, view, query)
    yield "rare", relevance


def _features(view: IndexView, query: ParsedQuery) -> Iterator[tuple[str, Floats]]:
    """Yield the features of all forms, by slot."""
    yield from word_scores(view, query)
    if len(view.index.replies):
        yield "reply", reply_scores(view, query)
    if query.vector is not None and (vectors := view.index.vectors) is not None:
        yield "meaning", _meaning(view, vectors, query.vector)


def _lower_questions(relevance: Floats, view: IndexView, query: ParsedQuery) -> None:
    """Lower questions that got no answer: their own words are no evidence of it.

    That is one whose reply says that the answer is not known, and one like the query with no reply.
    """
    asks = view.marked("asks")
    if not len(asks) or not query.terms:
        return
    own = view.inside(query.found)
    shared = np.bincount(own.place[own.row < len(query.terms)], minlength=len(view))[asks]
    distinct = len(query.all_terms) + view.column("own_length")[asks] - shared
    repeats = shared >= ranking.SAME_QUESTION * distinct
    left = np.where(repeats & (view.column("reply_length")[asks] == 0), ranking.REPEATED, 1.0)
    left[view.column("unanswered")[asks]] = ranking.UNANSWERED
    relevance[asks] *= np.where(relevance[asks] > 0, left, 1)


def _lift_rare(relevance: Floats, view: IndexView, query: ParsedQuery) -> None:
    """Rank memories that hold one of the query's words above all others, if all words are rare.

    The vector of a query of rare words alone, such as a code, is that of their letters.
    """
    if not query.terms or query.vector is None:
        return
    if any(term in common_stems() for term in query.all_terms):
        return
    own, replied = view.inside(query.found), view.inside(query.replied)
    holders, _ = value_counts(np.append(own.place[own.row < len(query.terms)], replied.place))
    if 0 < len(holders) <= ranking.RARE_MEMORIES:
        others = np.delete(relevance, holders)
        gap = others.max(initial=-np.inf) - relevance[holders].min()
        relevance[holders] += max(gap, 0) + np.float32(1e-3)


def _on_one_scale(view: IndexView, sums: Floats, formulas: Formulas) -> Floats:
    """Return the relevance that the weighted sums of memories of all forms stand for."""
    density = view.kept("density", lambda: view.index.neighbour_density)
    if view.only_form is not None:
        return ranking.comparable(sums, formulas[view.only_form], density)
    form = view.column("form")
    for kind in view.index.forms:
        of_form = form == kind
        sums[of_form] = ranking.comparable(sums[of_form], formulas[kind], density)
    return sums


# -- conversations ----------------------------------------------------------------------------


def _turn_steps(
    relevance: Floats, view: IndexView, query: ParsedQuery, weights: Weights
) -> Iterator[tuple[str, Floats]]:
    """Add what only turns have to their weighted sums, in place, by slot."""
    relevance += signals(view, query, weights)
    view.blank_gone(relevance, 0)
    yield "signals", relevance
    relevance += np.float32(weights.session) * session_best(view.conversation_order(), relevance)
    yield "session", relevance
    if query.vector is not None and (vectors := view.index.vectors) is not None:
        _add_feedback(relevance, view, vectors, weights.feedback)
        yield "feedback", relevance


def signals(view: IndexView, query: ParsedQuery, weights: Weights) -> Floats:
    """Return what turns gain by the speaker's name, and whatever the words are; 0 for others."""
    weight = tuple(
        0.0 if name == "when" and name not in query.words else float(getattr(weights, name))
        for name in ranking.PRIORS
    )
    gained = view.kept(("priors", weight), lambda: _priors(view, weight))
    if (spoken := _speakers(view, query)) is not None:
        gained = np.float32(weights.speaker) * spoken + gained
    return gained if view.turns is None else gained * view.turns


def _priors(view: IndexView, weights: tuple[float, ...]) -> Floats:
    """Return the signals of turns whatever their words, less the mean per first word."""
    weight, words = np.array(weights, np.float32), view.index.first_words

    def means() -> Floats:
        # Without BLAS: its kernels for so few columns were seen to warn of numbers they do not use.
        sums: Floats = np.einsum("ij,j->i", words["sum"], weight)
        sums /= np.maximum(words["count"], 1)
        return sums

    priors: Floats = np.einsum("ij,j->i", view.column("priors"), weight)
    priors -= view.index.kept(("means", weights), means).take(view.column("first_word"))
    return priors


def _speakers(view: IndexView, query: ParsedQuery) -> NDArray[np.bool_] | None:
    """Mark memories that open with a word of the query which opens many: the speaker's name."""
    names = view.index.kept("names", lambda: _names(view.index))
    found = [names[word] for word in query.words if word in names]
    if not found:
        return None
    first_word = view.column("first_word")
    spoken: NDArray[np.bool_] = np.logical_or.reduce([first_word == code for code in found])
    return spoken


def _names(index: ScopeIndex) -> dict[str, int]:
    """Return the words that open so many memories that they are names, and their numbers."""
    is_name = index.first_words["count"] > ranking.NAME_SHARE * len(index)
    named = {index.first_word_codes[code]: code for code in is_name.nonzero()[0].tolist()}
    return {word: code for word, code in named.items() if word not in STOP_WORDS}


def _lift_to_sessions(relevance: Floats, view: IndexView) -> None:
    """Lift exchanges and statements toward the most relevant memory of their session.

    To the geometric mean of both: the best keeps its relevance, and 0 stays 0. The less so, the
    more of the memories the session holds: what all have in common tells none from another.

    Of long chats with an assistant, 1.7 (statements) and 2.5 points (exchanges) more of the
    evidence are among ten; of conversations stored so, 3.2 and 2.7. Turns gain nothing.
    """
    session = view.column("session")
    lift = view.kept("lift", lambda: _lifts(view, session))
    best = np.zeros(len(view.index.codes), np.float32)
    np.maximum.at(best, session, relevance)
    own = np.maximum(relevance, 0)
    relevance += lift * (np.sqrt(own * best[session]) - own)


def _lifts(view: IndexView, session: NDArray[np.int32]) -> Floats:
    """Return how far each memory is lifted, from 0 for not at all to 1."""
    form = view.column("form")
    is_lifted = (form == Form.EXCHANGE) | (form == Form.STATEMENT)
    is_lifted &= session != view.index.codes.get("session ", -1)  # of no session
    lift: Floats = (1 - np.bincount(session)[session] / len(view)).astype(np.float32) * is_lifted
    return lift


def session_best(order: ConversationOrder, relevance: Floats) -> Floats:
    """Return, for each turn, the mean relevance of the three best turns of its conversation.

    Of all its turns, if there are fewer: the sum over three would make short conversations sink.
    """
    # One sort for all: by conversation, then the most relevant first.
    keys = order.base - np.minimum(np.maximum(relevance.take(order.places), 0), order.apart)
    keys.sort()
    values = order.base - keys
    mean = values.take(order.starts)
    for longer, at in order.further:
        mean[longer] += values.take(at)
    mean /= order.counted
    best = np.zeros(len(relevance), np.float32)
    best[order.places] = mean.repeat(order.sizes)
    return best


# -- vectors -----------------------------------------------------------------------------------


def _meaning(view: IndexView, vectors: QuantizedVectors, vector: Floats) -> Floats:
    """Return cosines: of turns summed with their neighbours, of other memories less the mean."""
    cosine = vectors.products(vector, view.places)
    view.blank_gone(cosine, 0)
    found = cosine if view.turns is not None and not view.turns.any() else _windowed(view, cosine)
    if view.turns is not None:
        alone = (~view.turns).nonzero()[0]
        centre = view.index.kept("centre", lambda: vectors.centre)
        to_centre = view.kept("to centre", lambda: vectors.products(centre, view.placed(alone)))
        found[alone] = _centred(cosine[alone], to_centre, vector, centre)
    return np.maximum(found, 0)


def _windowed(view: IndexView, own: Floats) -> Floats:
    """Return the cosine of each memory's vector summed with its neighbours'."""
    near = view.kept("window", lambda: view.neighbours[:, _WINDOW_COLUMNS].astype(np.intp))
    padded = np.zeros(len(own) + 1, np.float32)  # slot -1, no memory, adds nothing
    padded[:-1] = own
    windowed: Floats = np.einsum("ij,j->i", padded.take(near), _WINDOW_WEIGHTS)
    windowed += own
    windowed *= view.column("vector_scale")
    return windowed


def _centred(cosine: Floats, to_centre: Floats, vector: Floats, centre: Floats) -> Floats:
    """Return cosines of vectors less the centre, from products with the vectors as they are."""
    of_query = np.float32(vector @ centre)
    square = np.float32(centre @ centre)
    product = cosine - to_centre - of_query + square
    lengths = (1 - 2 * to_centre + square) * (1 - 2 * of_query + square)
    centred: Floats = product / np.sqrt(np.maximum(lengths, 1e-6))
    return np.where(cosine == 0, 0, centred)  # there is no vector


def _add_feedback(
    relevance: Floats, view: IndexView, vectors: QuantizedVectors, weight: float
) -> None:
    """Add to the best turns how near they are to the mean of the very best."""
    ranked = relevance if view.turns is None else np.where(view.turns, relevance, -np.inf)
    slots = ranking.best(ranked, ranking.FEEDBACK_TO)
    best = vectors.at(view.placed(slots))
    best -= view.index.kept("centre", lambda: vectors.centre)
    best *= 1 / np.sqrt(np.einsum("ij,ij->i", best, best) + 1e-6)[:, None]
    middle = best[: ranking.FEEDBACK_OF].sum(axis=0)
    middle /= np.sqrt(middle @ middle) + np.float32(1e-6)
    relevance[slots] += np.float32(weight) * (best @ middle)
