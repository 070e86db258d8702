"""A memory for MCP clients: desktop assistants, editors, agents.

`langchain-kronvex mcp --user-id ana` serves one user over stdio, and over HTTP the user of the API
key. The model can remember, recall, correct and forget; it can never choose whose memory it is.

Needs the extra: `pip install "langchain-kronvex[mcp]"`.
"""

from __future__ import annotations

from langchain_kronvex.core.options import needing

with needing("The MCP server needs the MCP SDK", extra="mcp"):
    from langchain_kronvex.mcp.server import create_mcp_server

__all__ = ["create_mcp_server"]
