"""OpenTelemetry spans: counts and durations, and never a text, an id, a name or a URL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from langchain_kronvex.core.options import needing

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

Counts = dict[str, Any]


class Spans:
    """The spans of this process.

    Attributes:
        begin: Begins a span with a name, on the store at a location. Its block gets a dict for the
            counts, which may begin with some. None while tracing is off.
    """

    begin: Callable[[str, str, Counts], AbstractContextManager[Counts]] | None = None


SPANS = Spans()
UNTRACED: AbstractContextManager[Counts] = nullcontext({})  # in the place of a span


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
    with needing("Spans need OpenTelemetry", extra="otel"):
        from opentelemetry import trace
    tracer = trace.get_tracer("langchain_kronvex", tracer_provider=tracer_provider)

    @contextmanager
    def begin(name: str, location: str, counts: Counts) -> Iterator[Counts]:
        # An exception may come from a provider and quote a text: only its type is recorded.
        silent: Any = {"record_exception": False, "set_status_on_exception": False}
        with tracer.start_as_current_span(name, **silent) as span:
            try:
                yield counts
            except BaseException as error:
                span.set_attribute("error.type", type(error).__name__)
                raise
            told = {"backend": location.partition(":")[0], **counts}
            span.set_attributes({f"kronvex.{key}": value for key, value in told.items()})

    SPANS.begin = begin
