"""The tree of errors, and their default messages."""

from __future__ import annotations

import pickle

import pytest

import langchain_kronvex
from inside import errors

CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, Exception)
]
TREE = {
    "KronvexError": ["Exception"],
    "InvalidInput": ["KronvexError", "ValueError"],
    "ScopeRequired": ["InvalidInput"],
    "MemoryNotFound": ["KronvexError", "LookupError"],
    "ConfigurationError": ["KronvexError"],
    "MissingExtra": ["ConfigurationError", "ImportError"],
    "NotSupported": ["KronvexError"],
    "MemoryClosed": ["KronvexError"],
    "EmbeddingsError": ["KronvexError"],
    "EmbeddingMismatch": ["EmbeddingsError"],
    "StoreError": ["KronvexError"],
    "StoreUnavailable": ["StoreError"],
    "StoreBusy": ["StoreError"],
    "NotAStore": ["StoreError"],
    "SchemaTooNew": ["StoreError"],
}


def test_the_tree_is_as_drawn() -> None:
    drawn = {cls.__name__: [base.__name__ for base in cls.__bases__] for cls in CLASSES}
    assert TREE.items() <= drawn.items()
    for name in drawn:
        assert name in errors.__doc__


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_without_a_message_an_error_says_what_its_docstring_begins_with(
    cls: type[Exception],
) -> None:
    assert cls.__doc__
    first, _, _ = cls.__doc__.partition("\n\n")
    assert str(cls()) == " ".join(first.split())
    assert str(cls("what happened")) == "what happened"


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_an_error_survives_pickling(cls: type[Exception]) -> None:
    again = pickle.loads(pickle.dumps(cls("what happened")))
    assert type(again) is cls
    assert str(again) == "what happened"


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_error_is_a_public_name_and_one_of_ours(cls: type[Exception]) -> None:
    assert getattr(langchain_kronvex, cls.__name__) is cls
    assert issubclass(cls, langchain_kronvex.KronvexError)


def test_errors_of_other_libraries_are_described_by_type_alone() -> None:
    assert errors.described(ValueError("not valid: 'my secret'")) == "ValueError"
    assert errors.described(errors.StoreBusy("Held.")) == "StoreBusy: Held."
    assert errors.described(OSError("disk is full")) == "OSError: disk is full"
