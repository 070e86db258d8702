"""Quickstart: remember something, and recall it later, only for the same user."""

from langchain_kronvex import KronvexMemory


def main() -> None:
    # `sqlite://` exists only in this process; `sqlite:///memory.db` or no URL is persistent.
    with KronvexMemory("sqlite://") as memory:
        memory.remember("I'm allergic to peanuts.", user_id="ana")
        memory.remember("I put peanut butter on everything.", user_id="ben")
        memory.remember("My dog Miso is afraid of the vacuum cleaner.", user_id="ana")

        (found,) = memory.recall("What am I allergic to?", user_id="ana", top_k=1)
        print(f"Ana: {found.content}  (similarity {found.similarity:.2f})")
        assert found.content == "I'm allergic to peanuts."

        everything_of_ben = memory.recall("peanuts", user_id="ben")
        print(f"Ben: {[memory.content for memory in everything_of_ben]}")
        assert [memory.user_id for memory in everything_of_ben] == ["ben"]

        # The same memories as a block of text for a system message.
        print(memory.inject_context("What should I know about my dog?", user_id="ana", top_k=1))


if __name__ == "__main__":
    main()
