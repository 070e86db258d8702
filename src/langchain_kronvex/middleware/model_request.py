"""Model requests of agents whose system message keeps what was recalled, whoever replaces it."""

from dataclasses import fields
from typing import Any, cast

from langchain_core.messages import SystemMessage

from langchain_kronvex.core.errors import MissingExtra
from langchain_kronvex.middleware.agent_messages import keeping_memories, with_memories

try:
    from langchain.agents.middleware.types import ModelRequest
except ImportError as error:
    raise MissingExtra(
        'The middleware needs LangChain\'s agents: pip install "langchain-kronvex[agents]"'
    ) from error

_NAMES = ("system_message", "system_prompt")
# LangChain 1.0 had a text there.
SYSTEM = next(name for name in _NAMES if name in ModelRequest.__dataclass_fields__)


class RememberingRequest(ModelRequest):
    """A request that puts the context into any system message it is given.

    A middleware that stands behind the memory may replace the whole message, as `dynamic_prompt`
    does.
    """

    context: str | None = None

    def override(self, **changes: Any) -> "RememberingRequest":
        """Return the request with changes, and the context where the system message is new."""
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
            object.__setattr__(self, SYSTEM, _as_kept(system))


def remembering(request: "ModelRequest[Any]", context: str) -> "ModelRequest[Any]":
    """Return a request with the context in its system message, and in any that replaces it."""
    system = with_memories(_system_of(request), context)
    if type(request) is not ModelRequest:  # somebody else's own
        return request.override(**{SYSTEM: _as_kept(system)})
    values = {each.name: getattr(request, each.name) for each in fields(request)}
    kept = RememberingRequest(**{**values, SYSTEM: _as_kept(system)})
    object.__setattr__(kept, "context", context)
    return kept


def _system_of(request: "ModelRequest[Any]") -> SystemMessage | None:
    system = getattr(request, SYSTEM)
    return SystemMessage(system) if isinstance(system, str) else system


def _as_kept(system: SystemMessage | None) -> Any:
    if SYSTEM == "system_message":
        return system
    return system.text if system else None
