"""A Kronvex API in this process: one web server for the whole session.

A test's API stands below a path of its own. What it says of an agent is passed on as being of that
test's agent, so that many tests share one `create_app`, whose making takes longer than most tests.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import uvicorn

from langchain_kronvex import KronvexMemory
from langchain_kronvex.server import ServerSettings, create_app

_TESTS_OF_A_STORE = 50


class ServedApis:
    """APIs by their folders."""

    def __init__(self) -> None:
        self._apps: dict[str, Any] = {}
        self._names: dict[Path, str] = {}
        self._kept = ExitStack()  # the stores that are open, and the folder
        self._folder: Path | None = None
        self.port = 0

    def url(self, folder: Path) -> str:
        """Return the URL of a folder's API, which is made when it is first asked for."""
        if self._folder is None:
            self._start()
        if folder not in self._names:
            name = self._names[folder] = f"test{len(self._names)}"
            self._apps[name] = self._app(len(self._apps))
        return f"http://127.0.0.1:{self.port}/{self._names[folder]}"

    def _app(self, number: int) -> Any:
        """Return the app of the tests before, or a new one: erasing rewrites all of a store."""
        if number % _TESTS_OF_A_STORE:
            return self._apps[f"test{number - 1}"]
        url = f"sqlite:///{self._folder}/served{number}.db"
        # Each agent in use has files open, and all of these apps last as long as the tests.
        memory = self._kept.enter_context(KronvexMemory(url))
        return create_app(memory, ServerSettings(open_memories=16))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        _, name, *rest = scope["raw_path"].decode().split("/")
        if rest[:3] == ["api", "v1", "agents"] and len(rest) > 3:
            rest[3] = f"{name}.{rest[3]}"
        path = "/" + "/".join(rest)
        there = {**scope, "path": unquote(path), "raw_path": path.encode()}
        await self._apps[name](there, receive, send)

    def _start(self) -> None:
        self._folder = Path(self._kept.enter_context(tempfile.TemporaryDirectory()))
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

# Promises that do not hold over HTTP, by file or test, each with the reason.
LEFT_OUT = {
    "test_workers_that_supersede_the_same_memory_lose_nothing": "no compare-and-set: all stay",
    "test_a_memory_that_is_superseded_during_a_recall_is_not_returned": "the server searches",
    "test_values_are_compared_and_changed": "NotSupported: the API has no compare-and-set",
    "test_consolidating": "NotSupported: the API cannot store what was derived in one step",
    "test_consolidation_undone": "NotSupported: as above",
    "test_consolidation_erased": "NotSupported: as above",
    "test_consolidation_recalled": "NotSupported: as above",
    "test_reindexing": "NotSupported: the server embeds, there is nothing to reindex",
    "test_vectors": "ConfigurationError: the server embeds, embeddings cannot be chosen",
    "test_vectors_are_stored_with_their_model_only": "ConfigurationError: the server embeds",
    "test_with_vectors_nothing_is_embedded_again": "ConfigurationError: the server embeds",
    "test_without_vectors_they_are_fetched_in_the_background": "ConfigurationError: it embeds",
    "test_a_store_of_another_width_takes_none": "ConfigurationError: the server embeds",
    "test_a_memory_of_words_alone_moves": "ConfigurationError: the server embeds",
    "test_vectors_may_come_along": "NotSupported: the server keeps the vectors to itself",
    "test_vectors_of_the_same_name_and_another_width_are_not_compared": "NotSupported: vectors",
    "test_an_expected_record_must_exist": "NotSupported: the API has no compare-and-set",
    "test_a_document_is_patched": "NotSupported: the API has no compare-and-set",
    "test_patches_of_several_workers_are_all_kept": "NotSupported: the API has no compare-and-set",
    "test_the_async_methods_do_the_same": "NotSupported: the API has no compare-and-set",
    "test_one_unexpected_record_stores_nothing": "NotSupported: the API has no compare-and-set",
    "test_changes_beside": "a record is one text to the API: of changes at once the later stays",
    "test_one_miss_deletes_nothing": "NotSupported: the API has no compare-and-set",
    "test_a_reader_sees_a_moved_record_in_one_place": "the API stores and deletes one by one",
    "test_an_expired_record_counts_as_absent": "NotSupported: the API has no compare-and-set",
    "test_appending_from_several_threads_and_memories_loses_nothing": "NotSupported: as above",
    "test_access_counts_survive_being_told_again": "a new version is counted from 0 by the server",
    "test_recall_counts_and_finds_as_before": "the API takes no access counts",
    "test_agents_of_one_store_keep_their_own": "it compares access counts; the API takes none",
    "test_only_returned_memories_are_counted": "the server counts what it returns to the client",
    "test_the_words_of_an_expired_memory_find_nothing": "the server keeps it for whole days",
}
# What `make test` leaves to `make soak` over HTTP.
LONG = {
    "test_bad_input", "test_forms", "test_replies", "test_context", "test_recalling",
    "test_scopes", "test_listing", "test_one_bad_draft_stores_none",
    "test_remember_many_of_thousands_keeps_all", "test_a_restart_changes_no_score",
    "test_a_recall_finds_a_record_while_it_is_replaced",
    "test_deleted_records_stay_deleted_after_erasing_and_a_restart",
}  # fmt: skip
