"""What LangChain users see: histories, retrievers, the context step and `with_memory`."""
