"""`RunnableWithMessageHistory` with `memory.chat_history` as its session history factory.

LangChain will remove this class in version 2; `chains.py` shows the replacement, `with_memory`.
"""

from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables.history import RunnableWithMessageHistory

from langchain_kronvex import KronvexMemory
from offline_chat_model import OfflineChatModel

PROMPT = ChatPromptTemplate.from_messages(
    [("system", "You are brief."), MessagesPlaceholder("chat_history"), ("human", "{input}")]
)


def main() -> None:
    with KronvexMemory("sqlite://") as memory:
        chain = RunnableWithMessageHistory(
            PROMPT | OfflineChatModel(),
            memory.chat_history,
            input_messages_key="input",
            history_messages_key="chat_history",
        )

        def ask(session_id: str, text: str) -> str:
            reply = chain.invoke({"input": text}, {"configurable": {"session_id": session_id}})
            print(f"[{session_id}] {text}\n    {reply.text}")
            return str(reply.text)

        ask("monday", "My train to Lisbon leaves from platform seven.")
        assert "platform seven" in ask("monday", "From which platform does my train leave?")
        assert "nothing" in ask("tuesday", "From which platform does my train leave?")

        assert len(memory.chat_history("monday").messages) == 4


if __name__ == "__main__":
    main()
