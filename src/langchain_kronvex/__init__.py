"""Long-term memory for LangChain: chains and agents that remember across restarts."""

from langchain_kronvex.core import __version__ as __version__
from langchain_kronvex.core.background import BackgroundWriter
from langchain_kronvex.core.config.settings import PostgresOptions
from langchain_kronvex.core.errors import (
    AgentNotFound,
    BadRequest,
    ConfigurationError,
    ConsolidationRefused,
    EmbeddingMismatch,
    EmbeddingsError,
    ErasurePending,
    InvalidInput,
    KronvexError,
    MemoryClosed,
    MemoryNotFound,
    MissingExtra,
    NotAStore,
    NotSupported,
    QuotaExceeded,
    RateLimited,
    RerankingFailed,
    SaveRefused,
    SchemaTooNew,
    ScopeRequired,
    ServerMisbehaved,
    ServerUnavailable,
    ServiceError,
    StoreBusy,
    StoreError,
    StoreUnavailable,
    Unauthorized,
    WriteLost,
)
from langchain_kronvex.core.explanation import Explanation
from langchain_kronvex.core.records import Scope
from langchain_kronvex.core.redaction import redact_secrets
from langchain_kronvex.core.types import (
    Memory,
    MemoryContext,
    MemoryDraft,
    MemoryStats,
    MoveSummary,
    RecalledMemory,
    Retention,
    SessionSummary,
    UserSummary,
)
from langchain_kronvex.langchain.chat_message_histories import KronvexChatMessageHistory
from langchain_kronvex.langchain.memory_context import KronvexMemoryContext
from langchain_kronvex.langchain.retrievers import KronvexRetriever
from langchain_kronvex.langchain.stores import KronvexKeyValueStore
from langchain_kronvex.langchain.with_memory import with_memory
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.memory.profile.documents import KronvexProfile
from langchain_kronvex.memory.spans import enable_tracing

__all__ = [
    "AgentNotFound",
    "BackgroundWriter",
    "BadRequest",
    "ConfigurationError",
    "ConsolidationRefused",
    "EmbeddingMismatch",
    "EmbeddingsError",
    "ErasurePending",
    "Explanation",
    "InvalidInput",
    "KronvexChatMessageHistory",
    "KronvexError",
    "KronvexKeyValueStore",
    "KronvexMemory",
    "KronvexMemoryContext",
    "KronvexProfile",
    "KronvexRetriever",
    "Memory",
    "MemoryClosed",
    "MemoryContext",
    "MemoryDraft",
    "MemoryNotFound",
    "MemoryStats",
    "MissingExtra",
    "MoveSummary",
    "NotAStore",
    "NotSupported",
    "PostgresOptions",
    "QuotaExceeded",
    "RateLimited",
    "RecalledMemory",
    "RerankingFailed",
    "Retention",
    "SaveRefused",
    "SchemaTooNew",
    "Scope",
    "ScopeRequired",
    "ServerMisbehaved",
    "ServerUnavailable",
    "ServiceError",
    "SessionSummary",
    "StoreBusy",
    "StoreError",
    "StoreUnavailable",
    "Unauthorized",
    "UserSummary",
    "WriteLost",
    "enable_tracing",
    "redact_secrets",
    "with_memory",
]
