"""A key-value store on a memory, as LangChain's `BaseStore`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from langchain_core.stores import BaseStore

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import InvalidInput, StoreBusy
from langchain_kronvex.memory.keyed_values import KeyedValues, check_key
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.memory.scope_from_config import check_memory

_MAX_TRIES = 1000  # of a change; whenever one fails, that of another worker has succeeded
_NULL = "null"


class KronvexKeyValueStore(BaseStore[str, Any]):
    """JSON values under keys, stored together with the memories.

    It has the methods of every LangChain `BaseStore` (`mget`, `mset`, `mdelete`, `yield_keys`),
    and simpler ones; each has an async version with a name that starts with `a`. Values are JSON:
    a value read is equal to the value stored, except that tuples become lists. For bytes and other
    objects, wrap the store in LangChain's `EncoderBackedStore`. The memory's `before_save` sees the
    texts in a value; if it refuses one, `SaveRefused` is raised. Recalling, listing and forgetting
    memories does not affect the values; `KronvexMemory.clear` erases them too.

    Examples:
        >>> with KronvexMemory("sqlite://") as memory:
        ...     settings = KronvexKeyValueStore(memory, "settings")
        ...     settings.set("theme", {"dark": True})
        ...     settings.get("theme")
        {'dark': True}

    Args:
        memory: The memory that stores the values; the caller closes it.
        namespace: 1 to 255 characters, matched exactly; a namespace never sees the keys of another.

    Raises:
        InvalidInput: the namespace does not fit.
    """

    def __init__(self, memory: KronvexMemory, namespace: str) -> None:
        self.memory = check_memory(memory)
        self.namespace = namespace
        self._values = KeyedValues(memory.engine, namespace)

    # -- single keys ---------------------------------------------------------------------------

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, or `default` if it has none."""
        record = self._values.find([key]).get(key)
        return default if record is None else json.loads(record.content)

    async def aget(self, key: str, default: Any = None) -> Any:
        """Async version of `get`."""
        return await self.memory.engine.threads.read(self.get, key, default)

    def set(self, key: str, value: Any, *, ttl_days: float | None = None) -> None:
        """Store a value. Once this returns, the value survives even a `kill -9`.

        Args:
            key: Any text that is not blank.
            value: A JSON value.
            ttl_days: Days until the value expires; None for no expiry.

        Raises:
            InvalidInput: a value does not fit; nothing was stored.
        """
        expires_at = checks.expiry(self.memory.engine.clock(), ttl_days)
        self._values.put({key: self._to_store(value)}, expires_at)

    async def aset(self, key: str, value: Any, *, ttl_days: float | None = None) -> None:
        """Async version of `set`."""
        await self.memory.engine.threads.run(self.set, key, value, ttl_days=ttl_days)

    def delete(self, key: str) -> bool:
        """Erase a key and all its past values permanently; return whether the key existed.

        Like `KronvexMemory.forget`, this rewrites the store's file. `mdelete` rewrites it only
        once for many keys.
        """
        return bool(self._values.delete([key]))

    async def adelete(self, key: str) -> bool:
        """Async version of `delete`."""
        return await self.memory.engine.threads.run(self.delete, key)

    def list_keys(self, prefix: str | None = None) -> list[str]:
        """Return the keys that start with `prefix`, or all keys, in alphabetical order.

        Raises:
            InvalidInput: the prefix is not a string.
        """
        if not isinstance(prefix, str | None):
            raise InvalidInput(f"prefix must be a string, not {type(prefix).__name__}.")
        return sorted(key for key in self._values.find() if key.startswith(prefix or ""))

    async def alist_keys(self, prefix: str | None = None) -> list[str]:
        """Async version of `list_keys`."""
        return await self.memory.engine.threads.read(self.list_keys, prefix)

    def __contains__(self, key: object) -> bool:
        """Return whether the key has a value."""
        return isinstance(key, str) and key in self._values.find([key])

    # -- several workers -----------------------------------------------------------------------

    def compare_and_set(
        self, key: str, expected: Any, value: Any, *, ttl_days: float | None = None
    ) -> bool:
        """Store a value if the key still has the expected one, in one atomic step.

        Args:
            key: The key of the value.
            expected: The value that `get` returned; None for no value.
            value: The new value.
            ttl_days: As for `set`.

        Returns:
            Whether the value was stored; False if the key had another value.

        Raises:
            InvalidInput: a value does not fit; nothing was stored.
            NotSupported: a Kronvex server cannot do this.
        """
        expires_at = checks.expiry(self.memory.engine.clock(), ttl_days)
        new = {key: self._to_store(value)}
        there = [None, _NULL] if expected is None else [_encoded(expected)]
        return any(self._values.put(new, expires_at, [content]) for content in there)

    async def acompare_and_set(
        self, key: str, expected: Any, value: Any, *, ttl_days: float | None = None
    ) -> bool:
        """Async version of `compare_and_set`."""
        return await self.memory.engine.threads.run(
            self.compare_and_set, key, expected, value, ttl_days=ttl_days
        )

    def change(self, key: str, function: Callable[[Any], Any], default: Any = None) -> Any:
        """Change a value with a function, so that no other worker's change is lost.

        If another worker writes in the meantime, the function is called again with the newer
        value; so it should have no side effects. The expiry of the value does not change.

        Examples:
            >>> with KronvexMemory("sqlite://") as memory:
            ...     notes = KronvexKeyValueStore(memory, "notes")
            ...     notes.change("log", lambda log: [*log, "started"], default=[])
            ['started']

        Args:
            key: The key of the value.
            function: Takes the value and returns the new one.
            default: The value to pass to the function if the key has none.

        Returns:
            The new value, as it is stored.

        Raises:
            InvalidInput: the function did not return a JSON value other than None.
            StoreBusy: other workers changed the key a thousand times in the meantime.
            NotSupported: a Kronvex server cannot do this.
        """
        for _ in range(_MAX_TRIES):
            there = self._values.find([key]).get(key)
            value = function(json.loads(_encoded(default) if there is None else there.content))
            if value is None:
                raise InvalidInput("The function returned None; it must return the new value.")
            expires_at, content = (there.expires_at, there.content) if there else (None, None)
            new = self._to_store(value)
            if self._values.put({key: new}, expires_at, [content]):
                return json.loads(new)
        raise StoreBusy(f"Other workers changed this key {_MAX_TRIES} times; try again.")

    async def achange(self, key: str, function: Callable[[Any], Any], default: Any = None) -> Any:
        """Async version of `change`."""
        return await self.memory.engine.threads.run(self.change, key, function, default)

    # -- LangChain's methods -------------------------------------------------------------------

    def mget(self, keys: Sequence[str]) -> list[Any]:
        """Return the values of keys, with None for each key that has no value."""
        found = self._values.find(keys)
        return [json.loads(found[key].content) if key in found else None for key in keys]

    async def amget(self, keys: Sequence[str]) -> list[Any]:
        """Async version of `mget`."""
        return await self.memory.engine.threads.read(self.mget, keys)

    def mset(self, key_value_pairs: Sequence[tuple[str, Any]]) -> None:
        """Store values, all or none; if a key is given twice, the last value counts."""
        contents = {check_key(key): self._to_store(value) for key, value in key_value_pairs}
        self._values.put(contents, None)

    async def amset(self, key_value_pairs: Sequence[tuple[str, Any]]) -> None:
        """Async version of `mset`."""
        await self.memory.engine.threads.run(self.mset, key_value_pairs)

    def mdelete(self, keys: Sequence[str]) -> None:
        """Erase keys permanently; keys that do not exist are skipped."""
        self._values.delete(keys)

    async def amdelete(self, keys: Sequence[str]) -> None:
        """Async version of `mdelete`."""
        await self.memory.engine.threads.run(self.mdelete, keys)

    def yield_keys(self, *, prefix: str | None = None) -> Iterator[str]:
        """Yield the keys that start with `prefix`, or all keys, in alphabetical order."""
        yield from self.list_keys(prefix)

    async def ayield_keys(self, *, prefix: str | None = None) -> AsyncIterator[str]:
        """Async version of `yield_keys`."""
        for key in await self.alist_keys(prefix):
            yield key

    def _to_store(self, value: Any) -> str:
        text, before_save = _encoded(value), self.memory.engine.before_save
        return (
            text if before_save.function is None else _encoded(before_save.values(json.loads(text)))
        )


def _encoded(value: Any) -> str:
    try:
        return checks.canonical_json(value, "value")
    except InvalidInput as error:
        raise InvalidInput(
            f"{error} For bytes and other objects, wrap the store in LangChain's "
            "EncoderBackedStore, which encodes them."
        ) from error
