"""Only a part of the memories: by metadata, by time, by type; directly, and in a chain."""

from datetime import datetime, timedelta, timezone
from typing import Any

from langchain_core.prompts import ChatPromptTemplate

from langchain_kronvex import KronvexMemory, MemoryDraft, with_memory
from offline_chat_model import OfflineChatModel

NOW = datetime.now(timezone.utc)
NOTES = [
    MemoryDraft("The meeting room is booked on Mondays.", metadata={"topic": "work", "floor": 2}),
    MemoryDraft("The meeting room has a new screen.", metadata={"topic": "work", "floor": 4}),
    MemoryDraft("The book club meets on Mondays.", metadata={"topic": "home"}),
    MemoryDraft(
        "Ana prefers short meetings.", memory_type="preference", created_at=NOW - timedelta(days=60)
    ),
]


def main() -> None:
    with KronvexMemory("sqlite://") as memory:
        for note in NOTES:
            memory.remember(
                note.content, user_id="ana", memory_type=note.memory_type,
                metadata=note.metadata, created_at=note.created_at,
            )  # fmt: skip

        def ask(**conditions: Any) -> None:
            found = memory.recall("What about meetings?", user_id="ana", **conditions)
            print(conditions, *(f"\n  {each.content}" for each in found))

        ask(filter={"topic": "work"})
        ask(filter={"topic": "work", "floor": {"$gte": 3}})
        ask(filter={"$or": [{"floor": 2}, {"topic": "home"}]})
        ask(memory_type=["preference", "procedural"])
        ask(since=NOW - timedelta(days=7))

        # The program fixes the condition; what the user or the model says cannot change it.
        prompt = ChatPromptTemplate.from_messages(
            [("system", "Known:\n{memory_context}"), ("human", "{input}")]
        )
        chain = with_memory(prompt | OfflineChatModel(), memory, filter={"topic": "home"})
        config: Any = {"configurable": {"user_id": "ana", "session_id": "monday"}}
        print(chain.invoke({"input": "When does the book club meet?"}, config).content)


if __name__ == "__main__":
    main()
