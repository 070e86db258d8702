"""Registers marks in LangChain's suites; their plugins are not used here."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    for mark in ("benchmark", "vcr"):
        config.addinivalue_line("markers", f"{mark}: set by LangChain's standard suites")
