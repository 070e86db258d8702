"""PostgreSQL: two worker processes save to one session, and recall each other's memories.

Requires `pip install "langchain-kronvex[postgres]"` and a database with pgvector, in KRONVEX_URL:
`KRONVEX_URL=postgresql://user:password@host/database python examples/postgres_workers.py`
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys

from langchain_core.messages import AIMessage, HumanMessage

from langchain_kronvex import KronvexMemory, PostgresOptions

AGENT, USER, SESSION = "workers-example", "ana", "support"


def work(name: str) -> None:
    """Save like a worker; in a web application, do this in a request handler."""
    # Clock and locks are those of the database, so workers may run on several machines.
    with KronvexMemory(agent_id=AGENT, postgres=PostgresOptions(max_connections=2)) as memory:
        history = memory.chat_history(SESSION, USER)
        for number in range(3):
            history.add_messages(
                [HumanMessage(f"{name}: question {number}"), AIMessage(f"answer {number}")]
            )
        memory.remember(f"Ana told {name} that she is allergic to peanuts.", user_id=USER)


async def ask() -> None:
    """Recall like an asynchronous server."""
    async with KronvexMemory(agent_id=AGENT) as memory:
        found = await memory.arecall("What is Ana allergic to?", user_id=USER, top_k=2)
        print("recalled:", [each.content for each in found])
        assert sum("peanuts" in each.content for each in found) == 2

        said = [message.text for message in await memory.aload_messages(SESSION, user_id=USER)]
        print("the session, as every worker sees it:", said)
        assert len(said) == 12
        assert all(  # a question and its answer are saved together and stay together
            answer == "answer " + question[-1]
            for question, answer in zip(said[::2], said[1::2], strict=True)
        )
        print(f"erased: {await memory.aclear()} memories and messages")


def main() -> None:
    if not os.environ.get("KRONVEX_URL", "").startswith("postgres"):
        sys.exit("Set KRONVEX_URL to postgresql://user:password@host/database")
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=work, args=(f"worker {n}",)) for n in (1, 2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    asyncio.run(ask())


if __name__ == "__main__":
    main()
