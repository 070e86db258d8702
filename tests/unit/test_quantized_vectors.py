"""Vectors of one byte per dimension, compared with plain floats."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inside import Floats, QuantizedVectors
from inside import vectors as module

WIDTHS = [1, 5, 63, 64, 65, 128, 256, 300, 384, 1536]


def directions(count: int, width: int, seed: int = 1) -> Floats:
    vectors = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def holding(vectors: Floats) -> QuantizedVectors:
    stored = QuantizedVectors(vectors.shape[1])
    stored.grow(len(vectors))
    stored.put(np.arange(len(vectors)), vectors)
    return stored


@pytest.mark.parametrize("width", WIDTHS)
def test_products_are_cosines_within_a_hundredth(width: int) -> None:
    vectors, query = directions(3000, width), directions(1, width, seed=2)[0]
    stored = holding(vectors)
    expected = vectors @ query
    assert np.abs(stored.products(query) - expected).max() < 0.01
    some = np.array([2999, 0, 1024, 1023, 5])
    assert stored.products(query, some) == pytest.approx(stored.products(query)[some], abs=1e-6)
    assert np.abs(stored.at(some) - vectors[some]).max() < 0.01
    assert np.linalg.norm(stored.at(some), axis=1) == pytest.approx(1, abs=1e-5)


@settings(deadline=None)
@given(st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=40), st.floats(1e-3, 1))
def test_any_direction_is_kept_whatever_its_components(values: list[float], share: float) -> None:
    vector = np.array([*values, share], np.float32)
    vector /= np.linalg.norm(vector)
    stored = holding(vector[None])
    assert stored.products(vector)[0] == pytest.approx(1, abs=0.01)


def test_a_memory_without_a_vector_has_zeros() -> None:
    stored = QuantizedVectors(8)
    stored.grow(3)
    stored.put(np.array([1]), directions(1, 8))
    stored.put(np.array([2]), np.zeros((1, 8), np.float32))
    query = directions(1, 8, seed=5)[0]
    assert stored.products(query)[[0, 2]].tolist() == [0, 0]
    assert not stored.at(np.array([0, 2])).any()
    assert stored.nearest(query, 99, None).tolist() == [1]


def test_growing_keeps_the_vectors() -> None:
    vectors = directions(5, 70)
    stored = holding(vectors)
    before = stored.at(np.arange(5))
    stored.grow(5000)
    assert np.array_equal(stored.at(np.arange(5)), before)
    assert not stored.at(np.arange(5, 5000)).any()
    assert stored.nbytes >= 5000 * (70 + 4 + 16)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 50)), max_size=40))
def test_a_replaced_vector_counts_once_for_the_centre(writes: list[tuple[int, int]]) -> None:
    pool = directions(51, 12)
    pool[50] = 0
    stored = QuantizedVectors(12)
    stored.grow(10)
    for place, number in writes:
        stored.put(np.array([place]), pool[number][None])
    fresh = QuantizedVectors(12)
    fresh.grow(10)
    for place, number in dict(writes).items():
        fresh.put(np.array([place]), pool[number][None])
    places = np.arange(10)
    assert np.array_equal(stored.at(places), fresh.at(places))
    assert stored.centre == pytest.approx(fresh.centre, abs=1e-6)


def test_the_centre_is_near_the_mean_of_many_and_near_zero_for_few() -> None:
    vectors = directions(2000, 16) + np.float32(0.5)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    mean = vectors.mean(axis=0)
    assert np.linalg.norm(holding(vectors).centre - mean) < 0.02
    assert np.linalg.norm(holding(vectors[:1]).centre) < 0.1
    assert not QuantizedVectors(16).centre.any()


def test_the_centre_is_the_same_however_the_vectors_came() -> None:
    vectors = directions(80, 16)
    growing = QuantizedVectors(16)
    for count in range(1, 81):
        growing.grow(count)
        growing.put(np.array([count - 1]), vectors[count - 1][None])
        assert np.array_equal(growing.centre, holding(vectors[:count]).centre)


@pytest.mark.parametrize("width", [64, 100, 256, 384])
def test_the_nearest_by_signs_include_the_nearest_by_cosine(width: int) -> None:
    vectors = directions(5000, width)
    stored = holding(vectors)
    shares, first = [], []
    for query in directions(20, width, seed=9):
        found = stored.nearest(query, 500, None)
        assert 500 <= len(found) < 1000
        assert np.array_equal(found, np.unique(found))
        nearest = np.argsort(-(vectors @ query))[:10]
        shares.append(np.isin(nearest, found).mean())
        first.append(nearest[0] in found)
    # Directions without any structure are the hardest; a tenth of them holds a tenth by chance.
    assert np.mean(shares) > 0.75
    assert np.mean(first) > 0.75


@pytest.mark.parametrize("width", WIDTHS)
def test_a_vector_is_nearest_to_itself(width: int) -> None:
    vectors = directions(300, width)
    stored = holding(vectors)
    for place in (0, 17, 299):
        assert place in stored.nearest(vectors[place], 1, None)


def test_only_marked_places_are_returned_and_as_many_as_there_are() -> None:
    vectors = directions(400, 64)
    stored = holding(vectors)
    among = np.zeros(400, np.bool_)
    among[[3, 77, 399]] = True
    for count in (1, 3, 10**9):
        found = stored.nearest(vectors[0], count, among).tolist()
        assert set(found) <= {3, 77, 399}
        assert len(found) >= min(count, 3)
    assert len(stored.nearest(vectors[0], 10**9, None)) == 400
    assert stored.nearest(vectors[0], 5, np.zeros(400, np.bool_)).tolist() == []


@given(st.lists(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=3), max_size=9))
def test_bits_are_counted_alike_with_and_without_numpy_2(rows: list[list[int]]) -> None:
    flat = np.array([number for row in rows for number in row], np.uint64)
    expected = [int(number).bit_count() for number in flat]
    for count in (module.bits_set, module._bits_set_by_bytes):
        assert count(flat).tolist() == expected
        assert count(flat.reshape(1, -1)).tolist() == [expected]
