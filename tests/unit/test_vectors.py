"""Checks of the vectors that an Embeddings object returns."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings

from inside import EmbeddingModel, ModelInUse
from langchain_kronvex import EmbeddingMismatch, EmbeddingsError, InvalidInput
from langchain_kronvex.embeddings import StaticEmbeddings


class Fixed(Embeddings):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[1.0, 0.0] for _ in texts]

    def embed_query(self, text: str) -> list[float]:
        return [1.0, 0.0]


class Named(Fixed):
    model = "small"


def test_only_embeddings_are_accepted() -> None:
    for other in (object(), "model", Fixed, None, lambda text: [1.0]):
        with pytest.raises(InvalidInput, match="Embeddings"):
            EmbeddingModel(other)


def test_different_models_have_different_names() -> None:
    assert EmbeddingModel(Named()).name == "Named:small"
    assert "Fixed" in EmbeddingModel(Fixed()).name


class Returning(Embeddings):
    """Returns a given value for any texts, and its first vector for a query."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    def embed_documents(self, texts: list[str]) -> Any:
        return self.raw

    def embed_query(self, text: str) -> Any:
        return self.raw[0]


def vectors_of(raw: Any, count: int) -> Any:
    return EmbeddingModel(Returning(raw)).document_vectors(["text"] * count)


def test_vectors_come_back_with_unit_length() -> None:
    vectors = vectors_of([[3.0, 4.0], [0.0, 0.0], [-2, 0]], 3)
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, 0], [-1, 0]]


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e-6, 1e6, 1e30, 1e300])
def test_very_short_and_very_long_vectors_too(scale: float) -> None:
    vectors = vectors_of([[3 * scale, 4 * scale]], 1)
    assert vectors[0].tolist() == [pytest.approx(0.6), pytest.approx(0.8)]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_arrays_are_accepted_and_not_changed(dtype: type) -> None:
    given = np.array([[3.0, 4.0]], dtype)
    model = EmbeddingModel(Returning(given))
    for vector in (model.document_vectors(["tea"])[0], model.query_vector("tea")):
        assert vector.tolist() == [pytest.approx(0.6), pytest.approx(0.8)]
    assert given.tolist() == [[3.0, 4.0]]


@pytest.mark.parametrize(
    "raw",
    [
        [[float("nan"), 1.0]],
        [[float("inf"), 1.0]],
        [[1.0], [1.0, 2.0]],
        [["a", "b"]],
        [[None, 1.0]],
        [[]],
        [],
        [1.0, 2.0],
        [[[1.0]]],
        None,
        "text",
        [{"a": 1}],
        [[1 + 2j]],
    ],
    ids=repr,
)
def test_a_value_that_is_not_a_list_of_vectors_is_rejected(raw: Any) -> None:
    count = len(raw) if isinstance(raw, list) else 1
    with pytest.raises(EmbeddingsError, match="Returning"):
        vectors_of(raw, count)


def test_there_must_be_one_for_each_text() -> None:
    with pytest.raises(EmbeddingsError, match="1 vectors for 2 texts"):
        vectors_of([[1.0, 0.0]], 2)


def test_the_width_must_stay() -> None:
    embeddings = Returning([[1.0, 0.0]])
    model = EmbeddingModel(embeddings)
    model.document_vectors(["tea"])
    assert model.width == 2
    embeddings.raw = [[1.0, 0.0, 0.0]]
    with pytest.raises(EmbeddingMismatch, match=r"3 dimensions .* 2 before"):
        model.query_vector("tea")


class Counting(Fixed):
    """Counts the queries it embeds."""

    asked = 0

    def embed_query(self, text: str) -> list[float]:
        self.asked += 1
        return [3.0, 4.0]


def test_a_query_is_embedded_once_until_it_is_forgotten() -> None:
    embeddings = Counting()
    model = EmbeddingModel(embeddings)
    for query in ("tea", "Tea", "odd \ud800"):
        assert model.query_vector(query) is model.query_vector(query)
    assert embeddings.asked == 3
    model.forget_queries()
    model.query_vector("tea")
    assert embeddings.asked == 4


