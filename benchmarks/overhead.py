"""What `with_memory` adds to a turn, against the bare chain in the same run.

    python benchmarks/overhead.py [memories]

The model answers at once, so that only the work around it is measured. "turn" is a whole
`invoke`, "first token" the time until `stream` yields; `RunnableWithMessageHistory` over the
same store is shown beside it.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import Runnable
from langchain_core.runnables.history import RunnableWithMessageHistory

from langchain_kronvex import KronvexMemory, with_memory
from timing import machine, p50_ms, table
from workload import USER, Workload

TURNS = 200
COLOURS = ("invoke", "ainvoke", "first token")


def chain() -> Runnable[Any, Any]:
    """Return a prompt and a model that answers at once."""
    prompt = ChatPromptTemplate.from_messages(
        [
            ("system", "You are helpful. {memory_context}"),
            MessagesPlaceholder("chat_history"),
            ("human", "{input}"),
        ]
    )
    return prompt | GenericFakeChatModel(messages=itertools.repeat("That is good to know."))


def colours(
    runnable: Runnable[Any, Any], questions: Sequence[str], *, bare: bool = False
) -> list[float]:
    """Return the p50 of invoke, ainvoke and the first token of stream, in milliseconds."""

    def arguments(n: int, phase: str) -> tuple[Any, Any]:
        extra = {"chat_history": [], "memory_context": ""} if bare else {"memory_context": ""}
        config = {"configurable": {"user_id": USER, "session_id": f"{phase}-{n // 10}"}}
        return {"input": f"{questions[n]} ({phase})", **extra}, config

    def first_token(n: int) -> float:
        stream = runnable.stream(*arguments(n, "stream"))
        began = time.perf_counter()
        next(stream)
        took = 1000 * (time.perf_counter() - began)
        for _ in stream:
            pass
        return took

    async def awaited() -> list[float]:
        took = []
        for n in turns:
            began = time.perf_counter()
            await runnable.ainvoke(*arguments(n, "ainvoke"))
            took.append(1000 * (time.perf_counter() - began))
        return took

    turns = range(len(questions))
    return [
        p50_ms(lambda n: runnable.invoke(*arguments(n, "invoke")), turns),
        statistics.median(asyncio.run(awaited())),
        statistics.median(first_token(n) for n in turns),
    ]


def added_ms(memory: KronvexMemory, questions: Sequence[str]) -> list[float]:
    """Return what `with_memory` adds to each of `COLOURS`, in milliseconds."""
    remembering = colours(with_memory(chain(), memory), questions)
    bare = colours(chain(), questions, bare=True)
    return [took - base for took, base in zip(remembering, bare, strict=True)]


WAYS: dict[str, Callable[[KronvexMemory], Runnable[Any, Any]]] = {
    "bare chain": lambda memory: chain(),
    "with_memory": lambda memory: with_memory(chain(), memory),
    "RunnableWithMessageHistory": lambda memory: RunnableWithMessageHistory(
        chain(),
        memory.chat_history,
        input_messages_key="input",
        history_messages_key="chat_history",
    ),
}


def measure(name: str, count: int) -> list[float]:
    """Measure one way on a new store of `count` memories."""
    work = Workload()
    with (
        tempfile.TemporaryDirectory() as folder,
        KronvexMemory(f"sqlite:///{folder}/memory.db") as memory,
    ):
        memory.remember_many(work.drafts(count))
        memory.flush()
        memory.recall("warm", user_id=USER)
        return colours(WAYS[name](memory), work.queries(TURNS, count), bare=name == "bare chain")


def main() -> None:
    """Measure and print the table."""
    warnings.simplefilter("ignore")  # LangChain announces the end of RunnableWithMessageHistory
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 600
    measured = {name: measure(name, count) for name in WAYS}
    base = measured["bare chain"]
    print(machine())
    print(f"{count} memories of the user, 5 earlier turns in the session on average; p50 in ms")
    header = ["", *(cell for colour in COLOURS for cell in (colour, "added"))]
    rows = [
        [
            name,
            *(
                f"{ms:.2f}"
                for pair in zip(took, base, strict=True)
                for ms in (pair[0], pair[0] - pair[1])
            ),
        ]
        for name, took in measured.items()
    ]
    print(table(header, rows))


if __name__ == "__main__":
    main()
