"""Use a memory with tracing on, and print the spans as JSON; started by `test_spans.py`."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import httpx
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import FakeListChatModel
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from langchain_kronvex import EmbeddingsError, KronvexMemory, enable_tracing
from langchain_kronvex.consolidation import KronvexConsolidator
from langchain_kronvex.server import create_app

URL = sys.argv[1]
exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
tracer = provider.get_tracer("test")
SAID, ASKED = "Ana is allergic to peanuts.", "What is Ana allergic to?"


class Broken(Embeddings):
    """Embeddings whose provider is away."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        raise EmbeddingsError(f"cannot embed {texts}")

    def embed_query(self, text: str) -> list[float]:
        raise EmbeddingsError(f"cannot embed {text}")


async def talk(memory: KronvexMemory, number: int) -> None:
    user = f"ana{number}"
    with tracer.start_as_current_span(f"async {number}"):
        await memory.aremember(SAID, user_id=user)
        await memory.arecall(ASKED, user_id=user)


async def talk_at_once(memory: KronvexMemory) -> None:
    await asyncio.gather(*(talk(memory, number) for number in range(8)))


async def request(memory: KronvexMemory) -> None:
    transport = httpx.ASGITransport(create_app(memory))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as api:
        with tracer.start_as_current_span("request"):
            asked = {"query": ASKED, "user_id": "ana0"}
            answer = await api.post("/api/v1/agents/default/recall", json=asked)
        assert answer.status_code == 200, answer.text


def run() -> None:
    with KronvexMemory(URL) as memory:
        with tracer.start_as_current_span("before"):
            memory.remember("Ana likes tea.", user_id="ana-before")
        assert [span.name for span in exporter.get_finished_spans()] == ["before"]
        enable_tracing(provider)
        enable_tracing(provider)  # does not record twice
        with tracer.start_as_current_span("sync"):
            memory.remember(SAID, user_id="ana")
            memory.recall(ASKED, user_id="ana", top_k=3)
            memory.inject_context(ASKED, user_id="ana")
            memory.forget(user_id="ana")
        asyncio.run(talk_at_once(memory))
        asyncio.run(request(memory))
        memory.save_exchange("I live in Porto.", "How nice!", user_id="ana")
        fact = '{"Fact": [{"text": "Ana lives in Porto.", "sources": [1]}]}'
        KronvexConsolidator(memory, FakeListChatModel(responses=[fact])).run("ana")
    with KronvexMemory("sqlite://", embeddings=Broken()) as broken:
        try:
            broken.recall(ASKED, user_id="ana")
        except EmbeddingsError:
            pass
        else:
            raise AssertionError


def shown() -> list[dict[str, Any]]:
    spans = exporter.get_finished_spans()
    names = {span.context.span_id: span.name for span in spans}
    return [
        {
            "name": span.name,
            "parent": span.parent and names.get(span.parent.span_id),
            "attributes": dict(span.attributes or {}),
            "events": len(span.events),
            "failed": "error.type" in (span.attributes or {}),
        }
        for span in sorted(spans, key=lambda span: span.start_time or 0)
    ]


run()
print(json.dumps(shown()))
