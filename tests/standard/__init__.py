"""LangChain's own standard suites."""
