"""The chat endpoint as a process, over HTTP: users, streaming, hanging up, restarting."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from langchain_kronvex import KronvexMemory

from .openai_stub import openai_stub
from .programs import PATIENCE, ChatServer, example


@pytest.fixture(scope="module")
def flow() -> threading.Event:
    """While it is not set, the model stops after its first word."""
    event = threading.Event()
    event.set()
    return event


@pytest.fixture(scope="module")
def model_url(flow: threading.Event) -> Iterator[str]:
    with openai_stub(before_next_word=lambda: flow.wait(PATIENCE)) as url:
        yield url
        flow.set()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KronvexMemory]:
    """The server's memory, opened in this process."""
    path = tmp_path_factory.mktemp("chat") / "memory.db"
    with KronvexMemory(f"sqlite:///{path}", agent_id="default") as memory:
        yield memory


@pytest.fixture(scope="module")
def server(
    model_url: str, store: KronvexMemory, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ChatServer]:
    running = ChatServer(tmp_path_factory.mktemp("server"), model_url, store.location)
    yield running
    running.stop()


def client(server: ChatServer, user: str | None) -> httpx.Client:
    headers = {"Authorization": f"Bearer token-of-{user}"} if user else {}
    return httpx.Client(base_url=server.base_url, headers=headers, timeout=PATIENCE, verify=False)


def say(server: ChatServer, whose: str, session_id: str, message: str, **more: Any) -> str:
    body = {"session_id": session_id, "message": message, **more}
    with client(server, whose) as http:
        answer = http.post("/chat", json=body)
    assert answer.status_code == 200, answer.text
    return answer.text


@pytest.mark.slow
def test_memory_survives_a_restart_for_each_user_apart(
    tmp_path: Path, model_url: str, store_url: str
) -> None:
    server = ChatServer(tmp_path, model_url, store_url)
    say(server, "ana", "one", "My dog is called Miso.")
    say(server, "ben", "one", "My dog is called Biscuit.")
    assert "] User: My dog is called Miso." in say(server, "ana", "two", "My dog's name?")
    server.stop()
    with KronvexMemory(store_url, agent_id="default") as memory:  # nothing was left to do
        known = {each.content.split("\n")[0]: each for each in memory.memories(user_id="ana")}
        assert known["User: My dog is called Miso."].access_count == 1

    server = ChatServer(tmp_path, model_url, store_url)
    of_ana = say(server, "ana", "three", "What is my dog called?")
    of_ben = say(server, "ben", "one", "What is my dog called?")
    server.stop()
    assert "] User: My dog is called Miso." in of_ana
    assert "Biscuit" not in of_ana
    assert " | My dog is called Biscuit. | " in of_ben  # the history of the same session
    assert "Miso" not in of_ben


@pytest.mark.slow
def test_a_body_cannot_say_whose_memory_it_is(server: ChatServer) -> None:
    say(server, "ana", "secrets", "My badge is 4711.")
    for names in (
        {"user_id": "ana"},
        {"user": "ana", "configurable": {"user_id": "ana"}},
        {"config": {"configurable": {"user_id": "ana"}}},
    ):
        for session_id in ("secrets", "ana"):
            told = say(server, "ben", session_id, "What is the badge of Ana?", **names)
            assert "4711" not in told
    with client(server, "ben") as ben, client(server, "ana") as ana:
        assert "4711" not in ben.get("/chat/secrets", params={"user_id": "ana"}).text
        assert [each["role"] for each in ana.get("/chat/secrets").json()] == ["human", "ai"]


def test_the_answer_comes_word_by_word_and_is_saved_whole(
    server: ChatServer, flow: threading.Event
) -> None:
    flow.clear()
    body = {"session_id": "slow", "message": "Tell me something."}
    with client(server, "ana") as ana, ana.stream("POST", "/chat", json=body) as answer:
        pieces = answer.iter_text()
        told = next(pieces)  # while the model is held back
        flow.set()
        rest = "".join(pieces)
        assert rest.endswith("Tell me something.")
        history = ana.get("/chat/slow").json()
    assert [each["text"] for each in history] == ["Tell me something.", told + rest]


