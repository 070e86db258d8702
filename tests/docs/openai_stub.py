"""A stand-in for the OpenAI API on a loopback port: it answers with its prompt, whole or word by
word, and embeds.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WIDTH = 8


class _Server(ThreadingHTTPServer):
    asked: list[Any]
    refused: str | None
    before_next_word: Callable[[], object] | None


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/embeddings"):
            self._embed(body)
        elif body.get("stream"):
            with suppress(ConnectionError):  # the listener has gone
                self._stream(body)
        else:
            self._answer(200, _completion(body))

    def _embed(self, body: dict[str, Any]) -> None:
        given = body["input"] if isinstance(body["input"], list) else [body["input"]]
        self.server.asked += given
        # Token arrays, as LangChain sends them: here the bytes of the text.
        texts = [text if isinstance(text, str) else bytes(text).decode() for text in given]
        if self.server.refused and any(self.server.refused in text for text in texts):
            self._answer(400, {"error": {"message": f"cannot embed {texts}"}})
            return
        vectors = [_vector(text, body.get("encoding_format")) for text in texts]
        self._answer(
            200,
            {
                "object": "list",
                "model": body["model"],
                "data": [
                    {"object": "embedding", "index": n, "embedding": vector}
                    for n, vector in enumerate(vectors)
                ],
                "usage": {"prompt_tokens": 1, "total_tokens": 1},
            },
        )

    def _stream(self, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for number, word in enumerate(re.findall(r"\S+\s*", _text(body))):
            if number and self.server.before_next_word:
                self.server.before_next_word()
            self._send_event(body, {"role": "assistant", "content": word}, None)
        self._send_event(body, {}, "stop")
        self.wfile.write(b"data: [DONE]\n\n")

    def _send_event(self, body: dict[str, Any], delta: dict[str, str], end: str | None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": end}
        chunk = _head(body, "chat.completion.chunk") | {"choices": [choice]}
        self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        self.wfile.flush()

    def _answer(self, status: int, answer: dict[str, Any]) -> None:
        payload = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


def _text(body: dict[str, Any]) -> str:
    return " | ".join(str(message["content"]) for message in body["messages"])


def _head(body: dict[str, Any], kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 0, "model": body["model"]}


def _completion(body: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": _text(body)}
    return _head(body, "chat.completion") | {
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


def _vector(text: str, encoding: str | None) -> list[float] | str:
    vector = [1.0] * WIDTH
    for word in text.lower().split():
        vector[hashlib.md5(word.encode()).digest()[0] % WIDTH] += 1.0
    if encoding == "base64":
        return base64.b64encode(struct.pack(f"<{WIDTH}f", *vector)).decode()
    return vector


@contextmanager
def openai_stub(
    asked: list[Any] | None = None,
    refused: str | None = None,
    before_next_word: Callable[[], object] | None = None,
) -> Iterator[str]:
    """Serve while in use; gives the base URL.

    `asked` is filled with the texts to embed; a batch that holds the text `refused` fails.
    `before_next_word` is called before every word of a stream but its first.
    """
    server = _Server(("127.0.0.1", 0), _Handler)
    server.asked, server.refused = [] if asked is None else asked, refused
    server.before_next_word = before_next_word
    thread = threading.Thread(target=server.serve_forever, args=[0.02], daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
