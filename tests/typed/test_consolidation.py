"""Consolidation and its surfaces have the types they promise."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from langchain_core.language_models import FakeListChatModel
from langchain_core.runnables import Runnable, RunnableLambda
from langgraph.graph import MessagesState, StateGraph
from typing_extensions import assert_type

from langchain_kronvex import KronvexMemory, with_memory
from langchain_kronvex.consolidation import ConsolidationReport, KronvexConsolidator, Operation
from langchain_kronvex.middleware import KronvexMemoryMiddleware
from langchain_kronvex.server import create_app

ANSWER = '{"Fact": [{"text": "Ana lives in Porto.", "sources": [1]}]}'


def consolidator_of(memory: KronvexMemory) -> KronvexConsolidator:
    memory.save_exchange("I live in Porto.", "How nice!", user_id="ana")
    return KronvexConsolidator(memory, FakeListChatModel(responses=[ANSWER]))


def test_runs(memory: KronvexMemory) -> None:
    consolidator = consolidator_of(memory)

    assert_type(consolidator.waiting(), list[str])
    report = assert_type(consolidator.run("ana", dry_run=False), ConsolidationReport)
    assert_type(report.operations, tuple[Operation, ...])
    assert_type(consolidator.undo(report), int)
    assert_type(consolidator.flush(1.0), bool)


async def test_runs_of_the_twins(memory: KronvexMemory) -> None:
    consolidator = consolidator_of(memory)

    report = assert_type(await consolidator.arun("ana", again="all"), ConsolidationReport)
    assert_type(await consolidator.aundo(report), int)
    await consolidator.astart(after_seconds=60)
    assert_type(await consolidator.aflush(1.0), bool)
    await consolidator.astop()


def test_surfaces_take_a_consolidator(memory: KronvexMemory) -> None:
    consolidator, echo = consolidator_of(memory), RunnableLambda(str)

    chain = with_memory(echo, memory, consolidator=consolidator)
    assert_type(chain, Runnable[Any, Any])
    KronvexMemoryMiddleware(memory=memory, consolidator=consolidator)
    graph = StateGraph(MessagesState)
    graph.add_node("consolidate", consolidator.as_node())
    model = FakeListChatModel(responses=[ANSWER])
    assert_type(create_app(memory, consolidate=model), FastAPI)
    app = create_app(memory, consolidate=None)
    app.state.service.close()
