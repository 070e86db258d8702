"""Long-term memory for LangChain: chains and agents that remember across restarts."""

from langchain_kronvex.background import BackgroundWriter
from langchain_kronvex.chains import with_memory
from langchain_kronvex.chat_message_histories import KronvexChatMessageHistory
from langchain_kronvex.errors import (
    ConfigurationError,
    EmbeddingMismatch,
    EmbeddingsError,
    InvalidInput,
    KronvexError,
    MemoryClosed,
    MemoryNotFound,
    MissingExtra,
    NotAStore,
    NotSupported,
    SchemaTooNew,
    ScopeRequired,
    StoreBusy,
    StoreError,
    StoreUnavailable,
)
from langchain_kronvex.memory import KronvexMemory
from langchain_kronvex.memory_context import KronvexMemoryContext
from langchain_kronvex.retrievers import KronvexRetriever
from langchain_kronvex.types import (
    Memory,
    MemoryContext,
    MemoryDraft,
    MemoryStats,
    RecalledMemory,
    Scope,
    SessionSummary,
)

__all__ = [
    "BackgroundWriter",
    "ConfigurationError",
    "EmbeddingMismatch",
    "EmbeddingsError",
    "InvalidInput",
    "KronvexChatMessageHistory",
    "KronvexError",
    "KronvexMemory",
    "KronvexMemoryContext",
    "KronvexRetriever",
    "Memory",
    "MemoryClosed",
    "MemoryContext",
    "MemoryDraft",
    "MemoryNotFound",
    "MemoryStats",
    "MissingExtra",
    "NotAStore",
    "NotSupported",
    "RecalledMemory",
    "SchemaTooNew",
    "Scope",
    "ScopeRequired",
    "SessionSummary",
    "StoreBusy",
    "StoreError",
    "StoreUnavailable",
    "with_memory",
]
