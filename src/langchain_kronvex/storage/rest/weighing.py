"""How a server weighs a memory: known only of servers of this package, which explain it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from langchain_kronvex.core import errors
from langchain_kronvex.core.explanation import FEATURES
from langchain_kronvex.core.records import Record
from langchain_kronvex.recall.explanation import Weighed
from langchain_kronvex.recall.request import RecallRequest
from langchain_kronvex.storage.rest.http import api
from langchain_kronvex.storage.rest.remote_agent import RemoteAgent

_FAR = 2**53
_UNEXPLAINED = (
    "This Kronvex server cannot explain a recall; servers of this package can (langchain-kronvex "
    "serve), and so can stores of this package: sqlite:///path.db"
)
_UNSENT = (
    "The memory is not on the server, which would explain it: it waits to be sent, so call flush() "
    "first, or the server refused it (see stats())."
)


def weigh(agent: RemoteAgent, request: RecallRequest, record: Record) -> Weighed | None:
    """Return how the server weighs a memory; None if it is not there any more.

    Raises:
        NotSupported: the server does not explain, or does not have the memory yet.
        ServiceError: the server failed, or its answer is not an explanation.
    """
    known = agent.known.position(record.id)
    if known is None:
        raise errors.NotSupported(_UNSENT)
    asked = api.explain_request(
        request.query, request.top_k, known.server_id, known.session, not request.include_superseded
    )
    try:
        answer = agent.ask(asked)
    except errors.MemoryNotFound:
        return None
    except (errors.AgentNotFound, errors.BadRequest) as error:
        if error.status in (404, 405):  # of the path: the agent is there, with its memory
            raise errors.NotSupported(_UNEXPLAINED) from None
        raise
    if answer == api.NOTHING:  # what `ask` returns for a path that is not there
        raise errors.NotSupported(_UNEXPLAINED)
    return _weighed(answer, request)


def _weighed(answer: object, request: RecallRequest) -> Weighed | None:
    told: Mapping[str, Any] = answer if isinstance(answer, Mapping) else {}
    shares, terms, kept_out = (told.get(name) for name in ("shares", "terms", "kept_out"))
    if not (
        isinstance(shares, Mapping) and isinstance(terms, Mapping) and isinstance(kept_out, list)
    ):
        raise errors.ServerMisbehaved("The server's answer is not an explanation.")
    if not shares:  # it has expired by the server's clock
        return None
    place, of = _number(told.get("place")), _number(told.get("of"))
    # The server is asked for all memories of one owner; other conditions are checked here.
    narrows = (
        request.include_shared, request.scope.only_session, request.memory_types, request.filter,
        request.since, request.until, request.as_of,
    )  # fmt: skip
    return Weighed(
        [],
        [min(max(_number(told.get("similarity")), 0.0), 1.0)],
        [min(max(_number(told.get("probability")), 0.0), 1.0)],
        is_scored="prefilter" not in kept_out,
        place=None if any(narrows) else int(place),
        of=0 if any(narrows) else int(of),
        relevance=_number(told.get("relevance")),
        shares={name: _number(shares.get(name, 0)) for name in FEATURES},
        terms={str(term): _number(share) for term, share in terms.items()},
    )


def _number(value: object) -> float:
    """Return a finite number.

    Raises:
        ServerMisbehaved: it is not one.
    """
    if isinstance(value, int) and abs(value) < _FAR:
        return float(value)
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise errors.ServerMisbehaved("The server's explanation holds something that is not a number.")
