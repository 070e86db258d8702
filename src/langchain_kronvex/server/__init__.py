"""The Kronvex REST API, served from a store of your own.

`langchain-kronvex serve` runs it, and `create_app(memory)` returns it to be mounted. It serves the
official SDKs, the tutorials' raw requests and this package's own client: every response holds the
keys of all of them.

The ids mean the same as everywhere in this package. `session_id` and `user_id` both name the
user; two different values are a user and one of the user's sessions. A recall without either sees
what was stored without either, and never all users' memories; `ServerSettings.all_sessions`
changes that to the hosted service's way. Listings, exports and analytics cover the whole agent.

Unlike the hosted service: `threshold` is 0.0 unless given, since similarities of different
engines do not compare. The same text of the same type is stored once for each user. Nothing is
merged, and superseded only by a `supersedes` in a request. Deleting erases for good, so `restore`
finds superseded memories only. The first memory sent to an agent with a readable name makes the
agent. `bulk-import` takes sessions and dates. With `consolidate=` a language model derives what is
known of each user; `is_meta` and `sources` mark such memories.

Any number of processes may serve one store; rate limits and counts of calls hold for each.

It answers 501 for ingest (which needs a language model), graph, conflicts, audit, the reports with
scores (health of an agent, weekly, global), demo keys and webhooks, and without `consolidate=` for
consolidate.

With `inspector=True` it also serves a web page at `/inspector` to see and correct memories.

Needs the extra: `pip install "langchain-kronvex[server]"`.
"""

from __future__ import annotations

from langchain_kronvex.core.options import needing

with needing("The server needs FastAPI and Uvicorn", extra="server"):
    from langchain_kronvex.server.app import create_app
    from langchain_kronvex.server.settings import ServerSettings

__all__ = ["ServerSettings", "create_app"]
