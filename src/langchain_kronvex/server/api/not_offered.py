"""What the hosted service offers and this server does not: 501, and the reason."""

from __future__ import annotations

from typing import NoReturn

from fastapi import APIRouter

from langchain_kronvex.server.http.errors import Refused

router = APIRouter(include_in_schema=False)
auth_router = APIRouter(include_in_schema=False)

_REASONS = {
    "ingest": "taking memories out of a text needs a language model. Use remember or bulk-import.",
    "graph": "there is no graph of entities; recall finds memories by their words and meaning.",
    "conflicts": "memories are never superseded, so there are no conflicts.",
    "audit": "no activity is recorded beyond the server's log.",
    "consolidate": "memories are never merged.",
}


def _refuse(what: str) -> NoReturn:
    raise Refused(501, f"Not offered by this server: {_REASONS[what]}")


@router.post("/agents/{agent_id}/ingest")
def ingest(agent_id: str) -> None:
    """Refuse."""
    _refuse("ingest")


@router.get("/agents/{agent_id}/graph")
def graph(agent_id: str) -> None:
    """Refuse."""
    _refuse("graph")


@router.get("/agents/{agent_id}/conflicts")
def conflicts(agent_id: str) -> None:
    """Refuse."""
    _refuse("conflicts")


@router.get("/agents/{agent_id}/audit")
def audit(agent_id: str) -> None:
    """Refuse."""
    _refuse("audit")


@router.post("/agents/{agent_id}/consolidate")
def consolidate(agent_id: str) -> None:
    """Refuse."""
    _refuse("consolidate")


@auth_router.post("/demo")
def demo() -> None:
    """Refuse."""
    raise Refused(501, "Not offered by this server: keys are made by `keys create`.")


@auth_router.api_route("/webhooks", methods=["GET", "POST"])
@auth_router.delete("/webhooks/{webhook_id}")
def webhooks(webhook_id: str = "") -> None:
    """Refuse."""
    raise Refused(501, "Not offered by this server: it calls nobody.")
