"""A store for LangGraph: the long-term memory of agents, stored with the memories.

Needs the extra: `pip install "langchain-kronvex[langgraph]"`.
"""

from __future__ import annotations

from langchain_kronvex.core.options import needing

with needing("The store needs LangGraph", extra="langgraph"):
    from langchain_kronvex.langgraph.store import KronvexStore

__all__ = ["KronvexStore"]