def test_a_rejected_query_vector_is_not_cached() -> None:
    embeddings = Returning([[float("nan")]])
    model = EmbeddingModel(embeddings)
    with pytest.raises(EmbeddingsError):
        model.query_vector("tea")
    embeddings.raw = [[1.0]]
    assert model.query_vector("tea").tolist() == [1.0]


def test_the_cache_is_bounded_and_contains_no_text() -> None:
    embeddings = Counting()
    model = EmbeddingModel(embeddings)
    for n in range(2000):
        model.query_vector(f"secret {n}")
    model.query_vector("secret 1999")
    assert embeddings.asked == 2000
    model.query_vector("secret 0")
    assert embeddings.asked == 2001
    assert "secret" not in repr(model._cache)


def test_many_threads_may_ask() -> None:
    model = EmbeddingModel(Fixed())
    failed: list[Exception] = []

    def ask(thread: int) -> None:
        try:
            for n in range(300):
                model.query_vector(f"{thread} {n}")
                if n % 50 == 0:
                    model.forget_queries()
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_vectors_of_texts_are_asked_for_and_checked() -> None:
    vectors = EmbeddingModel(Fixed()).document_vectors(("tea", "coffee"))
    assert vectors.tolist() == [[1, 0], [1, 0]]


@pytest.mark.parametrize("what", ["document_vectors", "query_vector"])
def test_the_text_of_a_failure_names_the_model_and_no_text(what: str) -> None:
    class Failing(Named):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            raise RuntimeError(f"cannot embed {texts}")

        def embed_query(self, text: str) -> list[float]:
            raise RuntimeError(f"cannot embed {text}")

    model = EmbeddingModel(Failing())
    with pytest.raises(EmbeddingsError, match=r"Failing:small failed .*RuntimeError") as caught:
        getattr(model, what)("secret")
    assert "secret" not in str(caught.value)


def test_the_bundled_table_needs_no_check_and_no_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = EmbeddingModel(StaticEmbeddings())
    assert (model.is_local, model.width) == (True, 256)
    monkeypatch.setattr(threading.Thread, "start", lambda self: pytest.fail("a thread"))
    for text in ("tea", "", "🫖", "\ud800", "tea " * 300):
        query = model.query_vector(text)
        documents = model.document_vectors([text, "x"])
        assert np.array_equal(query, documents[0])
        assert np.array_equal(query, model.query_vector(text))
        length = float(np.linalg.norm(query))
        assert length == pytest.approx(1.0, abs=1e-6) or length == 0


def test_a_subclass_of_the_bundled_ones_is_another_model() -> None:
    class Mine(StaticEmbeddings):
        """Changes something."""

    assert EmbeddingModel(Mine()).is_local is False
    assert EmbeddingModel(Mine()).name != EmbeddingModel(StaticEmbeddings()).name


def test_the_model_after_a_rejected_one() -> None:
    old, new, stranger = (EmbeddingModel(Fixed()) for _ in range(3))
    in_use = ModelInUse(old)
    assert in_use.current is old
    assert in_use.after(old) is None
    in_use.prepare(new)
    assert in_use.current is old
    assert in_use.after(old) is new
    in_use.settle(new)
    assert in_use.current is new
    assert in_use.after(old) is new
    assert in_use.after(new) is None
    assert in_use.after(stranger) is new
    assert ModelInUse(None).after(old) is None


def test_all_queries_are_forgotten() -> None:
    old, new = Counting(), Counting()
    models = [EmbeddingModel(old), EmbeddingModel(new)]
    in_use = ModelInUse(models[0])
    in_use.prepare(models[1])
    for model in models:
        model.query_vector("tea")
    in_use.forget_queries()
    for model in models:
        model.query_vector("tea")
    assert old.asked == new.asked == 2
