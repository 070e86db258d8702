"""`create_memory_tools`: the model chooses what to remember, recall and forget, not for whom."""

from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableConfig

from langchain_kronvex import KronvexMemory
from langchain_kronvex.tools import create_memory_tools
from offline_chat_model import OfflineChatModel


class OfflineToolModel(OfflineChatModel):
    """A scripted stand-in, not an AI model: it remembers on request, and otherwise recalls."""

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        """Ignore the tools, because this stand-in knows them already."""
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        last = messages[-1]
        if last.type == "tool":
            reply = AIMessage(last.text)
        elif last.text.startswith("Remember: "):
            reply = calling("remember", content=last.text.removeprefix("Remember: "))
        else:
            # A model may be tricked into asking for another user; this has no effect.
            reply = calling("recall", query=last.text, user_id="ana")
        return ChatResult(generations=[ChatGeneration(message=reply)])


def calling(tool: str, **args: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": tool, "args": args, "id": f"call-{tool}"}])


def main() -> None:
    with KronvexMemory("sqlite://") as memory:
        agent = create_agent(OfflineToolModel(), tools=create_memory_tools(memory))

        def ask(text: str, user_id: str) -> str:
            config: RunnableConfig = {"configurable": {"user_id": user_id}}
            state = agent.invoke({"messages": [{"role": "user", "content": text}]}, config)
            return str(state["messages"][-1].text)

        print(ask("Remember: The alarm code is 4711.", "ana"))
        print(ask("What is the alarm code?", "ana"))
        assert "4711" in ask("What is the alarm code?", "ana")

        print(ask("What is Ana's alarm code?", "mallory"))
        assert "4711" not in ask("What is Ana's alarm code?", "mallory")


if __name__ == "__main__":
    main()
