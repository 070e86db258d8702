"""The imports allowed between rooms, and the modules that the root may load."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .source import foreign_imports, imports, modules, runtime_imports

# Each room and the rooms it may import from, besides itself. The longest matching name is the room
# of a module, so that a new file needs no entry.
BELOW_MEMORY = ("core", "recall", "embeddings", "storage")
ADAPTERS = ("core", "memory")
ROOMS: dict[str, tuple[str, ...]] = {
    "core": (),
    "recall": ("core",),
    "embeddings": ("core", "recall"),
    "storage": ("core", "recall"),
    "storage.sqlite": ("core", "recall", "storage"),
    "storage.postgres": ("core", "recall", "storage"),
    "storage.rest": ("core", "recall", "storage"),
    "storage.rest.outbox": ("core", "recall", "storage", "storage.rest", "storage.sqlite"),
    "memory": BELOW_MEMORY,
    "langchain": ADAPTERS,
    "langgraph": ADAPTERS,
    "llama_index": ADAPTERS,
    "tools": ADAPTERS,
    "testing": ("core",),
    "consolidation": ADAPTERS,
    "importers": ADAPTERS,
    "server": (*ADAPTERS, "storage", "consolidation"),
    "middleware": (*ADAPTERS, "langchain", "tools"),
    "mcp": (*ADAPTERS, "tools"),
    "cli": (
        *ADAPTERS,
        "storage",
        "consolidation",
        "embeddings",
        "importers",
        "mcp",
        "server",
        "storage.rest",
        "storage.rest.outbox",
    ),
    "": (*ADAPTERS, "langchain"),
}
# Imports inside functions that make what they import: the store that a URL names, and the two
# LangChain objects that `KronvexMemory` hands out.
FACTORIES = {
    ("storage.opening", "storage.sqlite.backend"),
    ("storage.opening", "storage.postgres.backend"),
    ("storage.opening", "storage.rest.opening"),
    ("memory.memory", "langchain.chat_message_histories"),
    ("memory.memory", "langchain.retrievers"),
}
NEVER_LOADED_BY_THE_ROOT = (
    "torch", "sqlalchemy", "psycopg", "langgraph", "langchain", "langchain_openai", "openai",
    "llama_index", "fastapi", "uvicorn", "starlette", "mcp", "pytest", "langchain_tests",
)  # fmt: skip
PURE_ROOMS_MAY_NOT_IMPORT = {"sqlite3", "socket", "httpx", "psycopg", "asyncio", "logging"}


def room_of(module: str) -> str:
    """Return the room a module is in: the longest name in the table that it starts with."""
    return max((r for r in ROOMS if f"{module}.".startswith(f"{r}." if r else "")), key=len)


def test_a_module_imports_only_from_the_rooms_its_own_may_use() -> None:
    wrong = {
        (i.importer, i.imported)
        for module in modules()
        for i in runtime_imports(module)
        if not may_import(room_of(module), room_of(i.imported))
        and not (i.inside and (i.importer, i.imported) in FACTORIES)
    }

    assert not wrong


def may_import(room: str, other: str) -> bool:
    inside_rest = room.startswith("storage.rest") and other.startswith("storage.rest")
    return inside_rest or other in {room, *ROOMS[room]}


def test_no_module_imports_itself_in_a_circle() -> None:
    below = {m: {i.imported for i in runtime_imports(m) if not i.inside} for m in modules()}
    while below:
        done = {module for module, left in below.items() if not left & set(below)}
        assert done, f"these import each other: {sorted(below)}"
        below = {module: left for module, left in below.items() if module not in done}


def test_recall_does_no_input_or_output() -> None:
    pure = [module for module in modules() if room_of(module) == "recall"]

    assert pure
    assert not [module for module in pure if foreign_imports(module) & PURE_ROOMS_MAY_NOT_IMPORT]


def test_below_the_adapters_langchain_means_its_messages_and_embeddings() -> None:
    importing = {
        module: found
        for module in modules()
        if room_of(module) in ("core", *BELOW_MEMORY, "memory")
        and (found := foreign_imports(module) & {"langchain", "langgraph"})
    }

    assert importing == {"embeddings.providers": {"langchain"}}  # init_embeddings


def test_the_root_imports_no_extra() -> None:
    assert not foreign_imports("")
    assert imports("")


@pytest.mark.slow
def test_the_root_loads_no_extra_and_nothing_heavy() -> None:
    script = "import langchain_kronvex, sys; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()

    assert "langchain_kronvex" in loaded
    assert not set(loaded) & set(NEVER_LOADED_BY_THE_ROOT)
