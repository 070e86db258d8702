"""A memory for LangChain agents."""

from langchain_kronvex.middleware.middleware import KronvexMemoryMiddleware

__all__ = ["KronvexMemoryMiddleware"]
