"""Embeddings that ship with the package and run offline."""

from langchain_kronvex.embeddings.static import StaticEmbeddings

__all__ = ["StaticEmbeddings"]
