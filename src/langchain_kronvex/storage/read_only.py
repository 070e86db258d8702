"""Opening a store to read it: what would write is refused, and upkeep is left to others."""

from __future__ import annotations

from typing import Any, NoReturn

from langchain_kronvex.core.errors import NotSupported
from langchain_kronvex.storage.backend import MemoryBackend

_WRITES = (
    "add", "put", "change", "delete", "take", "claim", "consolidate", "embed", "prepare_reindex",
    "finish_reindex", "restore",
)  # fmt: skip
_UPKEEP = ("purge", "count_accesses", "finish_erasing")


def read_only(backend: MemoryBackend) -> MemoryBackend:
    """Return a backend whose verbs that write raise `NotSupported`."""
    backend.is_read_only = True
    for name in _WRITES:
        setattr(backend, name, _refuse)
    for name in _UPKEEP:
        setattr(backend, name, _leave)
    return backend


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise NotSupported(
        "This memory was opened with read_only=True; nothing was stored or changed. Open it "
        "without that to write."
    )


def _leave(*_: Any) -> int:
    return 0
