"""Backends of the tests of LlamaIndex: a file, a served API, and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contract.served import APIS
from databases import DATABASES

PLACES: dict[str, Callable[[Path], str]] = {
    "sqlite": lambda folder: f"sqlite:///{folder / 'memory.db'}",
    "kronvex-api": APIS.url,
    "postgres": DATABASES.url,
}
# These run on all backends in `make test`; the others only on a file, and elsewhere in `make soak`.
EVERYWHERE = {
    "test_the_oldest_messages_are_archived_in_place",
    "test_setting_replaces_messages_of_any_status",
    "test_memory_works_from_a_program_without_a_loop",
    "test_a_message_is_erased_by_its_index",
    "test_users_agents_and_stores_without_a_user_are_kept_apart",
    "test_langchain_reads_and_continues_a_key_as_a_session",
    "test_a_replaced_answer_is_remembered_with_its_question",
    "test_messages_are_restored_from_a_store",
    "test_a_picture_of_two_megabytes_is_restored",
    "test_a_function_agent_remembers_across_sessions",
    "test_each_exchange_is_remembered_once",
    "test_a_failing_recall_leaves_the_chat_without_memory",
}
# These also run on a served API, where messages are sent later.
SERVED = {
    "test_memory_behaves_as_with_llamaindexs_own_store",
    "test_a_buffer_continues_in_a_new_process",
    "test_two_erasures_of_the_last_message_erase_two_messages",
}
NOT_PROMISED = {
    "test_replaced_text_is_gone_from_the_file": ("kronvex-api", "postgres"),  # it reads the file
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test on every backend that makes the tested promise."""
    if "store_url" not in metafunc.fixturenames:
        return
    name = metafunc.definition.name
    places = [place for place in PLACES if place not in NOT_PROMISED.get(name, ())]
    params: list[Any] = [
        pytest.param(place, marks=[] if _is_short(name, place) else [pytest.mark.soak])
        for place in places
    ]
    metafunc.parametrize("store_url", params, indirect=True)


def _is_short(name: str, place: str) -> bool:
    return place == "sqlite" or name in EVERYWHERE or (place == "kronvex-api" and name in SERVED)


@pytest.fixture
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store that does not exist yet."""
    return PLACES[request.param](tmp_path)
