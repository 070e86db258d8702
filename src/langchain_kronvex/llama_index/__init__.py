"""LlamaIndex on the same memory: chat stores, a memory block, a retriever.

- `KronvexChatStore` keeps conversations for `ChatMemoryBuffer` and the chat engines;
  `KronvexAsyncChatStore` keeps them for `Memory`, which wants another interface.
- `KronvexMemoryBlock` gives `Memory` a long-term memory of the user.
- `KronvexRetriever` returns memories as nodes.

How conversations are kept. A key is a session: the messages under a key are the messages of that
session of the user, each a record of its own, as those of `memory.chat_history` are. So
appending is one insert, and two processes lose nothing; `memory.sessions` lists conversations;
`memory.forget` of a user or a session erases them (items, the other kind of record, are nobody's,
and would stay); and they work on every backend. The price is that a key of LlamaIndex and a
session of LangChain with the same name, of the same user, are one conversation; hence both
frameworks can read every message. A record holds the message as LangChain has it and, where that
does not say everything, also as LlamaIndex has it. What LangChain wrote is read by its text and
tool calls; a message that nobody rewrites stays as it was written.

Needs the extra: `pip install "langchain-kronvex[llama-index]"`.
"""

from __future__ import annotations

from langchain_kronvex.core.errors import MissingExtra

try:
    import llama_index.core as _  # noqa: F401
except ImportError as error:
    raise MissingExtra(
        'This module needs LlamaIndex: pip install "langchain-kronvex[llama-index]"'
    ) from error

from langchain_kronvex.llama_index.chat_stores import KronvexAsyncChatStore, KronvexChatStore
from langchain_kronvex.llama_index.memory_block import KronvexMemoryBlock
from langchain_kronvex.llama_index.retriever import KronvexRetriever

__all__ = [
    "KronvexAsyncChatStore",
    "KronvexChatStore",
    "KronvexMemoryBlock",
    "KronvexRetriever",
]
