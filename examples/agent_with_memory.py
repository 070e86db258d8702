"""An agent with a memory as one object: `learn`, `chat`, `stream`, and `achat` for servers.

`with_memory` does the work: it loads the session's history, recalls memories of the user, and saves
each exchange. Requires `pip install "langchain-kronvex[openai]"`. Without OPENAI_API_KEY, an
offline stand-in answers.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import Runnable

from langchain_kronvex import KronvexMemory, Memory, with_memory
from offline_openai import chat_openai

PROMPT = ChatPromptTemplate.from_messages(
    [
        ("system", "You are a helpful assistant. What you know of the user:\n{memory_context}"),
        MessagesPlaceholder("chat_history"),
        ("human", "{input}"),
    ]
)


class AgentWithMemory:
    """An agent in one session of one user; it knows what the user said in all sessions."""

    def __init__(
        self, memory: KronvexMemory, model: Runnable[Any, Any], *, user_id: str, session_id: str
    ) -> None:
        self._memory = memory
        self._user_id = user_id
        self._chain = with_memory(PROMPT | model, memory, user_id=user_id, session_id=session_id)

    def learn(self, fact: str) -> Memory:
        """Remember a fact for all conversations; a fact that is known already is stored once."""
        return self._memory.remember(fact, memory_type="semantic", user_id=self._user_id)

    def chat(self, message: str) -> str:
        """Answer; once this returns, both messages survive the process."""
        return str(self._chain.invoke({"input": message}).text)

    def stream(self, message: str) -> Iterator[str]:
        """Answer word by word; the words so far are saved even if the caller stops early."""
        for chunk in self._chain.stream({"input": message}):
            yield chunk.text

    async def achat(self, message: str) -> str:
        """Answer without blocking the event loop."""
        return str((await self._chain.ainvoke({"input": message})).text)


def main() -> None:
    with KronvexMemory("sqlite://") as memory, chat_openai() as model:
        ana = AgentWithMemory(memory, model, user_id="ana", session_id="ana-1")
        ana.learn("The user is allergic to peanuts.")
        print(ana.chat("My favourite dessert is tiramisu."))

        # In another session, the history is empty, but the memory is not.
        ana = AgentWithMemory(memory, model, user_id="ana", session_id="ana-2")
        told = ""
        for word in ana.stream("Which food am I allergic to?"):
            print(word, end="", flush=True)
            told += word
        print()
        assert "peanuts" in told
        assert "tiramisu" in asyncio.run(ana.achat("Which dessert is my favourite?"))

        # Another user sees nothing from Ana.
        ben = AgentWithMemory(memory, model, user_id="ben", session_id="ben-1")
        foreign = ben.chat("Which food am I allergic to, and which dessert is my favourite?")
        assert "peanuts" not in foreign
        assert "tiramisu" not in foreign


if __name__ == "__main__":
    main()
