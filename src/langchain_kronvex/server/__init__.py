"""The Kronvex REST API, offered from a store of your own.

`langchain-kronvex serve` runs it, `create_app(memory)` gives it to be mounted. It answers the
official SDKs, the tutorials' raw requests and this package's own client: every answer holds the
keys of all of them.

Whose memory a request means is decided as everywhere in this package. `session_id` and `user_id`
both name the user; two different values are a user and one session of theirs. A recall without
either sees what was stored without either, and never everybody's memories; `ServerSettings` has
an option for those who want the hosted service's way. Listings, exports and analytics are of the
whole agent.

Unlike the hosted service: `threshold` is 0.0 unless given, since similarities of different
engines do not compare; the same text of the same type is stored once for each user; nothing is
ever superseded or merged; deleting erases for good, so `restore` finds nothing; an agent of a
readable name is made by the first memory it is sent; `bulk-import` takes sessions and dates.

It answers 501 for ingest (which needs a language model), graph, conflicts, audit, consolidate, the
reports with scores (health of an agent, weekly, global), demo keys and webhooks.

Needs the extra: `pip install "langchain-kronvex[server]"`.
"""

from __future__ import annotations

from langchain_kronvex.core.errors import MissingExtra

try:
    import fastapi as _  # noqa: F401
except ImportError as error:
    raise MissingExtra(
        'The server needs FastAPI and Uvicorn: pip install "langchain-kronvex[server]"'
    ) from error

from langchain_kronvex.server.app import create_app
from langchain_kronvex.server.settings import ServerSettings

__all__ = ["ServerSettings", "create_app"]