def test_a_client_that_hangs_up_keeps_the_conversation(
    server: ChatServer, store: KronvexMemory, flow: threading.Event
) -> None:
    flow.clear()
    body = {"session_id": "hung up", "message": "Tell me everything."}
    try:
        with client(server, "ana") as ana, ana.stream("POST", "/chat", json=body) as answer:
            told = next(answer.iter_text())
        said = eventually_saved(store, "ana", "hung up")
    finally:
        flow.set()
    assert said == ["Tell me everything.", told]


def eventually_saved(store: KronvexMemory, user_id: str, session_id: str) -> list[str]:
    """Wait for the second message: a client that hung up gets no signal."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        said = [message.text for message in store.chat_history(session_id, user_id).messages]
        if len(said) > 1:
            return said
        time.sleep(0.02)
    raise AssertionError(said)


def test_invalid_input_is_rejected_and_stores_nothing(
    server: ChatServer, store: KronvexMemory
) -> None:
    before = store.stats()
    good = {"session_id": "one", "message": "Hello"}
    for user in (None, "mallory"):
        with client(server, user) as stranger:
            assert stranger.post("/chat", json=good).status_code == 401
            assert stranger.get("/chat/one").status_code == 401
    with client(server, "ana") as ana:
        for misfit in (
            {"session_id": ""}, {"session_id": " "}, {"session_id": "\0"}, {"session_id": "\ud800"},
            {"session_id": "s" * 256}, {"session_id": None}, {"message": ""}, {"message": "\ud800"},
            {"message": "m" * 20_001}, {"message": ["Hello"]},
        ):  # fmt: skip
            body = json.dumps(good | misfit)
            refused = ana.post("/chat", content=body, headers={"Content-Type": "application/json"})
            assert refused.status_code == 422, misfit
            assert set(refused.json()) == {"detail"}
    after = store.stats()
    assert (after.messages, after.memories) == (before.messages, before.memories)


async def test_a_client_that_goes_while_the_server_is_sending(
    model_url: str, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The response is cancelled while it waits for the network, not for the model."""
    for name, value in (
        ("KRONVEX_URL", store_url), ("OPENAI_BASE_URL", model_url), ("OPENAI_API_KEY", "none"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    app = example("fastapi_chat", monkeypatch).create_app()
    body = json.dumps({"session_id": "one", "message": "Tell me everything."}).encode()
    requests = iter([{"type": "http.request", "body": body, "more_body": False}])
    sent = asyncio.Event()

    async def receive() -> dict[str, Any]:
        for request in requests:
            return request
        await sent.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message.get("body"):
            sent.set()
            await asyncio.Event().wait()  # a network that takes no more

    async with app.router.lifespan_context(app):
        await app(_scope(), receive, send)
    with KronvexMemory(store_url, agent_id="default") as memory:
        said = [message.text for message in memory.chat_history("one", "ana").messages]
    assert said[0] == "Tell me everything."
    assert said[1] == "You "


async def test_an_unreachable_model_is_an_error(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        away = f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"
        for name, value in (
            ("KRONVEX_URL", store_url), ("OPENAI_BASE_URL", away), ("OPENAI_API_KEY", "none"),
        ):  # fmt: skip
            monkeypatch.setenv(name, value)
        app = example("fastapi_chat", monkeypatch).create_app()
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                answer = await client.post(
                    "/chat",
                    headers={"Authorization": "Bearer token-of-ana"},
                    json={"session_id": "one", "message": "Hello?"},
                )
    assert answer.status_code == 502
    assert "cannot be reached" in answer.json()["detail"]


def _scope() -> dict[str, Any]:
    return {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
        "method": "POST", "scheme": "http", "path": "/chat", "raw_path": b"/chat", "root_path": "",
        "query_string": b"", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
        "headers": [
            (b"authorization", b"Bearer token-of-ana"), (b"content-type", b"application/json"),
        ],
    }  # fmt: skip
