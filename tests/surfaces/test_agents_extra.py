"""Without LangChain's agents, the middleware says what to install, and the tools work."""

from __future__ import annotations

import subprocess
import sys

WITHOUT = "import sys\nfor name in ('langchain', 'langgraph'):\n    sys.modules[name] = None\n"
MIDDLEWARE = """
from langchain_kronvex import MissingExtra
try:
    import langchain_kronvex.middleware
except MissingExtra as error:
    print(error)
"""
TOOLS = """
from langchain_kronvex import KronvexMemory
from langchain_kronvex.tools import create_memory_tools
with KronvexMemory("sqlite://") as memory:
    remember, recall, forget = create_memory_tools(memory)
    config = {"configurable": {"user_id": "ana"}}
    remember.invoke({"content": "Ana prefers tea."}, config)
    print(recall.invoke({"query": "tea"}, config))
"""


def run_without_agents(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT + program], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_error_of_the_middleware_says_what_to_install() -> None:
    assert 'pip install "langchain-kronvex[agents]"' in run_without_agents(MIDDLEWARE)


def test_the_tools_need_only_langchain_core() -> None:
    assert run_without_agents(TOOLS).endswith("Ana prefers tea.\n")
