"""Secrets leave no trace: `before_save` changes or refuses a text before it is stored."""

from langchain_core.prompts import ChatPromptTemplate

from langchain_kronvex import KronvexMemory, SaveRefused, redact_secrets, with_memory
from offline_chat_model import OfflineChatModel

PROMPT = ChatPromptTemplate.from_messages(
    [("system", "Known: {memory_context}"), ("placeholder", "{chat_history}"), ("human", "{input}")]
)


def allowed(text: str) -> str | None:
    """Redact secrets, and refuse what must not be stored in any form."""
    return None if "off the record" in text.lower() else redact_secrets(text)


def main() -> None:
    with KronvexMemory("sqlite:///redacted.db", before_save=allowed) as memory:
        memory.forget(user_id="ana")
        stored = memory.remember("My card is 4111 1111 1111 1111, until May.", user_id="ana")
        print(stored.content)

        try:
            memory.remember("Off the record: I am leaving the company.", user_id="ana")
        except SaveRefused as refusal:
            print(refusal)

        # The model reads what the user typed; the history and the memories hold the redacted text.
        chain = with_memory(PROMPT | OfflineChatModel(), memory, user_id="ana", session_id="monday")
        chain.invoke({"input": "The staging password: hunter2"})
        chain.invoke({"input": "Off the record: I am leaving the company."})
        for message in memory.load_messages("monday", user_id="ana"):
            print(f"{message.type}: {message.text}")

    with open("redacted.db", "rb") as file:
        stored_bytes = file.read()
    assert not any(secret in stored_bytes for secret in (b"4111", b"hunter2", b"leaving"))
    print("None of it is in the file.")


if __name__ == "__main__":
    main()
