"""`with_memory` gives a chain history, memories and saving; here with streaming."""

from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableConfig

from langchain_kronvex import KronvexMemory, with_memory
from offline_chat_model import OfflineChatModel

PROMPT = ChatPromptTemplate.from_messages(
    [
        ("system", "You are a helpful assistant.\n{memory_context}"),
        MessagesPlaceholder("chat_history"),
        ("human", "{input}"),
    ]
)


def scope(user_id: str, session_id: str) -> RunnableConfig:
    return {"configurable": {"user_id": user_id, "session_id": session_id}}


def main() -> None:
    with KronvexMemory("sqlite://") as memory:
        chain = with_memory(PROMPT | OfflineChatModel(), memory)
        chain.invoke({"input": "We deploy on Thursdays."}, config=scope("ana", "january"))

        # In another session, the history is empty, but the memory is not.
        reply = ""
        question = {"input": "On which day do we deploy?"}
        for chunk in chain.stream(question, config=scope("ana", "march")):
            print(chunk.text, end="", flush=True)
            reply += chunk.text
        print()
        assert "Thursdays" in reply

        # The streamed exchange was saved too, as the history of that session.
        saved = memory.chat_history("march", user_id="ana").messages
        assert [message.text for message in saved] == [question["input"], reply]


if __name__ == "__main__":
    main()
