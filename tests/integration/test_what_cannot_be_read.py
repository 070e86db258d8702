"""Messages that could not be read again are not written; unreadable ones do not hide the rest."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from inside import BackgroundWriter
from langchain_kronvex import InvalidInput, KronvexMemory

from .parts import HashedWords

OpenMemory = Callable[..., KronvexMemory]


class Mine(BaseMessage):
    type: str = "mine"


class Secretive:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def holding_itself() -> AIMessage:
    itself: dict[str, Any] = {}
    itself["me"] = itself
    return AIMessage("hello", additional_kwargs=itself)


def deep() -> AIMessage:
    value: list[Any] = []
    for _ in range(3000):
        value = [value]
    return AIMessage("hello", additional_kwargs={"deep": value})


@pytest.mark.parametrize(
    "message",
    [
        Mine(content="hello"),
        holding_itself(),
        deep(),
        AIMessage("hello", additional_kwargs={"n": 10**5000}),
        AIMessage("hello", additional_kwargs={"it": Secretive()}),
        "hello",
        ("human", "hello"),
    ],
    ids=["own class", "holds itself", "deep", "huge number", "no repr", "text", "tuple"],
)
def test_a_message_that_could_not_be_read_again_is_rejected(message: Any, store_url: str) -> None:
    with KronvexMemory(store_url) as memory:
        history = memory.chat_history("monday")
        history.add_messages([HumanMessage("before")])
        with pytest.raises(InvalidInput, match="message"):
            history.add_messages([HumanMessage("with it"), message])
        with pytest.raises(InvalidInput, match="message"):
            history.add_messages(None)  # type: ignore[arg-type]
        history.add_messages([AIMessage("after")])
        assert [each.content for each in history.messages] == ["before", "after"]


def test_a_stored_message_that_cannot_be_read_hides_no_other(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with KronvexMemory(store_url) as memory:
        history = memory.chat_history("monday")
        history.add_messages([HumanMessage("one"), AIMessage("two"), HumanMessage("three")])
        with sqlite3.connect(store_url.removeprefix("sqlite:///")) as connection:
            connection.execute(
                "UPDATE records SET content = ? WHERE kind = 'message' AND content LIKE '%two%'",
                ['{"type": "of the future", "data": {"content": "secret"}}'],
            )
        connection.close()
        with caplog.at_level(logging.WARNING, "langchain_kronvex"):
            assert [each.content for each in history.messages] == ["one", "three"]
    assert "cannot be read" in caplog.text
    assert "secret" not in caplog.text


class Panic(BaseException):
    """As an extension module raises it."""


class Panicking(HashedWords):
    def __init__(self) -> None:
        super().__init__()
        self.panics = 1

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        if self.panics:
            self.panics -= 1
            raise Panic
        return super().embed_documents(texts)


def test_a_panic_in_the_background_is_tried_again(store_url: str) -> None:
    with KronvexMemory(store_url, embeddings=Panicking()) as memory:
        memory.remember("Ana drinks tea.", user_id="ana")
        assert memory.flush(30)
        assert memory.stats().unembedded == 0


def test_a_job_that_ends_its_thread_does_not_stop_others() -> None:
    writer, ran = BackgroundWriter(attempts=1), []

    def leave() -> None:
        sys.exit()

    writer.submit("one", leave)
    writer.submit("two", lambda: ran.append(1))
    assert writer.flush(10)
    assert (ran, writer.failed) == ([1], 1)
    assert "SystemExit" in str(writer.last_error)
    writer.close()


class Quoting(Embeddings):
    def embed_query(self, text: str) -> list[float]:
        return [text]  # type: ignore[list-item]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[text] for text in texts]  # type: ignore[list-item]


@pytest.mark.slow
def test_no_text_is_logged_when_embeddings_return_it(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(0), KronvexMemory(store_url, embeddings=Quoting()) as memory:
        memory.inject_context("TOPSECRET", user_id="ana")
        memory.remember("TOPSECRET too", user_id="ana")
        memory.flush(10)
        assert "TOPSECRET" not in str(memory.stats())
    assert "numbers" in caplog.text
    assert "TOPSECRET" not in caplog.text


def test_the_log_of_a_store_is_not_an_export_file(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from langchain_kronvex import InvalidInput, KronvexMemory\n"
        "memory = KronvexMemory('sqlite:///' + sys.argv[1])\n"
        "memory.remember('acknowledged', user_id='ana')\n"
        "for ending in ('-wal', '-shm', '-journal'):\n"
        "    try:\n"
        "        memory.export(sys.argv[1] + ending)\n"
        "    except InvalidInput:\n"
        "        print('refused')\n"
        "sys.stdout.flush()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "memory.db"
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["refused"] * 3, done.stderr
    with KronvexMemory(f"sqlite:///{path}") as memory:
        assert [each.content for each in memory.memories(user_id="ana")] == ["acknowledged"]


def test_an_import_respects_the_limit_of_a_memory(tmp_path: Path, store_url: str) -> None:
    with KronvexMemory(store_url) as memory:
        memory.remember("short", user_id="ana")
        memory.export(tmp_path / "file.jsonl")
        text = (tmp_path / "file.jsonl").read_text().replace("short", "x" * 1_100_000)
        (tmp_path / "file.jsonl").write_text(text)
        with pytest.raises(
            InvalidInput,
            match=r"Line 2: content has 1100000 characters; at most 1048576 ",
        ):
            memory.import_(tmp_path / "file.jsonl")
