"""A LangGraph graph with nodes that remember in a `KronvexStore`, across threads and restarts."""

from langchain_core.messages import AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.base import BaseStore

from langchain_kronvex import KronvexMemory
from langchain_kronvex.langgraph import KronvexStore
from offline_chat_model import OfflineChatModel


def answer(
    state: MessagesState, config: RunnableConfig, *, store: BaseStore
) -> dict[str, list[AnyMessage]]:
    """Store the user's message, and answer from the stored messages of this user."""
    notes = ("notes", config["configurable"]["user_id"])
    said = state["messages"][-1].text
    if not said.endswith("?"):
        store.put(notes, said, {"text": said})
    found = store.search(notes, query=said, limit=3)
    lines = [f"[note, {item.created_at:%Y-%m-%d}] {item.value['text']}" for item in found]
    prompt = [("system", "Answer from these notes:\n" + "\n".join(lines)), ("human", said)]
    return {"messages": [OfflineChatModel().invoke(prompt)]}


def ask(text: str, user_id: str) -> str:
    """Answer one message with a newly opened store, like after a restart."""
    with KronvexMemory("sqlite:///graph.db") as memory, KronvexStore(memory) as store:
        graph = StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer")
        state = graph.compile(store=store).invoke(
            {"messages": [HumanMessage(text)]}, {"configurable": {"user_id": user_id}}
        )
    return str(state["messages"][-1].text)


def main() -> None:
    ask("I am allergic to peanuts.", "ana")
    ask("My bicycle is a green tandem.", "ana")
    ask("I am allergic to cats.", "bob")

    reply = ask("What am I allergic to?", "ana")
    print(reply)
    assert "peanuts" in reply
    assert "cats" not in reply

    with KronvexMemory("sqlite:///graph.db") as memory, KronvexStore(memory) as store:
        print(store.list_namespaces(prefix=("notes",)))
        found = store.search(("notes",), filter={"text": {"$ne": "I am allergic to cats."}})
        print([item.value["text"] for item in found])


if __name__ == "__main__":
    main()
