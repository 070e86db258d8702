"""API keys: created, listed, revoked and recognised."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from langchain_kronvex.core.validation import check_id
from langchain_kronvex.server.registry.item_table import ItemTable
from langchain_kronvex.storage.backend import MemoryBackend, Record

_PREFIX_CHARS = 8  # of a key, shown in lists


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A stored key; the secret itself is stored nowhere."""

    id: str
    name: str
    prefix: str
    created_at: datetime
    is_active: bool


class ApiKeys:
    """The keys of one store."""

    def __init__(self, backend: MemoryBackend, clock: Callable[[], datetime]) -> None:
        self._table = ItemTable(backend, "keys", clock)
        self._clock = clock

    @property
    def is_fast(self) -> bool:
        """Whether a lookup takes less time than changing to another thread."""
        return self._table.is_fast

    def create(self, name: str) -> tuple[ApiKey, str]:
        """Create a key; return it and its secret, which cannot be shown again.

        Raises:
            InvalidInput: the name is blank, too long, or not text.
        """
        secret = f"kv-{secrets.token_urlsafe(32)}"
        about = {"prefix": secret[:_PREFIX_CHARS], "revoked_at": None}
        return _key(self._table.put(_digest(secret), check_id(name, "name"), about)), secret

    def all(self) -> Sequence[ApiKey]:
        """Return every key, revoked ones included, the newest first."""
        return [_key(item) for item in self._table.all()]

    def none_made(self) -> bool:
        """Return whether no key was ever created; a revoked one still keeps the server locked."""
        return not self._table.all()

    def revoke(self, id_or_prefix: str) -> ApiKey | None:
        """Revoke the key with this id or prefix; return None when there is not exactly one."""
        found = [
            item
            for item in self._table.all()
            if id_or_prefix in (item.id, item.metadata.get("prefix"))
        ]
        if len(found) != 1:
            return None
        changed = {**found[0].metadata, "revoked_at": self._clock().isoformat()}
        item = replace(found[0], metadata=changed)
        self._table.change(item)
        return _key(item)

    def recognise(self, secret: str) -> ApiKey | None:
        """Return the active key with this secret; None for any other text."""
        digest = _digest(secret)
        item = self._table.find(digest)
        if item is None or not hmac.compare_digest(item.key, digest):
            return None
        key = _key(item)
        return key if key.is_active else None


def _key(item: Record) -> ApiKey:
    return ApiKey(
        id=item.id,
        name=item.content,
        prefix=str(item.metadata.get("prefix", "")),
        created_at=item.created_at,
        is_active=item.metadata.get("revoked_at") is None,
    )


def _digest(secret: str) -> str:
    """Return the hash that is stored instead of a secret.

    One round of SHA-256 is enough: a secret has 256 random bits, so it cannot be guessed as
    passwords can. The lookup is by this hash, so its timing reveals nothing about any secret:
    callers cannot choose a text whose hash begins as they like.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
