"""A RAG chain over memories: `memory.as_retriever` returns LangChain documents."""

from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough

from langchain_kronvex import KronvexMemory
from offline_chat_model import OfflineChatModel

PROMPT = ChatPromptTemplate.from_messages(
    [("system", "Answer from these notes:\n{notes}"), ("human", "{question}")]
)
NOTES = [
    "The router stands in the hall cupboard, behind the coats.",
    "The guest network is called Seagull and has no password.",
    "The heating is serviced every November by the firm on Mill Lane.",
]


def as_lines(documents: list[Document]) -> str:
    return "\n".join(
        f"[{each.metadata['memory_type']}, {each.metadata['created_at'][:10]}] {each.page_content}"
        for each in documents
    )


def main() -> None:
    with KronvexMemory("sqlite://") as memory:
        for note in NOTES:
            memory.remember(note, memory_type="semantic", user_id="ana")

        retriever = memory.as_retriever(k=2, user_id="ana")
        chain = (
            {"notes": retriever | as_lines, "question": RunnablePassthrough()}
            | PROMPT
            | OfflineChatModel()
            | StrOutputParser()
        )
        reply = chain.invoke("What is the name of the guest network?")
        print(reply)
        assert "Seagull" in reply


if __name__ == "__main__":
    main()
