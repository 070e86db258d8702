"""LlamaIndex on the same memory: chat stores, a memory block, a retriever.

- `KronvexChatStore` stores conversations for `ChatMemoryBuffer` and the chat engines;
  `KronvexAsyncChatStore` stores them for `Memory`, which needs another interface.
- `KronvexMemoryBlock` gives `Memory` a long-term memory of the user.
- `KronvexRetriever` returns memories as nodes.

How conversations are stored. A key is a session: the messages under a key are the messages of that
session of the user, each in a record of its own, like those of `memory.chat_history`. Therefore
appending is a single insert, and concurrent processes lose nothing; `memory.sessions` lists the
conversations; `memory.forget` of a user or a session erases them; and they work on every backend.
A LlamaIndex key and a LangChain session with the same name, of the same user, are the same
conversation, and both frameworks can read every message. A record contains the message in the form
of LangChain and, if that loses something, also in the form of LlamaIndex. Of messages written by
LangChain, the text and the tool calls are read; until they are rewritten, they stay as they are.

Needs the extra: `pip install "langchain-kronvex[llama-index]"`.
"""

from __future__ import annotations

from langchain_kronvex.core.options import needing

with needing("This module needs LlamaIndex", extra="llama-index"):
    from langchain_kronvex.llama_index.chat_stores import KronvexAsyncChatStore, KronvexChatStore
    from langchain_kronvex.llama_index.memory_block import KronvexMemoryBlock
    from langchain_kronvex.llama_index.retriever import KronvexRetriever

__all__ = ["KronvexAsyncChatStore", "KronvexChatStore", "KronvexMemoryBlock", "KronvexRetriever"]
