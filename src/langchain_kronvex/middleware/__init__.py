"""A memory for LangChain agents.

Needs the extra: `pip install "langchain-kronvex[agents]"`.
"""

from langchain_kronvex.core.errors import MissingExtra

try:
    import langchain.agents.middleware as _  # noqa: F401
except ImportError as error:
    raise MissingExtra(
        'The middleware needs LangChain\'s agents: pip install "langchain-kronvex[agents]"'
    ) from error

from langchain_kronvex.middleware.middleware import KronvexMemoryMiddleware

__all__ = ["KronvexMemoryMiddleware"]
