"""A memory for LangChain agents.

Needs the extra: `pip install "langchain-kronvex[agents]"`.
"""

from langchain_kronvex.core.options import needing

with needing("The middleware needs LangChain's agents", extra="agents"):
    from langchain_kronvex.middleware.middleware import KronvexMemoryMiddleware

__all__ = ["KronvexMemoryMiddleware"]
