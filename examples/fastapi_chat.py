"""A chat endpoint with FastAPI: answers are streamed, and each user has their own memory.

    pip install "langchain-kronvex[openai,server]"
    uvicorn fastapi_chat:create_app --factory --app-dir examples

    curl -N localhost:8000/chat -H "Authorization: Bearer token-of-ana" \
        --json '{"session_id": "monday", "message": "I am allergic to peanuts."}'

Run as a program, it shows a conversation across a restart. Without OPENAI_API_KEY, an offline
stand-in answers.
"""

import os
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import Runnable, RunnableConfig
from openai import OpenAIError
from pydantic import BaseModel, Field
from starlette.types import Receive, Scope, Send

from langchain_kronvex import InvalidInput, KronvexMemory, with_memory
from offline_openai import chat_openai

PROMPT = ChatPromptTemplate.from_messages(
    [
        ("system", "You are a helpful assistant. What you know of the user:\n{memory_context}"),
        MessagesPlaceholder("chat_history"),
        ("human", "{input}"),
    ]
)
# Replace this by your own login, for example a session cookie or a signed token.
USERS = {"token-of-ana": "ana", "token-of-ben": "ben"}


def authenticated_user(
    token: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())],
) -> str:
    """Return the user of the request; never take the user from its body."""
    if token.credentials not in USERS:
        raise HTTPException(401, "Unknown token.")
    return USERS[token.credentials]


User = Annotated[str, Depends(authenticated_user)]


class Said(BaseModel):
    """A message of a user in one of their conversations."""

    session_id: str = Field(min_length=1, max_length=255)
    message: str = Field(min_length=1, max_length=20_000)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the memory once; closing it finishes saving in the background."""
    async with KronvexMemory() as memory:  # at KRONVEX_URL, or a file in your data folder
        with chat_openai() as model:
            app.state.memory = memory
            app.state.chain = with_memory(PROMPT | model, memory)
            yield


def create_app() -> FastAPI:
    """Return the application."""
    app = FastAPI(lifespan=lifespan)
    app.add_api_route("/chat", chat, methods=["POST"], response_model=None)
    app.add_api_route("/chat/{session_id:path}", messages, methods=["GET"])
    app.add_exception_handler(InvalidInput, refuse)
    app.add_exception_handler(RequestValidationError, refuse)
    return app


class SpokenResponse(StreamingResponse):
    """A stream that is closed as soon as the client disconnects."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream until its end or until the client disconnects."""
        async with aclosing(self.body_iterator):  # type: ignore[type-var]
            await super().__call__(scope, receive, send)


async def chat(said: Said, user_id: User, request: Request) -> StreamingResponse:
    """Answer with a stream of text, and remember both messages."""
    request.app.state.memory.chat_history(said.session_id, user_id)  # raises for an invalid id
    config: RunnableConfig = {
        "configurable": {"user_id": user_id, "session_id": said.session_id},
    }
    words = spoken(request.app.state.chain, said.message, config)
    try:
        await anext(words, "")  # before the status is sent: without a model it must not be 200
    except OpenAIError as error:
        raise HTTPException(502, "The model cannot be reached; try again.") from error
    return SpokenResponse(words, media_type="text/plain; charset=utf-8")


async def spoken(
    chain: Runnable[Any, Any], message: str, config: RunnableConfig
) -> AsyncIterator[str]:
    """Yield "" once the model answers, then the answer in pieces.

    If the client disconnects, the answer so far is saved.
    """
    begun = False
    async with aclosing(chain.astream({"input": message}, config)) as chunks:  # type: ignore[type-var]
        async for chunk in chunks:
            if not begun:
                begun = True
                yield ""
            yield chunk.text


async def messages(session_id: str, user_id: User, request: Request) -> list[dict[str, str]]:
    """Return a conversation of the user, oldest message first."""
    history = request.app.state.memory.chat_history(session_id, user_id)
    return [{"role": each.type, "text": each.text} for each in await history.aget_messages()]


async def refuse(request: Request, error: Exception) -> JSONResponse:
    """Return the error without quoting the input."""
    detail = str(error)
    if isinstance(error, RequestValidationError):
        detail = "; ".join(f"{each['loc'][-1]}: {each['msg']}" for each in error.errors())
    return JSONResponse({"detail": detail}, status_code=422)


# -- a demonstration ---------------------------------------------------------------------------


@contextmanager
def serving() -> Iterator[str]:
    """Run the server; yield its base URL."""
    config = uvicorn.Config(create_app(), port=0, log_level="warning", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def say(url: str, user: str, session_id: str, message: str) -> str:
    print(f"[{user}, {session_id}] {message}\n    ", end="")
    told = ""
    with httpx.stream(
        "POST",
        f"{url}/chat",
        headers={"Authorization": f"Bearer token-of-{user}"},
        json={"session_id": session_id, "message": message},
        timeout=60,
    ) as answer:
        answer.raise_for_status()
        for word in answer.iter_text():
            print(word, end="", flush=True)
            told += word
    print()
    return told


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KRONVEX_URL"] = f"sqlite:///{Path(folder, 'memory.db')}"
        with serving() as url:
            say(url, "ana", "monday", "I am allergic to peanuts.")
            say(url, "ben", "monday", "I am allergic to pollen.")
        with serving() as url:  # after a restart, in a new conversation
            told = say(url, "ana", "tuesday", "Which allergy do I have?")
    assert "peanuts" in told
    assert "pollen" not in told


if __name__ == "__main__":
    main()
