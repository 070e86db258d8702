"""The command line: `langchain-kronvex`, also `python -m langchain_kronvex.cli`."""
