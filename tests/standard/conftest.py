"""LangChain's suites carry marks of plugins that are switched off here."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    for mark in ("benchmark", "vcr"):
        config.addinivalue_line("markers", f"{mark}: set by LangChain's standard suites")
