"""Serves the Kronvex REST API from a local store, and uses it with the official SDK.

To run only the server: `langchain-kronvex serve --url sqlite:///memory.db`. Requires
`pip install "langchain-kronvex[server]" kronvex`.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from kronvex import Kronvex  # type: ignore[import-untyped]

from langchain_kronvex import KronvexMemory
from langchain_kronvex.server import create_app


@contextmanager
def serving(memory: KronvexMemory) -> Iterator[str]:
    """Run the server; yield its base URL."""
    config = uvicorn.Config(create_app(memory), port=0, log_level="warning", ws="none")
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


def main() -> None:
    # Without an API key, only programs on this machine have access, with any key.
    with (
        KronvexMemory("sqlite://") as memory,
        serving(memory) as url,
        Kronvex("kv-any", base_url=url) as kronvex,
    ):
        agent = kronvex.create_agent("support-bot")
        agent.remember("Ana prefers short answers.", memory_type="semantic", session_id="ana")
        agent.remember("Ben wants every detail.", memory_type="semantic", session_id="ben")

        (found,) = agent.recall("How long should answers be?", session_id="ana")
        print(f"Ana: {found['content']}  (score {found['score']:.2f})")
        assert found["content"] == "Ana prefers short answers."

        # The text for a prompt contains nothing from other users.
        print(agent.inject_context("How long should answers be?", session_id="ben"))
        assert "Ana" not in agent.inject_context("Ana", session_id="ben")


if __name__ == "__main__":
    main()
