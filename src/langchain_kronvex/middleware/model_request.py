"""Model requests that keep the recalled context even if their system message is replaced."""

from dataclasses import fields
from typing import Any, cast

from langchain.agents.middleware.types import ModelRequest
from langchain_core.messages import SystemMessage

from langchain_kronvex.middleware.agent_messages import keeping_memories, with_memories

_NAMES = ("system_message", "system_prompt")
# In LangChain 1.0 the system prompt was a text.
SYSTEM = next(name for name in _NAMES if name in ModelRequest.__dataclass_fields__)


class RememberingRequest(ModelRequest):
    """A request that adds the context to every system message that is set.

    A later middleware may replace the whole message, as `dynamic_prompt` does.
    """

    context: str | None = None

    def override(self, **changes: Any) -> "RememberingRequest":
        """Return the request with changes; a new system message gets the context."""
        changed = cast(RememberingRequest, super().override(**changes))
        object.__setattr__(changed, "context", self.context)
        if any(name in changes for name in _NAMES):
            changed._keep()
        return changed

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in _NAMES:
            self._keep()

    def _keep(self) -> None:
        if self.context is not None:
            system = keeping_memories(_system_of(self), self.context)
            object.__setattr__(self, SYSTEM, _as_field(system))


def remembering(request: "ModelRequest[Any]", context: str) -> "ModelRequest[Any]":
    """Return a request with the context in its system message, also if it is replaced later."""
    system = with_memories(_system_of(request), context)
    if type(request) is not ModelRequest:  # another middleware's subclass
        return request.override(**{SYSTEM: _as_field(system)})
    values = {each.name: getattr(request, each.name) for each in fields(request)}
    kept = RememberingRequest(**{**values, SYSTEM: _as_field(system)})
    object.__setattr__(kept, "context", context)
    return kept


def _system_of(request: "ModelRequest[Any]") -> SystemMessage | None:
    system = getattr(request, SYSTEM)
    return SystemMessage(system) if isinstance(system, str) else system


def _as_field(system: SystemMessage | None) -> Any:
    if SYSTEM == "system_message":
        return system
    return system.text if system else None
