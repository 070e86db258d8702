"""`KronvexMemoryContext` fills the `{memory_context}` of a prompt with matching memories."""

from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableConfig

from langchain_kronvex import KronvexMemory, KronvexMemoryContext
from offline_chat_model import OfflineChatModel

PROMPT = ChatPromptTemplate.from_messages(
    [("system", "You plan dinners.\n{memory_context}"), ("human", "{input}")]
)


def main() -> None:
    with KronvexMemory("sqlite://") as memory:
        memory.remember("Ana eats no meat on weekdays.", memory_type="semantic", user_id="ana")
        memory.remember("Ben eats meat every day.", memory_type="semantic", user_id="ben")

        with_context = KronvexMemoryContext(memory=memory) | PROMPT
        # The user is named in the config, so one chain works for every user.
        ana: RunnableConfig = {"configurable": {"user_id": "ana"}}
        question = {"input": "Can I cook meat on weekdays?"}

        prompt = with_context.invoke(question, config=ana)
        print(prompt.to_string())
        assert "no meat on weekdays" in prompt.to_string()
        assert "Ben" not in prompt.to_string()

        print((with_context | OfflineChatModel()).invoke(question, config=ana).text)


if __name__ == "__main__":
    main()
