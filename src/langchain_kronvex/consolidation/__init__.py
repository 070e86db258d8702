"""Consolidation: a language model turns what was said into what is known, reversibly."""

from langchain_kronvex.consolidation.consolidator import KronvexConsolidator
from langchain_kronvex.consolidation.report import ConsolidationReport, Operation
from langchain_kronvex.consolidation.schemas import Fact, Preference, Procedure

__all__ = [
    "ConsolidationReport", "Fact", "KronvexConsolidator", "Operation", "Preference", "Procedure",
]  # fmt: skip
