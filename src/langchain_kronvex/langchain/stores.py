"""A key-value store on a memory, as LangChain's `BaseStore`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from langchain_core.stores import BaseStore

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import InvalidInput, StoreBusy
from langchain_kronvex.core.validation import canonical_json
from langchain_kronvex.memory.keyed_values import KeyedItems, check_key
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.storage.backend import Record

_MOST_TRIES = 1000  # of a change; each one that failed means that somebody else's succeeded
_NULL = "null"


class KronvexKeyValueStore(BaseStore[str, Any]):
    """JSON values under keys, kept where the memories are.

    It takes part in LangChain as any `BaseStore` (`mget`, `mset`, `mdelete`, `yield_keys`), and
    has the everyday words besides; each has an `a…` twin to be awaited. Values are JSON: what is
    read is equal to what was stored, but tuples come back as lists. For bytes and other objects
    wrap the store in LangChain's `EncoderBackedStore`. No recall, listing or `forget` of the
    memory touches the values; its `clear` erases them too.

    >>> with KronvexMemory("sqlite://") as memory:
    ...     settings = KronvexKeyValueStore(memory, "settings")
    ...     settings.set("theme", {"dark": True})
    ...     settings.get("theme")
    {'dark': True}

    Args:
        memory: Where the values are kept; it stays the caller's to close.
        namespace: 1 to 255 characters, matched exactly: no namespace sees another's keys.

    Raises:
        InvalidInput: the namespace does not fit.
    """

    def __init__(self, memory: KronvexMemory, namespace: str) -> None:
        self.memory = memory
        self.namespace = namespace
        self._items = KeyedItems(memory.engine, namespace)

    # -- the everyday words --------------------------------------------------------------------

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, or `default` when there is none."""
        record = self._find(key)
        return default if record is None else json.loads(record.content)

    async def aget(self, key: str, default: Any = None) -> Any:
        """Async version of `get`."""
        return await self.memory.engine.threads.run(self.get, key, default)

    def set(self, key: str, value: Any, *, ttl_days: float | None = None) -> None:
        """Store a value. When this returns, it survives the process, even a `kill -9`.

        Args:
            key: Any text that is not blank.
            value: A JSON value.
            ttl_days: Days until it expires; without it the value stays.

        Raises:
            InvalidInput: a value does not fit; nothing was stored.
        """
        expires_at = checks.expiry(self._items.now(), ttl_days)
        self._items.put({key: _encoded(value)}, expires_at)

    async def aset(self, key: str, value: Any, *, ttl_days: float | None = None) -> None:
        """Async version of `set`."""
        await self.memory.engine.threads.run(self.set, key, value, ttl_days=ttl_days)

    def delete(self, key: str) -> bool:
        """Erase a key and all that its value ever was, for good; tell whether it was there.

        It rewrites the store's file, as `KronvexMemory.forget` does: `mdelete` does so once for
        many keys.
        """
        return bool(self._items.delete([key]))

    async def adelete(self, key: str) -> bool:
        """Async version of `delete`."""
        return await self.memory.engine.threads.run(self.delete, key)

    def list_keys(self, prefix: str | None = None) -> list[str]:
        """Return the keys, in alphabetical order; only those that start with `prefix`.

        Raises:
            InvalidInput: the prefix is no text.
        """
        if not isinstance(prefix, str | None):
            raise InvalidInput(f"prefix must be a string, not {type(prefix).__name__}.")
        found = self._items.find()
        return sorted(key for key in found if key.startswith(prefix or ""))

    async def alist_keys(self, prefix: str | None = None) -> list[str]:
        """Async version of `list_keys`."""
        return await self.memory.engine.threads.run(self.list_keys, prefix)

    def __contains__(self, key: object) -> bool:
        """Tell whether there is a value of this key."""
        return isinstance(key, str) and self._find(key) is not None

    # -- several workers -----------------------------------------------------------------------

    def compare_and_set(
        self, key: str, expected: Any, value: Any, *, ttl_days: float | None = None
    ) -> bool:
        """Store a value if the key still has the one expected; nobody can come between.

        Args:
            key: Of the value.
            expected: What `get` returned; None when there was nothing.
            value: The new one.
            ttl_days: As for `set`.

        Returns:
            False when the key had another value; then nothing was stored.

        Raises:
            InvalidInput: a value does not fit; nothing was stored.
            NotSupported: a Kronvex server cannot do this.
        """
        expires_at = checks.expiry(self._items.now(), ttl_days)
        new = {key: _encoded(value)}
        for content in [None, _NULL] if expected is None else [_encoded(expected)]:
            if self._items.put(new, expires_at, [content]):
                return True
        return False

    async def acompare_and_set(
        self, key: str, expected: Any, value: Any, *, ttl_days: float | None = None
    ) -> bool:
        """Async version of `compare_and_set`."""
        return await self.memory.engine.threads.run(
            self.compare_and_set, key, expected, value, ttl_days=ttl_days
        )

    def change(self, key: str, function: Callable[[Any], Any], default: Any = None) -> Any:
        """Store what a function makes of the value, so that no other worker's change is lost.

        When somebody else writes meanwhile, the function is called again, with the newer value;
        so it should do nothing but compute. An expiry of the value stays as it is.

        >>> with KronvexMemory("sqlite://") as memory:
        ...     notes = KronvexKeyValueStore(memory, "notes")
        ...     notes.change("log", lambda log: [*log, "started"], default=[])
        ['started']

        Args:
            key: Of the value.
            function: Gets the value, returns the new one.
            default: What the function gets when there is no value.

        Returns:
            The new value.

        Raises:
            InvalidInput: the function returned None, or no JSON value; nothing was stored.
            StoreBusy: others wrote a thousand times in between.
            NotSupported: a Kronvex server cannot do this.
        """
        for _ in range(_MOST_TRIES):
            there = self._find(key)
            content = _encoded(default) if there is None else there.content
            value = function(json.loads(content))
            if value is None:
                raise InvalidInput("The function returned None; it must return the new value.")
            expires_at = None if there is None else there.expires_at
            expected = [None if there is None else there.content]
            if self._items.put({key: _encoded(value)}, expires_at, expected):
                return value
        raise StoreBusy(f"Others changed this key {_MOST_TRIES} times in between; try again.")

    async def achange(self, key: str, function: Callable[[Any], Any], default: Any = None) -> Any:
        """Async version of `change`."""
        return await self.memory.engine.threads.run(self.change, key, function, default)

    def _find(self, key: str) -> Record | None:
        found = self._items.find([key])
        return found.get(key)

    # -- LangChain's words ---------------------------------------------------------------------

    def _mget(self, keys: Sequence[str]) -> list[Any]:
        found = self._items.find(keys)
        return [json.loads(found[key].content) if key in found else None for key in keys]

    def _mset(self, key_value_pairs: Sequence[tuple[str, Any]]) -> None:
        contents = {check_key(key): _encoded(value) for key, value in key_value_pairs}
        self._items.put(contents, None)

    def mget(self, keys: Sequence[str]) -> list[Any]:
        """Return the values of keys, None for each that has none."""
        return self._mget(keys)

    async def amget(self, keys: Sequence[str]) -> list[Any]:
        """Async version of `mget`."""
        return await self.memory.engine.threads.run(self._mget, keys)

    def mset(self, key_value_pairs: Sequence[tuple[str, Any]]) -> None:
        """Store values, all or none; of a key that is named twice, the last."""
        self._mset(key_value_pairs)

    async def amset(self, key_value_pairs: Sequence[tuple[str, Any]]) -> None:
        """Async version of `mset`."""
        await self.memory.engine.threads.run(self._mset, key_value_pairs)

    def mdelete(self, keys: Sequence[str]) -> None:
        """Erase keys for good; those that are not there are passed over."""
        self._items.delete(keys)

    async def amdelete(self, keys: Sequence[str]) -> None:
        """Async version of `mdelete`."""
        await self.memory.engine.threads.run(self._items.delete, keys)

    def yield_keys(self, *, prefix: str | None = None) -> Iterator[str]:
        """Give the keys, in alphabetical order; only those that start with `prefix`."""
        yield from self.list_keys(prefix)

    async def ayield_keys(self, *, prefix: str | None = None) -> AsyncIterator[str]:
        """Async version of `yield_keys`."""
        for key in await self.alist_keys(prefix):
            yield key


def _encoded(value: Any) -> str:
    try:
        return canonical_json(value, "value")
    except InvalidInput as error:
        raise InvalidInput(
            f"{error} For bytes and other objects, wrap the store in LangChain's "
            "EncoderBackedStore, which encodes them on their way."
        ) from error
