"""Tests of `langchain_kronvex.importers`: files of other projects, made up for these tests."""
