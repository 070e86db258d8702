"""A store for LangGraph: the long-term memory of agents, stored with the memories.

Needs the extra: `pip install "langchain-kronvex[langgraph]"`.
"""

from __future__ import annotations

from langchain_kronvex.core.errors import MissingExtra

try:
    import langgraph.store.base as _  # noqa: F401
except ImportError as error:
    raise MissingExtra(
        'The store needs LangGraph: pip install "langchain-kronvex[langgraph]"'
    ) from error

from langchain_kronvex.langgraph.store import KronvexStore

__all__ = ["KronvexStore"]
