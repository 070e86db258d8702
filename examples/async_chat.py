"""Two concurrent users of one chain and one memory, with `ainvoke` and `astream`."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import Runnable, RunnableConfig

from langchain_kronvex import KronvexMemory, with_memory
from offline_chat_model import OfflineChatModel

PROMPT = ChatPromptTemplate.from_messages(
    [
        ("system", "You are a helpful assistant.\n{memory_context}"),
        MessagesPlaceholder("chat_history"),
        ("human", "{input}"),
    ]
)


async def talk(chain: Runnable[Any, Any], user_id: str, fact: str) -> str:
    def scope(session_id: str) -> RunnableConfig:
        return {"configurable": {"user_id": user_id, "session_id": f"{user_id}-{session_id}"}}

    await chain.ainvoke({"input": fact}, config=scope("morning"))
    question = {"input": "What is my dog called?"}
    chunks = [chunk.text async for chunk in chain.astream(question, config=scope("evening"))]
    return "".join(chunks)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with KronvexMemory(f"sqlite:///{Path(folder, 'memory.db')}") as memory:
            chain = with_memory(PROMPT | OfflineChatModel(), memory)
            ana, ben = await asyncio.gather(
                talk(chain, "ana", "My dog is called Miso."),
                talk(chain, "ben", "My dog is called Biscuit."),
            )
    print(f"ana: {ana}\nben: {ben}")
    assert ana.endswith("My dog is called Miso.")
    assert ben.endswith("My dog is called Biscuit.")


if __name__ == "__main__":
    asyncio.run(main())
