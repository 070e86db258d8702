"""Figures of one app for Prometheus. No label holds a user, a session, an agent or a text."""

from __future__ import annotations

import asyncio
import hmac
import os
import time
import weakref
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from langchain_kronvex.consolidation.report import ConsolidationReport
from langchain_kronvex.core.config.urls import is_loopback
from langchain_kronvex.core.errors import MemoryClosed, described
from langchain_kronvex.core.options import needing
from langchain_kronvex.server.api.responses import VERSION
from langchain_kronvex.server.http.middleware import is_local, logger

with needing("Metrics need prometheus-client", extra="metrics"):
    from prometheus_client import (
        CONTENT_TYPE_LATEST,
        CollectorRegistry,
        Gauge,
        Histogram,
        ProcessCollector,
        generate_latest,
    )
    from prometheus_client import Counter as Total
    from prometheus_client.multiprocess import MultiProcessCollector

if TYPE_CHECKING:
    from langchain_kronvex.memory.memory import KronvexMemory
    from langchain_kronvex.server.service import OpenAgents

PATH = "/metrics"
# Set by prometheus-client's users, and by `serve --workers`: the figures of all processes are
# kept in files of this folder, and each process answers with their sums.
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_FRESH_SECONDS = 10.0  # counting a large store takes a while
_PAUSE_FACTOR = 20  # the pause before the next count, in durations of the last
_PATIENCE_SECONDS = 0.5
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_TOTALS = {
    "recalls": ("recalls", "Recalls"),
    "injects": ("injected_contexts", "Contexts recalled for a prompt"),
    "stores": ("memories_stored", "Memories stored, or renewed"),
    "forgets": ("memories_forgotten", "Memories erased by requests"),
    "failed": ("failed_jobs", "Background jobs given up"),
    "degraded": ("degraded_turns", "Answers that went on with less memory"),
    "failed_consolidations": ("consolidation_failures", "Consolidations given up"),
}
_GAUGES = {
    "pending": ("pending_jobs", "Background jobs not done yet"),
    "waiting": ("consolidation_waiting_users", "Users to be consolidated"),
    "memories": ("memories", "Memories of the agents that are open"),
    "unembedded": ("unembedded_memories", "Their memories without a vector"),
    "size_bytes": ("store_bytes", "Size of the store"),
    "open": ("open_agents", "Agents whose memories are open"),
    "read_at": ("store_read_timestamp_seconds", "When these were last read"),
}
_METHODS = {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"}
_FORWARDED = ("forwarded", "x-forwarded-for", "via")


class Metrics:
    """Counts what an app does, and answers /metrics.

    Counting costs a request some microseconds. What only the store knows is read in a thread when
    somebody asks for the metrics, and no scrape waits longer than half a second for it: it then
    gets the figures read before.

    Args:
        token: Opens /metrics to callers that send it; None for callers on this machine alone.

    Attributes:
        open_agents: Those of the app; it sets them.
    """

    open_agents: OpenAgents

    def __init__(self, token: str | None) -> None:
        self._token = token
        self._registry = CollectorRegistry()
        self._reading: asyncio.Future[None] | None = None
        self._due = 0.0
        self._seen: weakref.WeakKeyDictionary[KronvexMemory, dict[str, int]] = (
            weakref.WeakKeyDictionary()
        )
        self._requests = self._counter("http_requests", "Requests", "route", "method", "status")
        self._seconds = Histogram(
            "kronvex_http_request_seconds", "Seconds until the last byte of a response was sent",
            ["route"], buckets=_BUCKETS, registry=self._registry,
        )  # fmt: skip
        self._totals = {name: self._counter(*each) for name, each in _TOTALS.items()}
        self._runs = self._counter("consolidation_runs", "Consolidations of a user", "ended")
        self._gauges = {
            name: Gauge(
                f"kronvex_{series}", f"{text}.", registry=self._registry,
                # What all processes read from one store is not added up.
                multiprocess_mode="livesum" if name == "pending" else "livemax",
            )
            for name, (series, text) in _GAUGES.items()
        }  # fmt: skip
        about = Gauge(
            "kronvex_build_info", "The version of langchain-kronvex", ["version"],
            registry=self._registry, multiprocess_mode="livemax",
        )  # fmt: skip
        about.labels(VERSION).set(1)
        if FOLDER_VARIABLE in os.environ:
            self._registry = CollectorRegistry()
            MultiProcessCollector(self._registry)  # type: ignore[no-untyped-call]
        else:
            ProcessCollector(registry=self._registry)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a response."""
        method = method if method in _METHODS else "other"
        self._requests.labels(route, method, f"{status // 100}xx").inc()
        self._seconds.labels(route).observe(seconds)

    def called(self, call: Literal["recalls", "injects", "stores", "forgets"], times: int) -> None:
        """Count calls, or the memories that they stored or erased."""
        self._totals[call].inc(times)

    def consolidated(self, report: ConsolidationReport) -> None:
        """Count a consolidation of a user."""
        self._runs.labels("whole" if report.stopped is None else "early").inc()

    async def respond(self, request: Request) -> Response:
        """Answer /metrics."""
        if not self._may_read(request):
            detail = "Send Authorization: Bearer with the server's metrics token."
            return JSONResponse({"detail": detail}, 401, {"WWW-Authenticate": "Bearer"})
        if (self._reading is None or self._reading.done()) and time.monotonic() >= self._due:
            self._reading = asyncio.ensure_future(asyncio.to_thread(self._read))
        if self._reading is not None and not self._reading.done():
            await asyncio.wait([self._reading], timeout=_PATIENCE_SECONDS)
        headers = {"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"}
        return Response(generate_latest(self._registry), headers=headers)

    def _may_read(self, request: Request) -> bool:
        headers = request.headers
        if self._token is None:  # a proxy or a web page on this machine speaks for others
            is_own = is_local(request.scope) and is_loopback(request.url.hostname or "")
            return is_own and not any(name in headers for name in _FORWARDED)
        kind, _, token = headers.get("authorization", "").partition(" ")
        sent, expected = token.strip().encode(), self._token.encode()
        return kind.lower() == "bearer" and hmac.compare_digest(sent, expected)

    def _read(self) -> None:
        """Read what the store and the background work say."""
        began = time.monotonic()
        now: Counter[str] = Counter()
        try:
            for memory in self.open_agents.memories():
                with suppress(MemoryClosed):  # not used for longest, and just closed
                    self._add(memory, now)
            now["read_at"] = round(time.time())
            for name, gauge in self._gauges.items():
                gauge.set(now[name])
        except Exception as error:  # noqa: BLE001 - the time of the last reading tells
            logger.warning("reading the figures for /metrics failed: %s", described(error))
        took = time.monotonic() - began
        self._due = time.monotonic() + max(_FRESH_SECONDS, took * _PAUSE_FACTOR)

    def _add(self, memory: KronvexMemory, now: Counter[str]) -> None:
        """Add the figures of one memory; the counters grow by what is new since the last time."""
        stats, engine = memory.stats(), memory.engine
        totals = {"failed": stats.failed, "degraded": stats.degraded}
        totals["failed_consolidations"] = sum(each.failed for each in engine.further_writers)
        for name, total in totals.items():
            self._totals[name].inc(total - self._seen.get(memory, {}).get(name, 0))
        self._seen[memory] = totals
        for name in ("pending", "memories", "unembedded"):
            now[name] += getattr(stats, name)
        now["open"] += 1
        now["size_bytes"] = max(now["size_bytes"], stats.size_bytes or 0)
        if self.open_agents.consolidates:
            now["waiting"] += len(engine.backend.waiting(engine.clock()))

    def _counter(self, name: str, text: str, *labels: str) -> Total:
        return Total(f"kronvex_{name}", f"{text}.", labels, registry=self._registry)
