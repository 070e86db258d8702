"""`before_save` of the memory sees the values of a LangGraph store."""

from __future__ import annotations

import pytest

from langchain_kronvex import InvalidInput, KronvexMemory, SaveRefused
from langchain_kronvex.langgraph import KronvexStore

ANA = ("users", "ana")


def no_codes(text: str) -> str | None:
    return None if "secret" in text else text.replace("7391", "XXXX")


def test_values_are_stored_and_found_as_they_may_be() -> None:
    memory = KronvexMemory("sqlite://", before_save=no_codes)
    with memory, KronvexStore(memory, index={"fields": ["doors[*].code"]}) as store:
        store.put(ANA, "7391", {"doors": [{"code": "front 7391"}, {"code": "back 1"}], "n": 7391})

        item = store.get(ANA, "7391")
        assert item is not None
        assert item.value == {"doors": [{"code": "front XXXX"}, {"code": "back 1"}], "n": 7391}
        assert store.search(ANA, query="front XXXX")[0].key == "7391"
        with pytest.raises(SaveRefused):
            store.put(ANA, "other", {"text": ["a secret"]})
        with pytest.raises(InvalidInput, match="JSON"):
            store.put(ANA, "other", {"text": {1, 2}})
        assert store.get(ANA, "other") is None
