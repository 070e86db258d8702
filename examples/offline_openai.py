"""`ChatOpenAI` without an API key or network: a local server for the part of the API it uses.

`OfflineChatModel` gives the answers; it is not an AI model. If OPENAI_API_KEY is set, the examples
use OpenAI instead, with the model named in OPENAI_MODEL if it is set.
"""

import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from langchain_core.messages import convert_to_messages
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from offline_chat_model import answer


@contextmanager
def chat_openai() -> Iterator[ChatOpenAI]:
    """Yield OpenAI's model if OPENAI_API_KEY is set, else the stand-in in the same class."""
    if os.environ.get("OPENAI_API_KEY"):
        yield ChatOpenAI(model=os.environ.get("OPENAI_MODEL") or "gpt-5-mini", timeout=60)
        return
    with offline_openai() as url:
        yield ChatOpenAI(model="offline-stand-in", base_url=url, api_key=SecretStr("none"))


@contextmanager
def offline_openai() -> Iterator[str]:
    """Run a server for programs on this machine; yield its base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), ChatCompletions)
    thread = threading.Thread(target=server.serve_forever, args=[0.05])
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class ChatCompletions(BaseHTTPRequestHandler):
    """`POST /v1/chat/completions`, in one piece or as a stream of words."""

    def do_POST(self) -> None:  # noqa: D102 - the base class requires this name
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = answer(convert_to_messages(body["messages"]))
        with suppress(ConnectionError):  # the client has disconnected
            if body.get("stream"):
                self.begin("text/event-stream")
                for word in re.findall(r"\S+\s*", text):
                    self.send_event({"delta": {"content": word}})
                self.send_event({"delta": {}, "finish_reason": "stop"})
                self.wfile.write(b"data: [DONE]\n\n")
            else:
                message = {"role": "assistant", "content": text}
                self.begin("application/json")
                self.wfile.write(completion({"message": message, "finish_reason": "stop"}))

    def begin(self, content_type: str) -> None:  # noqa: D102
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.end_headers()

    def send_event(self, choice: dict[str, Any]) -> None:  # noqa: D102
        self.wfile.write(b"data: " + completion(choice) + b"\n\n")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: D102
        pass


def completion(choice: dict[str, Any]) -> bytes:
    """Return an answer, or a chunk of one, in OpenAI's format."""
    model = "offline stand-in, not an AI model"
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": model}
    return json.dumps({**head, "choices": [{"index": 0, **choice}]}).encode()
