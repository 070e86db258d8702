"""Pickles and deep copies of a memory, and of what holds one, open the same store again."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.language_models import FakeListChatModel
from langchain_core.prompts import ChatPromptTemplate
from psycopg_pool import ConnectionPool

from contract.drivers import Backend
from databases import DATABASES
from langchain_kronvex import (
    KronvexError,
    KronvexMemory,
    KronvexMemoryContext,
    NotSupported,
    PostgresOptions,
    with_memory,
)
from langchain_kronvex.tools import create_memory_tools

Copy = Callable[[Any], Any]


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


each_way = pytest.mark.parametrize("copied", [pickled, copy.deepcopy])
NOON = datetime(2026, 4, 28, 12, tzinfo=timezone.utc)


def at_noon() -> datetime:
    return NOON


@pytest.fixture
def original(backend: Backend, tmp_path: Path) -> Iterator[KronvexMemory]:
    with KronvexMemory(
        backend.url(tmp_path), agent_id="guide", cache_megabytes=64, clock=at_noon
    ) as memory:
        memory.remember("Ana prefers tea.", user_id="ana")
        yield memory


@each_way
def test_a_copy_opens_the_same_agent_of_the_same_store(
    original: KronvexMemory, copied: Copy
) -> None:
    with copied(original) as other:
        assert other is not original
        assert (other.location, other.agent_id) == (original.location, original.agent_id)
        assert other.engine.settings.cache_megabytes == 64
        assert other.remember("Ana drinks it at five.", user_id="ana").created_at == NOON
        original.flush()
        other.flush()
    with copied(original) as later:  # the first copy is closed, and only the copy
        assert len(later.memories(user_id="ana")) == len(original.memories(user_id="ana")) == 2


@each_way
def test_what_holds_a_memory_is_copied_with_it(original: KronvexMemory, copied: Copy) -> None:
    original.flush()
    prompt = ChatPromptTemplate.from_messages(
        [("system", "{memory_context}"), ("human", "{input}")]
    )
    parts = copied(
        {
            "retriever": original.as_retriever(k=2, user_id="ana"),
            "step": KronvexMemoryContext(memory=original, user_id="ana"),
            "chain": with_memory(prompt | FakeListChatModel(responses=["Noted."]), original),
            "tools": create_memory_tools(original, user_id="ana"),
            "history": original.chat_history("monday", "ana"),
        }
    )
    with parts["retriever"].memory as memory:
        assert memory is not original
        assert parts["chain"].memory is parts["step"].memory is parts["history"].memory is memory
        assert parts["retriever"].invoke("tea")[0].page_content == "Ana prefers tea."
        assert "Ana prefers tea." in parts["step"].invoke("tea")
        remember, recall, _ = parts["tools"]
        assert "Ana prefers tea." in recall.invoke({"query": "tea"})
        remember.invoke({"content": "Ana likes mate."})
        config: Any = {"configurable": {"user_id": "ana", "session_id": "monday"}}
        assert parts["chain"].invoke({"input": "Hello."}, config).text == "Noted."
        assert [message.text for message in parts["history"].messages] == ["Hello.", "Noted."]
        memory.flush()
        assert "Ana likes mate." in {each.content for each in original.memories(user_id="ana")}


@each_way
async def test_copied_tools_still_work_in_async_code(original: KronvexMemory, copied: Copy) -> None:
    original.flush()
    _, recall, _ = copied(create_memory_tools(original, user_id="ana"))

    assert "Ana prefers tea." in await recall.ainvoke({"query": "tea"})
    recall.func.__self__.memory.close()


# -- a file ------------------------------------------------------------------------------------


def test_another_process_in_another_folder_opens_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with KronvexMemory("sqlite:///memory.db") as memory:
        memory.remember("Ana prefers tea.", user_id="ana")
        Path("retriever.pickle").write_bytes(pickle.dumps(memory.as_retriever(user_id="ana")))
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)
        program = (
            "import pickle, sys\n"
            "found = pickle.load(open(sys.argv[1], 'rb')).invoke('tea')\n"
            "print(found[0].page_content)"
        )
        said = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "retriever.pickle")],
            capture_output=True, text=True, check=True, env={**os.environ},
        )  # fmt: skip
        with copy.deepcopy(memory) as other, memory.for_agent("other") as of_other:
            assert other.location == of_other.location == memory.location

    assert said.stdout == "Ana prefers tea.\n"
    assert list(elsewhere.iterdir()) == []


@each_way
def test_a_memory_in_ram_says_that_it_cannot_be_copied(copied: Copy) -> None:
    with KronvexMemory("sqlite://") as memory:
        for holder in (memory, memory.as_retriever(), create_memory_tools(memory)):
            with pytest.raises(NotSupported, match=r"RAM.*sqlite:///memory\.db"):
                copied(holder)


class Locked(DeterministicFakeEmbedding):
    """Embeddings that refuse to be pickled and copied."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("a secret of the user")

    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("a secret of the user")


def test_the_error_names_what_cannot_be_pickled(tmp_path: Path) -> None:
    url, lock = f"sqlite:///{tmp_path / 'memory.db'}", threading.Lock()
    refusing: dict[str, Any] = {
        "embeddings": Locked(size=8),
        "on_error": lambda error: lock.locked(),
        "clock": lambda: NOON,
    }
    for name, value in refusing.items():
        place = url.replace("memory", name)
        with KronvexMemory(place, **{name: value}) as memory:
            with pytest.raises(NotSupported, match=f"its {name} cannot") as caught:
                pickle.dumps(memory.as_retriever())
            assert "secret" not in str(caught.value)
            assert isinstance(caught.value, KronvexError)
            with copy.deepcopy(memory) as other:  # shares what cannot be copied
                assert other.location == memory.location


def test_a_client_or_a_pool_of_the_user_cannot_be_pickled_but_is_shared_by_copies(
    tmp_path: Path,
) -> None:
    url = DATABASES.url(tmp_path)
    with httpx.Client() as client, ConnectionPool(url, open=True, min_size=1) as pool:
        for name, options in (
            ("http_client", {"url": "http://127.0.0.1:9", "http_client": client}),
            ("postgres", {"postgres": PostgresOptions(pool=pool)}),
        ):
            with KronvexMemory(**options) as memory, copy.deepcopy(memory) as other:
                assert other.engine.settings == memory.engine.settings
                with pytest.raises(NotSupported, match=f"its {name} cannot"):
                    pickle.dumps(memory)


def test_a_pickle_of_named_embeddings_holds_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    with KronvexMemory(url, embeddings="openai:text-embedding-3-small") as memory:
        state = pickle.dumps(memory)
        with pickle.loads(state) as other:
            assert other.location == memory.location

    assert b"text-embedding-3-small" in state
    assert b"sk-secret" not in state


# -- secrets -----------------------------------------------------------------------------------


def test_a_pickle_holds_the_key_that_was_passed_and_not_that_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, outbox = "http://127.0.0.1:9", tmp_path / "outbox.db"
    with KronvexMemory(url, api_key="kv-passed", outbox=outbox) as memory:
        state = pickle.dumps(memory)
        with pickle.loads(state) as other:
            assert "kv-passed" not in f"{other!r} {other.engine.settings!r}"
    assert b"kv-passed" in state

    monkeypatch.setenv("KRONVEX_API_KEY", "kv-around")
    with KronvexMemory(url, outbox=tmp_path / "other.db") as memory:
        state = pickle.dumps(memory)
        pickle.loads(state).close()
    assert b"kv-around" not in state
