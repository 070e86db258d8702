"""Who may import whom: each module only what lies below it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .source import Import, foreign_imports, imports, modules, runtime_imports

# A new module gets its place here.
LAYERS: dict[int, tuple[str, ...]] = {
    # the words, and what every part that holds locks must know of
    0: (
        "checks", "errors", "forking", "types",
    ),
    # pure rules, no I/O
    1: (
        "adjacency", "agent_messages", "agent_records", "columns", "embeddings",
        "embeddings.static", "embeddings.thesaurus", "embeddings.wordpiece", "features",
        "formatting", "json_values", "lexical", "meanings", "messages", "plans", "postings",
        "prompts", "ranking", "scopes", "short_names", "vectors",
    ),
    # one scope in RAM, and where it is kept
    2: (
        "archive", "archive_files", "archive_reading", "backends", "backends.base",
        "backends.index_cache", "backends.index_rows", "backends.kronvex",
        "backends.micros", "backends.models", "backends.postgres",
        "backends.postgres_address", "backends.postgres_batch", "backends.postgres_clock",
        "backends.postgres_database", "backends.postgres_embedding",
        "backends.postgres_erasing", "backends.postgres_faults", "backends.postgres_huge",
        "backends.postgres_huge_indexes", "backends.postgres_huge_making",
        "backends.postgres_huge_reading", "backends.postgres_huge_session",
        "backends.postgres_huge_words", "backends.postgres_lending",
        "backends.postgres_loops", "backends.postgres_options", "backends.postgres_pools",
        "backends.postgres_reading", "backends.postgres_recall", "backends.postgres_rows",
        "backends.postgres_schema", "backends.postgres_session",
        "backends.postgres_sharing", "backends.postgres_silence",
        "backends.postgres_transfer", "backends.postgres_vectors",
        "backends.postgres_writing", "backends.record", "backends.rest",
        "backends.rest.agent", "backends.rest.courier", "backends.rest.deadline",
        "backends.rest.envelope", "backends.rest.erasing", "backends.rest.known_texts",
        "backends.rest.outbox", "backends.rest.outbox_places", "backends.rest.recall",
        "backends.rest.refusals", "backends.rest.sizes", "backends.rest.transfer",
        "backends.rest.transport", "backends.rest.versions", "backends.rest.writing",
        "backends.sqlite", "backends.sqlite_erasing", "backends.sqlite_file",
        "backends.sqlite_rows", "backends.sqlite_transfer", "backends.sqlite_vectors",
        "backends.sqlite_writing", "backends.wire", "background", "candidates",
        "held_files", "hints", "index", "locations", "parts", "pool", "providers",
        "records", "search", "services", "wording",
    ),
    # the memory and its parts
    3: (
        "agent_turns", "conversation", "embedder", "housekeeping", "keyed_items",
        "keyed_memories", "memory", "moving", "opening", "progress", "recalling",
        "reindexing", "turns", "upkeep",
    ),
    # LangChain adapters
    4: (
        "chains", "chat_message_histories", "memory_context", "retrievers", "stores",
    ),
    # extras, and the list of public names
    5: (
        "", "agent_requests", "cli", "langgraph", "langgraph.filters", "langgraph.items",
        "langgraph.namespaces", "langgraph.searching", "langgraph.store",
        "langgraph.sweeping", "llama_index", "llama_index.chat_messages",
        "llama_index.chat_stores", "llama_index.conversations", "llama_index.exchanges",
        "llama_index.memory_block", "llama_index.retriever", "middleware",
        "moving_commands", "outbox_commands", "server", "server.access_log",
        "server.agents", "server.answers", "server.app", "server.bodies", "server.dialects",
        "server.engine", "server.envelopes", "server.express", "server.faults",
        "server.gate", "server.insights", "server.items", "server.key_desk", "server.keys",
        "server.limiter", "server.listing", "server.open_agents", "server.paths",
        "server.routes", "server.routes.absent", "server.routes.agents",
        "server.routes.documented", "server.routes.memories", "server.routes.recalling",
        "server.routes.reports", "server.routes.status", "server.routes.transfer",
        "server.service", "server.settings", "server.strict_route", "server.turns",
        "server.usage", "tools",
    ),
}  # fmt: skip
LAYER_OF = {module: layer for layer, members in LAYERS.items() for module in members}
ADAPTERS = LAYERS[4]
EXTRAS = tuple(module for module in LAYERS[5] if module)

# The two factories of `KronvexMemory`; their return types are named for type checkers too.
FACTORIES = {("memory", "chat_message_histories"), ("memory", "retrievers")}

PURE_LAYERS_MAY_NOT_IMPORT = {"sqlite3", "socket", "httpx", "psycopg", "asyncio", "os", "logging"}
NEVER_LOADED_BY_THE_ROOT = (
    "torch", "sqlalchemy", "psycopg", "langgraph", "langchain", "langchain_openai", "openai",
    "llama_index", "fastapi", "uvicorn", "starlette", "pytest", "langchain_tests",
)  # fmt: skip


def test_every_module_has_a_layer_and_every_place_a_module() -> None:
    assert set(modules()) - set(LAYER_OF) == set(), "give these their place in LAYERS"
    assert set(LAYER_OF) - set(modules()) == set(), "these are gone"


def upward(found: Import) -> bool:
    """Tell whether an import goes up; of modules without a place the test above complains."""
    if found.importer not in LAYER_OF or found.imported not in LAYER_OF:
        return False
    return LAYER_OF[found.imported] > LAYER_OF[found.importer]


@pytest.mark.parametrize("module", sorted(modules()))
def test_a_module_imports_only_from_its_own_layer_and_lower_ones(module: str) -> None:
    wrong = {(i.importer, i.imported) for i in imports(module) if upward(i)}

    assert wrong <= FACTORIES


def test_upward_imports_happen_inside_the_two_factories_alone() -> None:
    found = [i for module in modules() for i in runtime_imports(module) if upward(i)]

    assert {(i.importer, i.imported) for i in found} == FACTORIES
    assert {i.inside for i in found} == {"chat_history", "as_retriever"}


@pytest.mark.parametrize("module", ADAPTERS)
def test_an_adapter_imports_no_other_adapter(module: str) -> None:
    assert not {i.imported for i in imports(module)} & set(ADAPTERS)


@pytest.mark.parametrize("module", sorted(set(modules()) - {""}))
def test_nothing_imports_the_root_or_an_extra(module: str) -> None:
    imported = {i.imported for i in imports(module)}

    assert "" not in imported
    assert LAYER_OF.get(module) == 5 or not imported & set(EXTRAS)


def test_the_root_imports_no_extra() -> None:
    assert not {i.imported for i in imports("")} & set(EXTRAS)
    assert not foreign_imports("")


def test_no_module_imports_itself_in_a_circle() -> None:
    below = {module: {i.imported for i in imports(module) if not upward(i)} for module in modules()}
    while below:
        done = {module for module, left in below.items() if not left & set(below)}
        assert done, f"these import each other: {sorted(below)}"
        below = {module: left for module, left in below.items() if module not in done}


@pytest.mark.parametrize("module", sorted({*LAYERS[0], *LAYERS[1]} - {"forking"}))
def test_words_and_rules_do_no_input_or_output(module: str) -> None:
    assert not foreign_imports(module) & PURE_LAYERS_MAY_NOT_IMPORT


@pytest.mark.parametrize("module", [*LAYERS[0], *LAYERS[2], *LAYERS[3]])
def test_below_the_adapters_langchain_means_its_messages_and_embeddings(module: str) -> None:
    assert foreign_imports(module) & {"langchain", "langgraph"} == set()


def test_the_root_loads_no_extra_and_nothing_heavy() -> None:
    script = "import langchain_kronvex, sys; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()

    assert "langchain_kronvex" in loaded
    assert not set(loaded) & set(NEVER_LOADED_BY_THE_ROOT)
