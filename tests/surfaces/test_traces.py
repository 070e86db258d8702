"""What a chain or an agent recalls appears in its trace as a retriever run, with timing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.schemas import Run

from langchain_kronvex import KronvexMemory, KronvexMemoryContext, with_memory
from langchain_kronvex.middleware import KronvexMemoryMiddleware

from .agents import AgentModel, asking
from .runs import ASYNC_CONFIG_COMES_ALONG

PROMPT = ChatPromptTemplate.from_messages([("system", "{memory_context}"), ("user", "{input}")])


class Traces(BaseTracer):
    """Keeps the runs at the top."""

    def __init__(self) -> None:
        super().__init__()
        self.roots: list[Run] = []

    def _persist_run(self, run: Run) -> None:
        self.roots.append(run)

    def retrievals(self) -> list[Run]:
        def below(run: Run) -> Iterator[Run]:
            yield run
            for child in run.child_runs:
                yield from below(child)

        return [run for root in self.roots for run in below(root) if run.run_type == "retriever"]


@pytest.fixture
def memory() -> Iterator[KronvexMemory]:
    with KronvexMemory("sqlite://") as memory:
        memory.remember("Ana drinks tea.", user_id="ana")
        yield memory


def surfaces(memory: KronvexMemory) -> dict[str, tuple[Runnable[Any, Any], Any]]:
    chain: Any = PROMPT | RunnableLambda(lambda value: value.to_string())
    agent: Any = create_agent(AgentModel(), middleware=[KronvexMemoryMiddleware(memory=memory)])
    asked = {"input": "Does Ana drink tea?"}
    return {
        "with_memory": (with_memory(chain, memory), asked),
        "context": (KronvexMemoryContext(memory=memory) | chain, asked),
        "agent": (agent, asking("Does Ana drink tea?")),
    }


@pytest.mark.parametrize("surface", ["with_memory", "context", "agent"])
# Before Python 3.11, nothing tells the recall of an async caller which run it is part of.
@pytest.mark.parametrize("colour", ["sync", "async"] if ASYNC_CONFIG_COMES_ALONG else ["sync"])
async def test_a_recall_is_a_retriever_run(
    memory: KronvexMemory, surface: str, colour: str, caplog: pytest.LogCaptureFixture
) -> None:
    runnable, asked = surfaces(memory)[surface]
    traces = Traces()
    config: Any = {
        "callbacks": [traces],
        "configurable": {"user_id": "ana", "thread_id": "monday"},
    }
    with caplog.at_level(logging.DEBUG, "langchain_kronvex"):
        if colour == "sync":
            runnable.invoke(asked, config)
        else:
            await runnable.ainvoke(asked, config)
    (run,) = traces.retrievals()
    assert len(traces.roots) == 1  # it is below the run of the chain
    assert (run.name, run.inputs) == ("KronvexMemory", {"query": "Does Ana drink tea?"})
    (document,) = run.outputs["documents"]
    assert document.page_content == "Ana drinks tea."
    assert 0 < document.metadata["similarity"] <= 1
    assert run.end_time >= run.start_time
    lines = [r.getMessage() for r in caplog.records if "recalled" in r.getMessage()]
    assert len(lines) == 1
    assert "recalled 1 memories in" in lines[0]
    assert "tea" not in lines[0]


def test_a_failing_recall_is_a_failed_run(memory: KronvexMemory) -> None:
    traces = Traces()
    step = KronvexMemoryContext(memory=memory, user_id="ana")

    def fails(request: Any) -> Any:
        raise OSError("the disk is gone")

    memory.engine.backend.recall = fails  # type: ignore[method-assign]
    given = step.invoke({"input": "tea?"}, {"callbacks": [traces]})
    assert given["memory_degraded"]
    (run,) = traces.retrievals()
    assert "the disk is gone" in str(run.error)
