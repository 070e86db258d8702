"""Every error this package raises, in one tree.

::

    KronvexError
    ├── InvalidInput              (also a ValueError)
    │   ├── SaveRefused
    │   └── ScopeRequired
    ├── MemoryNotFound            (also a LookupError)
    ├── ConfigurationError
    │   └── MissingExtra          (also an ImportError)
    ├── NotSupported
    ├── MemoryClosed
    ├── EmbeddingsError
    │   └── EmbeddingMismatch
    ├── RerankingFailed
    ├── ConsolidationRefused      the answer of a language model cannot be used
    └── StoreError
        ├── StoreUnavailable
        ├── StoreBusy
        │   └── ErasurePending    forgotten, but some bytes are still to be erased
        ├── NotAStore
        ├── SchemaTooNew
        └── ServiceError          a Kronvex server failed or did not answer
            ├── AgentNotFound
            ├── BadRequest
            ├── QuotaExceeded
            ├── RateLimited
            ├── ServerMisbehaved
            │   └── WriteLost
            ├── ServerUnavailable
            └── Unauthorized

Catch all of them with::

    try:
        memory.remember("...", user_id="ana")
    except KronvexError as error:
        ...

An error raised without a message says what the first paragraph of its docstring says. Messages are
one line of printable characters: what a server, a file or a caller puts into them is escaped.
"""


class KronvexError(Exception):
    """Something went wrong in langchain-kronvex."""

    def __init__(self, message: str | None = None) -> None:
        said, _, _ = (type(self).__doc__ or "").partition("\n\n")
        super().__init__(printable(message or " ".join(said.split())))


class InvalidInput(KronvexError, ValueError):
    """A value does not fit; nothing was stored or changed."""


class SaveRefused(InvalidInput):
    """before_save refused a text; nothing was stored."""


class ScopeRequired(InvalidInput):
    """Say whose memory it is: pass user_id or session_id, for example with
    config={"configurable": {"user_id": "ana", "session_id": "chat-1"}}.
    """


class MemoryNotFound(KronvexError, LookupError):
    """No memory has this id: it never existed, has expired, or was forgotten."""


class ConfigurationError(KronvexError):
    """The memory cannot be opened with these settings."""


class MissingExtra(ConfigurationError, ImportError):
    """An optional part is not installed."""


class NotSupported(KronvexError):
    """This backend cannot do that."""


class MemoryClosed(KronvexError):
    """The memory was closed; open a new KronvexMemory to go on."""


class EmbeddingsError(KronvexError):
    """The embeddings failed, or did not return lists of finite numbers."""


class EmbeddingMismatch(EmbeddingsError):
    """The memories were indexed with embeddings other than those given."""


class RerankingFailed(KronvexError):
    """The reranker returned something other than scores, or documents that it was given."""


class ConsolidationRefused(KronvexError):
    """The language model's answer cannot be used; nothing of it was stored.

    The message lists every fault in words that the model can act on.

    Attributes:
        input_tokens: What the refused call read, 0 if the provider does not say.
        output_tokens: What it wrote.
    """

    input_tokens: int = 0
    output_tokens: int = 0


class StoreError(KronvexError):
    """The store failed."""


class StoreUnavailable(StoreError):
    """The store cannot be opened, read or written."""


class StoreBusy(StoreError):
    """Another process held the store for longer than the time allowed; try again."""


class ErasurePending(StoreBusy):
    """The records are forgotten, but some of their bytes are still in the store. They are erased
    in the background; do not try again.
    """


class NotAStore(StoreError):
    """The file exists, but it is not a store of this package."""


class SchemaTooNew(StoreError):
    """The store was written by a newer version of this package; upgrade langchain-kronvex."""


class ServiceError(StoreError):
    """The Kronvex server failed."""

    status: int | None = None


class Unauthorized(ServiceError):
    """The server rejected the API key. Check KRONVEX_API_KEY or api_key; keys begin with "kv-"."""


class QuotaExceeded(ServiceError):
    """The plan's limit is reached. Wait for the next day or month, or upgrade the plan."""


class RateLimited(ServiceError):
    """Too many requests in a minute. Wait, or spread them.

    Attributes:
        retry_after_seconds: How long the server asks clients to wait.
    """

    retry_after_seconds: float = 60.0


class AgentNotFound(ServiceError):
    """The server has no such agent for this API key. Check KRONVEX_AGENT_ID or agent_id."""


class BadRequest(ServiceError):
    """The server rejected the request, and would reject it again."""


class ServerUnavailable(ServiceError):
    """The server cannot be reached, or failed temporarily; try again.

    Attributes:
        unsent: Whether the request cannot have reached the server, so that repeating it is safe.
        retry_after_seconds: How long the server asks clients to wait, or None.
    """

    unsent: bool = False
    retry_after_seconds: float | None = None


class ServerMisbehaved(ServiceError):
    """The server's answer is unusable: it does not follow the API, or answers another request."""


class WriteLost(ServerMisbehaved):
    """The server reported a memory as stored, but returned another one. The memory was kept on
    this machine. Use one agent for each user, or a server that keeps users apart.
    """


def printable(text: str) -> str:
    """Return a text with control, format and other unprintable characters as escapes."""
    if text.isprintable():
        return text
    escapes = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return "".join(escapes)


def described(error: Exception) -> str:
    """Return the text to log for an error: its message if ours or the system's, else its type.

    Messages of other libraries may quote memory text.
    """
    kind = type(error).__name__
    return f"{kind}: {printable(str(error))}" if isinstance(error, KronvexError | OSError) else kind
