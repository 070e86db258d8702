"""The MCP server on a file and on PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest

from databases import DATABASES


@pytest.fixture(params=["sqlite", "postgres"])
def any_store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store of each kind."""
    if request.param == "postgres":
        return DATABASES.url(tmp_path)
    return f"sqlite:///{tmp_path / 'memory.db'}"
