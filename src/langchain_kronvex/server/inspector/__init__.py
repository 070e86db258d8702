"""The inspector: a web page to see and correct a memory, and the endpoints it asks.

It is loaded only where it is asked for: by `create_app(memory, inspector=True)`, `serve
--inspector` and `inspect`.
"""

from __future__ import annotations

from langchain_kronvex.core.options import needing

with needing("The inspector needs FastAPI and Uvicorn", extra="server"):
    from langchain_kronvex.server.inspector.app import add_inspector, inspector_app

__all__ = ["add_inspector", "inspector_app"]
