"""OpenTelemetry spans: counts and durations, and never a text, an id, a name or a URL."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from langchain_kronvex.core.options import needing
from langchain_kronvex.core.types import MemoryContext
from langchain_kronvex.memory.engine import Engine
from langchain_kronvex.memory.recalling.recaller import Recaller
from langchain_kronvex.recall.request import RecallRequest
from langchain_kronvex.storage.backend import MemoryBackend

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer, TracerProvider

Counts = Mapping[str, int | bool]
P = ParamSpec("P")
T = TypeVar("T")
_tracer: Tracer | None = None


def enable_tracing(tracer_provider: TracerProvider | None = None) -> None:
    """Record OpenTelemetry spans of every memory of this process, from now on.

    The spans are `kronvex.recall`, `kronvex.remember`, `kronvex.forget` and `kronvex.consolidate`.
    They are children of the caller's span, also of an async one. Their attributes are counts and
    the kind of the store. Without a call of this function no span is made, and nothing is slower.
    Where spans are sent is up to the provider; this package sends nothing. Calling it again only
    changes the provider.

    Args:
        tracer_provider: The provider; the global one by default.

    Raises:
        MissingExtra: `opentelemetry-api` is not installed.
    """
    global _tracer
    with needing("Spans need OpenTelemetry", extra="otel"):
        from opentelemetry import trace
    is_first = _tracer is None
    _tracer = trace.get_tracer("langchain_kronvex", tracer_provider=tracer_provider)
    if is_first:
        for owner, method, name, count in _PLACES:
            setattr(owner, method, traced(name, count)(getattr(owner, method)))


def traced(name: str, count: Callable[[Any], Counts]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Return a decorator that records a span for each call of a method, if tracing is on.

    Args:
        name: The name of the span.
        count: Returns the counts of a result.
    """

    def decorate(method: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(method)
        def call(*args: P.args, **options: P.kwargs) -> T:
            if _tracer is None:
                return method(*args, **options)
            # An exception may come from a provider and quote a text: only its type is recorded.
            silent: Any = {"record_exception": False, "set_status_on_exception": False}
            with _tracer.start_as_current_span(name, **silent) as span:
                try:
                    result = method(*args, **options)
                except BaseException as error:
                    span.set_attribute("error.type", type(error).__name__)
                    raise
                if span.is_recording():
                    told = {**_about(args), **count(result)}
                    span.set_attributes({f"kronvex.{key}": value for key, value in told.items()})
                return result

        return call

    return decorate


def _about(args: tuple[Any, ...]) -> Mapping[str, str | int]:
    """Return the kind of the store of an object, and `top_k` of the request it is given."""
    has_backend, *given = args
    backend: MemoryBackend = getattr(has_backend, "engine", has_backend).backend
    asked = {"top_k": one.top_k for one in given if isinstance(one, RecallRequest)}  # noqa: B035
    return {"backend": backend.location.partition(":")[0], **asked}


def _hits(found: list[Any] | MemoryContext) -> Counts:
    if isinstance(found, MemoryContext):
        return {"hits": len(found.memories), "degraded": found.degraded}
    return {"hits": len(found)}


_PLACES: tuple[tuple[type, str, str, Callable[[Any], Counts]], ...] = (
    (Recaller, "recall", "kronvex.recall", _hits),
    (Recaller, "context", "kronvex.recall", _hits),
    (Engine, "add", "kronvex.remember", lambda stored: {"records": len(stored)}),
    (Engine, "erase", "kronvex.forget", lambda erased: {"records": erased}),
)
