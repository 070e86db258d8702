"""Across processes: a new process continues, and concurrent processes lose nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from langchain_kronvex import KronvexMemory
from langchain_kronvex.llama_index import KronvexChatStore

HERE = Path(__file__).parent
PATIENCE = 200.0  # LlamaIndex alone takes seconds to import, on a machine that is not busy
PREPARED = f"""
import json, socket, sys
sys.path.insert(0, {str(HERE)!r})
connected, known = socket.socket.connect, socket.getaddrinfo

def check(host):
    if host not in ("127.0.0.1", b"127.0.0.1") or not sys.argv[1].startswith("http"):
        raise AssertionError("a connection to the network")

def connect(self, address):
    check(address[0])
    return connected(self, address)

def getaddrinfo(host, *rest, **more):
    check(host)
    return known(host, *rest, **more)

socket.socket.connect, socket.getaddrinfo = connect, getaddrinfo
from parts import ScriptedModel, assistant, finish, texts, user
from langchain_kronvex import KronvexMemory
from langchain_kronvex.llama_index import *
"""
BUFFER = (
    PREPARED
    + """
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.memory import ChatMemoryBuffer

url, users, *said = sys.argv[1:]
shown = {}
with KronvexMemory(url) as memory:
    for user_id in users.split():
        model = ScriptedModel()
        store = KronvexChatStore(memory=memory, user_id=user_id)
        buffer = ChatMemoryBuffer.from_defaults(
            token_limit=25, chat_store=store, chat_store_key="monday"
        )
        engine = SimpleChatEngine.from_defaults(llm=model, memory=buffer)
        for message in said:
            engine.chat(message)
        shown[user_id] = [prompt.splitlines() for prompt in model.shown]
print(json.dumps(shown))
"""
)
AGENT = (
    PREPARED
    + """
import warnings
import pydantic
from llama_index.core.agent.workflow import FunctionAgent, ReActAgent
from llama_index.core.memory import Memory

# What LlamaIndex itself is warned of when it makes an agent, and when its ReActAgent runs.
warnings.filterwarnings("ignore", category=pydantic.PydanticDeprecationWarning, module="inspect")
warnings.filterwarnings("ignore", "is_running called from within a step", DeprecationWarning)
url, session, said = sys.argv[1:]
shown = {}

def agent(kind, model):
    if kind == "function":
        return FunctionAgent(llm=model, streaming=False)
    return ReActAgent(llm=model, streaming=False, system_prompt="Be brief.")

async def chat(memory):
    for user_id, message in json.loads(said).items():
        kind, _, _ = user_id.partition(" ")
        model = ScriptedModel(answer=lambda _: assistant("Thought: I know.\\nAnswer: Noted."))
        long_term = Memory.from_defaults(
            session_id=session,
            chat_store=KronvexAsyncChatStore(memory=memory, user_id=user_id),
            memory_blocks=[KronvexMemoryBlock(memory=memory, user_id=user_id)],
        )
        await agent(kind, model).run(message, memory=long_term)
        (shown[user_id],) = model.shown

with KronvexMemory(url) as memory:
    finish(chat(memory))
print(json.dumps(shown))
"""
)
WRITER = (
    PREPARED
    + """
url, name, count = sys.argv[1:]
with KronvexMemory(url) as memory:
    store = KronvexChatStore(memory=memory, user_id="ana", remember=False)
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(int(count)):
        store.add_message("shared", user(f"{name} {number}"))
"""
)


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script, *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def run(script: str, *arguments: str) -> Any:
    """Run a script in a new process; return the JSON that it printed last."""
    child = start(script, *arguments)
    said, _ = child.communicate(timeout=PATIENCE)
    assert child.returncode == 0
    return json.loads(said.splitlines()[-1])


def test_a_buffer_continues_in_a_new_process(store_url: str) -> None:
    """With LlamaIndex's own tokenizer, which needs no network."""
    run(BUFFER, store_url, "ana ben", "one", "two")
    shown = run(BUFFER, store_url, "ana", "three", "four " * 20)["ana"]

    assert shown[0] == [
        "user: one", "assistant: re one", "user: two", "assistant: re two", "user: three"
    ]  # fmt: skip
    assert shown[1][0] == "user: three"  # the window is full
    with KronvexMemory(store_url) as memory:
        kept = [
            len(KronvexChatStore(memory=memory, user_id=name).get_messages("monday"))
            for name in ("ana", "ben")
        ]
    assert kept == [8, 4]


def test_exchanges_of_an_agent_reach_the_prompt_of_another_process(store_url: str) -> None:
    dogs = {"ana": "Biscuit", "ben": "Zorro"}
    told = {
        f"{kind} {user_id}": f"My dog is called {dog}."
        for kind in ("function", "react")
        for user_id, dog in dogs.items()
    }
    before = run(AGENT, store_url, "monday", json.dumps(told))
    asked = run(AGENT, store_url, "tuesday", json.dumps(dict.fromkeys(told, "My dog's name?")))

    assert "<LongTermMemory>" not in "".join(before.values())
    for kind in ("function", "react"):
        anas, bens = asked[f"{kind} ana"], asked[f"{kind} ben"]
        assert "system: <memory>" in anas.splitlines()
        assert "User: My dog is called Biscuit." in anas
        assert "Zorro" not in anas
        assert "Zorro" in bens
        assert "Biscuit" not in bens


def test_two_processes_append_to_one_key_and_lose_nothing(store_url: str) -> None:
    KronvexMemory(store_url).close()
    children = [start(WRITER, store_url, name, "60") for name in ("left", "right")]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.communicate("go\n", timeout=PATIENCE)
    assert [child.returncode for child in children] == [0, 0]
    with KronvexMemory(store_url) as memory:
        kept = KronvexChatStore(memory=memory, user_id="ana").get_messages("shared")

    assert len(kept) == 120
    for name in ("left", "right"):
        mine = [str(m.content) for m in kept if str(m.content).startswith(name)]
        assert mine == [f"{name} {number}" for number in range(60)]


def test_without_llamaindex_the_import_error_says_what_to_install() -> None:
    script = (
        "import sys; sys.modules['llama_index.core'] = None; import langchain_kronvex.llama_index"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE
    )

    assert 'pip install "langchain-kronvex[llama-index]"' in done.stderr
    assert "MissingExtra" in done.stderr
