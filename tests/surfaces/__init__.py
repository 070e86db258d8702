"""Tests of histories, retrievers, the context step, `with_memory`, tools and middleware."""
