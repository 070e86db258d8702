"""Contract tests for chat histories and LangGraph stores, to subclass in your own tests.

Needs the extra: `pip install "langchain-kronvex[testing]"`.
"""

from __future__ import annotations

from langchain_kronvex.core.options import needing

with needing("The contract tests need pytest and LangGraph", extra="testing"):
    import pytest

    # So that a failed `assert` of these modules shows the values, as in a test file.
    pytest.register_assert_rewrite(
        f"{__name__}.chat_histories", f"{__name__}.search", f"{__name__}.stores"
    )
    from langchain_kronvex.testing.chat_histories import ChatHistoryTests
    from langchain_kronvex.testing.search import StoreSearchTests
    from langchain_kronvex.testing.stores import StoreTests

__all__ = ["ChatHistoryTests", "StoreSearchTests", "StoreTests"]
