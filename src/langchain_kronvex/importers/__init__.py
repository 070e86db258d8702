"""Moving in: memories and chats of other projects, stored as if they had been said here."""

from langchain_kronvex.importers.entries import Misfit
from langchain_kronvex.importers.importing import ImportReport, import_from

__all__ = ["ImportReport", "Misfit", "import_from"]
