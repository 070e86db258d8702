"""A deep agent with a memory of its users, whose files outlive the process as well."""

import sys
from tempfile import TemporaryDirectory
from typing import Any

from langchain_core.runnables import RunnableConfig

from langchain_kronvex import KronvexMemory
from langchain_kronvex.langgraph import KronvexStore
from langchain_kronvex.middleware import KronvexMemoryMiddleware
from offline_chat_model import OfflineChatModel

if sys.version_info < (3, 11):
    sys.exit("deepagents needs Python 3.11.")

from deepagents import create_deep_agent
from deepagents.backends import StoreBackend


class Model(OfflineChatModel):
    """The stand-in of the other examples, which never calls a tool."""

    def bind_tools(self, tools: Any, **options: Any) -> Any:
        """Return the model as it is."""
        return self


def ask(url: str, text: str, thread_id: str) -> str:
    """Answer one message with a newly opened memory, as a new process would."""
    with KronvexMemory(url) as memory, KronvexStore(memory) as store:
        files = StoreBackend(store=store, namespace=lambda runtime: ("ana", "files"))
        files.write(f"/{thread_id}.md", text)  # the agent has tools for that
        agent = create_deep_agent(
            Model(),
            system_prompt="You plan trips. What you know of the user:\n{memory_context}",
            middleware=[KronvexMemoryMiddleware(memory=memory)],
            backend=files,
        )
        whose: RunnableConfig = {"configurable": {"user_id": "ana", "thread_id": thread_id}}
        print([file["path"] for file in files.ls("/").entries or []])
        state = agent.invoke({"messages": [{"role": "user", "content": text}]}, whose)
        return str(state["messages"][-1].text)


def main() -> None:
    with TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/agent.db"
        ask(url, "I am afraid of flying.", "january")
        answer = ask(url, "How do I feel about flying?", "march")
        print(answer)
        assert "afraid of flying" in answer


if __name__ == "__main__":
    main()
