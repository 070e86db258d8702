"""The store for LangGraph."""
