"""How adapters tell a consolidator that a user said something, and what it can consolidate."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.storage.backend import no_consolidation
from langchain_kronvex.storage.client_envelope import AGENT_SESSION, is_session_without_memories


@runtime_checkable
class Consolidator(Protocol):
    """A `KronvexConsolidator`, or anything else that works on the memories of a user later."""

    @property
    def memory(self) -> KronvexMemory:
        """The memory that it works on."""

    def wake(self, user_id: str) -> None:
        """Note that a user has said something; return at once."""


def check_consolidator(value: object, memory: KronvexMemory) -> Consolidator | None:
    """Return a consolidator of this memory, or None.

    Raises:
        InvalidInput: it is something else, or works on another memory.
        NotSupported: the memories are on a Kronvex server.
    """
    if value is None:
        return None
    if not isinstance(value, Consolidator) or value.memory is not memory:
        raise InvalidInput(
            "consolidator must be one of the same memory: KronvexConsolidator(memory, model)."
        )
    check_can_consolidate(memory)
    return value


def check_can_consolidate(memory: KronvexMemory) -> None:
    """Check that the store of a memory keeps what was consolidated.

    Raises:
        NotSupported: the memories are on a Kronvex server.
    """
    if memory.engine.backend.is_remote:
        raise no_consolidation()


def is_user(owner: str) -> bool:
    """Return whether an owner of memories is a user, and neither the agent nor a client's chat."""
    return owner not in ("", AGENT_SESSION) and not is_session_without_memories(owner)
