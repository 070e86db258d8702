"""What is measured about a ranked list: recall, rank, gain, and how honest probabilities are."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence

import numpy as np

CUTS = (1, 5, 10, 20)
RANKING = [*(f"R@{cut}" for cut in CUTS), "any@10", "MRR", "nDCG@10"]


def ranking_scores(ranked: Sequence[str | None], evidence: Collection[str]) -> dict[str, float]:
    """Score one ranked list of turn ids, best first; None stands for an item without a turn.

    R@k is the share of the evidence within the first k, any@10 whether one is, MRR the inverse
    rank of the first, nDCG@10 the discounted gain with evidence counting 1 and all else 0.
    """
    places = [place for place, found in enumerate(ranked) if found in evidence]
    scores = {f"R@{cut}": sum(place < cut for place in places) / len(evidence) for cut in CUTS}
    scores["any@10"] = float(any(place < 10 for place in places))
    scores["MRR"] = 1 / (1 + places[0]) if places else 0.0
    best = sum(_gain(place) for place in range(min(len(evidence), 10)))
    scores["nDCG@10"] = sum(_gain(place) for place in places if place < 10) / best
    return scores


def _gain(place: int) -> float:
    return 1 / math.log2(place + 2)


def reliability_error(judged: Iterable[tuple[float, bool]], bins: int = 10) -> float:
    """Return the expected calibration error of (probability, was it right) pairs.

    The pairs fall into bins of equal width over [0, 1]; the error is the mean over all pairs of
    the distance between their bin's mean probability and its share of right ones (Naeini, Cooper
    and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015).
    """
    pairs = np.array([(probability, right) for probability, right in judged], float)
    if not len(pairs):
        return math.nan
    bin_of = np.minimum((pairs[:, 0] * bins).astype(int), bins - 1)
    gaps = np.bincount(bin_of, pairs[:, 0] - pairs[:, 1], bins)
    return float(np.abs(gaps).sum() / len(pairs))
