"""A Kronvex API in this process: one web server for the whole session.

A test's API stands below a path of its own. What it says of an agent is passed on as being of that
test's agent, so that all tests share one `create_app`, whose making takes longer than most tests.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import threading
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import uvicorn

from langchain_kronvex import KronvexMemory
from langchain_kronvex.server import create_app


class ServedApis:
    """APIs by their folders."""

    def __init__(self) -> None:
        self._names: dict[Path, str] = {}
        self._numbers = itertools.count()
        self._app: Any = None
        self.port = 0

    def url(self, folder: Path) -> str:
        """Return the URL of a folder's API, which is made when it is first asked for."""
        if self._app is None:
            self._start()
        name = self._names.setdefault(folder, f"test{next(self._numbers)}")
        return f"http://127.0.0.1:{self.port}/{name}"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        _, name, *rest = scope["raw_path"].decode().split("/")
        if rest[:3] == ["api", "v1", "agents"] and len(rest) > 3:
            rest[3] = f"{name}.{rest[3]}"
        path = "/" + "/".join(rest)
        there = {**scope, "path": unquote(path), "raw_path": path.encode()}
        await self._app(there, receive, send)

    def _start(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._memory = KronvexMemory(f"sqlite:///{self._folder.name}/served.db")
        self._app = create_app(self._memory)
        config = uvicorn.Config(
            self, port=0, log_level="critical", lifespan="off", access_log=False, ws="none"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=asyncio.run, args=(server.serve(),), daemon=True)
        thread.start()
        while not server.started:
            thread.join(0.01)
        self.port = server.servers[0].sockets[0].getsockname()[1]


APIS = ServedApis()

# What a server does in its own way, by file or test; each with the reason.
LEFT_OUT = {
    "test_what_is_expected_must_be_there": "NotSupported: the API has no compare-and-set",
    "test_one_miss_stores_nothing_of_all": "NotSupported: the API has no compare-and-set",
    "test_an_expired_record_counts_as_absent": "NotSupported: the API has no compare-and-set",
    "test_appending_from_several_threads_and_memories_loses_nothing": "NotSupported: as above",
    "test_vectors_are_stored_with_their_model_only": "ConfigurationError: the server embeds",
    "test_reindexing": "NotSupported: the server embeds, there is nothing to reindex",
    "test_vectors": "ConfigurationError: the server embeds, embeddings cannot be chosen",
    "test_accesses": "the server counts what it returns, and a little later",
    "test_access_counts_survive_being_told_again": "the server counts what it returns",
    "test_an_expired_text_stored_again_is_a_new_memory": "compares the server's access count",
    "test_recall_counts_and_finds_as_before": "the server counts, and takes no counts",
    "test_vectors_may_come_along": "NotSupported: the server keeps the vectors to itself",
    "test_with_vectors_nothing_is_embedded_anew": "ConfigurationError: the server embeds",
    "test_without_vectors_they_are_fetched_in_the_background": "ConfigurationError: it embeds",
    "test_vectors_of_the_same_name_and_another_width_are_not_compared": "NotSupported: vectors",
    "test_a_store_of_another_width_takes_none": "ConfigurationError: the server embeds",
    "test_a_memory_of_words_alone_moves": "ConfigurationError: the server embeds",
    "test_an_exchange_is_found_by_the_users_words_before_the_answers": "the server's ranking",
    "test_scores_are_shares_and_confidence_is_the_formula": "the server rounds probabilities to 0",
    "test_the_words_of_an_expired_memory_find_nothing": "the server's ranking",
    "test_remember_many_of_thousands_keeps_all": "a request for each takes long",
    "test_a_restart_changes_no_score": "a request for each takes long",
}
# Files and tests that take long over HTTP; `make soak` runs them.
LONG = {
    "test_bad_input", "test_forms", "test_replies", "test_context", "test_recalling",
    "test_scopes", "test_listing", "test_one_bad_draft_stores_none",
}  # fmt: skip
