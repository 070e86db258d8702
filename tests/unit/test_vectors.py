"""What an Embeddings object returns, checked."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings

from langchain_kronvex import EmbeddingMismatch, EmbeddingsError, InvalidInput
from langchain_kronvex.embeddings import StaticEmbeddings
from langchain_kronvex.embeddings.model import EmbeddingModel, ModelInUse


class Fixed(Embeddings):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[1.0, 0.0] for _ in texts]

    def embed_query(self, text: str) -> list[float]:
        return [1.0, 0.0]


class Named(Fixed):
    model = "small"


def test_only_embeddings_are_taken() -> None:
    for other in (object(), "model", Fixed, None, lambda text: [1.0]):
        with pytest.raises(InvalidInput, match="Embeddings"):
            EmbeddingModel(other)


def test_the_name_tells_models_apart() -> None:
    assert EmbeddingModel(Named()).name == "Named:small"
    assert "Fixed" in EmbeddingModel(Fixed()).name


def test_vectors_come_back_with_unit_length() -> None:
    checked = EmbeddingModel(Fixed()).checked([[3.0, 4.0], [0.0, 0.0], [-2, 0]], 3)
    assert checked.dtype == np.float32
    assert checked.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, 0], [-1, 0]]


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e-6, 1e6, 1e30, 1e300])
def test_very_short_and_very_long_vectors_too(scale: float) -> None:
    checked = EmbeddingModel(Fixed()).checked([[3 * scale, 4 * scale]])
    assert checked[0].tolist() == [pytest.approx(0.6), pytest.approx(0.8)]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_arrays_are_taken_and_left_as_they_are(dtype: type) -> None:
    given = np.array([[3.0, 4.0]], dtype)
    checked = EmbeddingModel(Fixed()).checked(given)
    assert checked[0].tolist() == [pytest.approx(0.6), pytest.approx(0.8)]
    assert given.tolist() == [[3.0, 4.0]]
    row = np.array([3.0, 4.0], dtype)
    EmbeddingModel(Fixed()).keep("tea", row)
    assert row.tolist() == [3.0, 4.0]


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
def test_what_is_no_list_of_vectors_is_refused(raw: Any) -> None:
    with pytest.raises(EmbeddingsError, match="Fixed"):
        EmbeddingModel(Fixed()).checked(raw)


def test_there_must_be_one_for_each_text() -> None:
    with pytest.raises(EmbeddingsError, match="1 vectors for 2 texts"):
        EmbeddingModel(Fixed()).checked([[1.0, 0.0]], 2)


def test_the_width_must_stay() -> None:
    model = EmbeddingModel(Fixed())
    model.checked([[1.0, 0.0]])
    assert model.width == 2
    with pytest.raises(EmbeddingMismatch, match=r"3 dimensions .* 2 before"):
        model.checked([[1.0, 0.0, 0.0]])


def test_queries_are_kept_until_they_are_forgotten() -> None:
    model = EmbeddingModel(Fixed())
    assert model.cached("tea") is None
    vector = model.keep("tea", [0.0, 2.0])
    assert vector.tolist() == [0, 1]
    assert model.cached("tea") is vector
    assert model.cached("Tea") is None
    model.keep("odd \ud800", [1, 0])
    assert model.cached("odd \ud800") is not None
    model.forget_queries()
    assert model.cached("tea") is None


def test_a_refused_query_vector_is_not_kept() -> None:
    model = EmbeddingModel(Fixed())
    with pytest.raises(EmbeddingsError):
        model.keep("tea", [float("nan")])
    assert model.cached("tea") is None


def test_the_cache_is_bounded_and_holds_no_text() -> None:
    model = EmbeddingModel(Fixed())
    for n in range(2000):
        model.keep(f"secret {n}", [1.0, float(n)])
    assert model.cached("secret 0") is None
    assert model.cached("secret 1999") is not None
    assert len(model._cache) <= 1000
    assert "secret" not in repr(model._cache.keys())


def test_many_threads_may_ask() -> None:
    model = EmbeddingModel(Fixed())
    failed: list[Exception] = []

    def ask(thread: int) -> None:
        try:
            for n in range(300):
                model.keep(f"{thread} {n}", [1.0, 1.0])
                model.cached(f"{n}")
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


def test_a_query_is_asked_for_once() -> None:
    class Counting(Fixed):
        asked = 0

        def embed_query(self, text: str) -> list[float]:
            self.asked += 1
            return [3.0, 4.0]

    embeddings = Counting()
    model = EmbeddingModel(embeddings)
    assert model.query_vector("tea") is model.query_vector("tea")
    assert embeddings.asked == 1


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
        checked = model.checked([model.embeddings.embed_query(text)])[0]
        assert np.allclose(query, checked, atol=1e-6)


def test_a_subclass_of_the_bundled_ones_is_another_model() -> None:
    class Mine(StaticEmbeddings):
        """Changes something."""

    assert EmbeddingModel(Mine()).is_local is False
    assert EmbeddingModel(Mine()).name != EmbeddingModel(StaticEmbeddings()).name


def test_which_model_comes_after_a_refused_one() -> None:
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
    old, new = EmbeddingModel(Fixed()), EmbeddingModel(Fixed())
    in_use = ModelInUse(old)
    in_use.prepare(new)
    for model in (old, new):
        model.keep("tea", [1.0, 0.0])
    in_use.forget_queries()
    assert old.cached("tea") is new.cached("tea") is None
