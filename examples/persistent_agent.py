"""An agent that continues its last session in a new process, and remembers all sessions.

    python examples/persistent_agent.py --user ana "I am allergic to peanuts."
    python examples/persistent_agent.py --user ana "What am I allergic to?"
    python examples/persistent_agent.py --user ana --new-session "Which allergy do I have?"

Without a message, it runs these three commands, each in its own process. Requires
`pip install "langchain-kronvex[openai]"`. Without OPENAI_API_KEY, an offline stand-in answers.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from uuid import uuid4

from langchain_core.messages import BaseMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import Runnable, RunnableConfig

from langchain_kronvex import KronvexMemory, with_memory
from offline_openai import chat_openai

PROMPT = ChatPromptTemplate.from_messages(
    [
        ("system", "You are a helpful assistant. What you know of the user:\n{memory_context}"),
        MessagesPlaceholder("chat_history"),
        ("human", "{input}"),
    ]
)


class PersistentAgent:
    """An agent of one user. A new object, in any process, continues the last session."""

    def __init__(self, memory: KronvexMemory, model: Runnable[Any, Any], user_id: str) -> None:
        self._memory = memory
        self._user_id = user_id
        self._chain = with_memory(PROMPT | model, memory, user_id=user_id)
        talks = [each for each in memory.sessions(user_id=user_id) if each.messages]
        self.session_id = (talks[0].session_id if talks else None) or new_session_id()

    def start_session(self) -> None:
        """Begin a conversation with an empty history; earlier ones can still be recalled."""
        self.session_id = new_session_id()

    def chat(self, message: str) -> str:
        """Answer in this session."""
        config: RunnableConfig = {"configurable": {"session_id": self.session_id}}
        return str(self._chain.invoke({"input": message}, config).text)

    @property
    def history(self) -> list[BaseMessage]:
        """The messages of this session, oldest first."""
        return self._memory.chat_history(self.session_id, user_id=self._user_id).messages


def new_session_id() -> str:
    return uuid4().hex


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", help="the store; default: a file in your data folder")
    parser.add_argument("--user", default="ana")
    parser.add_argument("--new-session", action="store_true")
    parser.add_argument("message", nargs="?")
    options = parser.parse_args()
    if options.message is None:
        show_three_processes()
        return
    with KronvexMemory(options.url) as memory, chat_openai() as model:
        agent = PersistentAgent(memory, model, options.user)
        if options.new_session:
            agent.start_session()
        print(f"[{options.user}, {len(agent.history)} messages so far] {options.message}")
        print(agent.chat(options.message))


def show_three_processes() -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder, 'memory.db')}"

        def run(*arguments: str) -> str:
            command = [sys.executable, __file__, "--url", url, *arguments]
            said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            print(said, end="")
            return said

        run("I am allergic to peanuts.")
        assert "2 messages so far" in run("What am I allergic to?")
        later = run("--new-session", "Which allergy do I have?")
        assert "0 messages so far" in later
        assert "peanuts" in later


if __name__ == "__main__":
    main()
