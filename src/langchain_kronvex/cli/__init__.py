"""The command line: `langchain-kronvex`, also `python -m langchain_kronvex.cli`."""

from langchain_kronvex.cli.main import main

__all__ = ["main"]
