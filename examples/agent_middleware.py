"""`KronvexMemoryMiddleware`: an agent that remembers its users across threads."""

from langchain.agents import create_agent
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from langchain_kronvex import KronvexMemory
from langchain_kronvex.middleware.middleware import KronvexMemoryMiddleware
from offline_chat_model import OfflineChatModel


def scope(user_id: str, thread_id: str) -> RunnableConfig:
    return {"configurable": {"user_id": user_id, "thread_id": thread_id}}


def main() -> None:
    with KronvexMemory("sqlite://") as memory:
        agent = create_agent(
            OfflineChatModel(),
            system_prompt="You plan trips. What you know of the user:\n{memory_context}",
            middleware=[KronvexMemoryMiddleware(memory=memory)],
            checkpointer=InMemorySaver(),  # stores one thread; the memory stores all
        )

        def ask(text: str, config: RunnableConfig) -> str:
            state = agent.invoke({"messages": [{"role": "user", "content": text}]}, config)
            return str(state["messages"][-1].text)

        ask("I am afraid of flying.", scope("ana", "january"))
        ask("I love flying.", scope("ben", "january-2"))

        # In another thread, the agent's state is empty, but the memory is not.
        answer = ask("How do I feel about flying?", scope("ana", "march"))
        print(answer)
        assert "afraid of flying" in answer

        # Recalled memories were part of the prompt, but are not in the state.
        state = agent.get_state(scope("ana", "march")).values
        assert [message.type for message in state["messages"]] == ["human", "ai"]

        for session in memory.sessions(user_id="ana"):
            print(session.session_id, session.messages, "messages")


if __name__ == "__main__":
    main()
