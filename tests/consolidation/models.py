"""Chat models that answer what they are told to, and remember what they were shown."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from pydantic import Field


class TextModel(BaseChatModel):
    """A model without tools and structured output."""

    answer: AIMessage
    shown: list[list[BaseMessage]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self.shown.append(messages)
        return ChatResult(generations=[ChatGeneration(message=self.answer)])

    def _stream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        self.shown.append(messages)
        for word in self.answer.text.split(" "):
            chunk = ChatGenerationChunk(message=AIMessageChunk(f"{word} "))
            manager = kwargs.get("run_manager")
            if manager:
                manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk


class ToolModel(TextModel):
    """A model with tools."""

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, Any]:
        return self.bind(tools=tools)


def called(args: Any, **fields: Any) -> AIMessage:
    """A message that calls the tool of an answer."""
    call = {"name": "consolidation", "args": args, "id": "1"}
    return AIMessage("", tool_calls=[call], **fields)


@contextmanager
def openai_server(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> Iterator[str]:
    """Serve chat completions on a loopback port while in use; gives the base URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            choice = {"index": 0, "finish_reason": "stop", **answer(body)}
            usage = {"prompt_tokens": 120, "completion_tokens": 34, "total_tokens": 154}
            head = {"id": "1", "object": "chat.completion", "created": 0, "model": body["model"]}
            payload = json.dumps({**head, "choices": [choice], "usage": usage}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=[0.02], daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
