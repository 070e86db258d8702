"""Recall as the verbs and adapters use it: ordered, reranked, explained, traced, in a prompt."""
