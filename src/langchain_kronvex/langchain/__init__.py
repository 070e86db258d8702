"""The LangChain integrations."""
