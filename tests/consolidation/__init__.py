"""Consolidation: schemas, answers, prompts, calls and reports."""
