"""The profile of a user, read without a question: for a first prompt, or for every turn."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from pydantic import BaseModel

from langchain_kronvex import KronvexMemory, KronvexProfile, with_memory


class Traveller(BaseModel):
    """What we keep of each user."""

    home: str | None = None
    diet: str | None = None
    languages: list[str] = []


def main() -> None:
    with KronvexMemory("sqlite://") as memory:
        # One document for each user. Two workers change different fields: both changes stay.
        travellers = KronvexProfile(memory, Traveller)
        with ThreadPoolExecutor(2) as workers:
            workers.submit(travellers.patch, "ana", home="Porto")
            workers.submit(travellers.patch, "ana", languages=["Portuguese", "English"])
        assert travellers.get("ana") == Traveller(home="Porto", languages=["Portuguese", "English"])

        old = memory.remember("Ana eats fish.", memory_type="preference", user_id="ana")
        memory.remember(
            "Ana is vegan now.", memory_type="preference", user_id="ana", supersedes=old.id
        )
        memory.remember(
            "Ana is allergic to peanuts.", memory_type="fact", user_id="ana", pinned=True
        )
        memory.save_exchange("Which train did I take?", "The one at nine.", user_id="ana")
        print(memory.profile("ana"))
        assert "fish" not in str(memory.profile("ana"))
        assert memory.inject_context("What do you know about me?", user_id="ana").memories

        # Every turn: 40 tokens of the profile, then what the message recalls.
        prompt = ChatPromptTemplate.from_messages(
            [("system", "What you know:\n{memory_context}"), ("human", "{input}")]
        )
        chain = prompt | RunnableLambda(lambda value: value.to_string())
        chat = with_memory(chain, memory, profile_tokens=40, top_k=1)
        config: Any = {"configurable": {"user_id": "ana", "session_id": "monday"}}
        said = chat.invoke({"input": "When did my train leave?"}, config)
        print(f"\n{said}")
        assert "Porto" in said
        assert "at nine" in said


if __name__ == "__main__":
    main()
