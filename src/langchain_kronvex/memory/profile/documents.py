"""`KronvexProfile`: one document of a pydantic schema for each user.

A document is a pinned memory of type `context` whose content is the JSON of its fields. So it is
recalled, listed, exported and erased with the user. Its key is made of the name of the schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import InvalidInput, StoreBusy
from langchain_kronvex.core.options import explained
from langchain_kronvex.core.records import Record, Scope, Selection
from langchain_kronvex.memory.conversions import memory_record
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.memory.scope_from_config import check_memory
from langchain_kronvex.storage.record import DOCUMENT_KEY

_MAX_TRIES = 100  # of a patch; whenever one fails, that of another worker has succeeded
_TYPE = "context"

SchemaT = TypeVar("SchemaT", bound=BaseModel)


class KronvexProfile(Generic[SchemaT]):
    """Keeps one document of a pydantic schema for each user.

    It is a memory of the user: `KronvexMemory.profile` begins with it, it can be recalled, exports
    contain it, and forgetting the user erases it. Each method has an async version with a name that
    starts with `a`.

    Examples:
        >>> class Traveller(BaseModel):
        ...     home: str | None = None
        ...     diet: str | None = None
        >>> with KronvexMemory("sqlite://") as memory:
        ...     travellers = KronvexProfile(memory, Traveller)
        ...     _ = travellers.patch("ana", home="Porto")
        ...     travellers.patch("ana", diet="vegan")
        ...     print(memory.profile("ana"))
        Traveller(home='Porto', diet='vegan')
        home: Porto
        diet: vegan

    Args:
        memory: The memory that stores the documents; the caller closes it.
        schema: A subclass of pydantic's `BaseModel` whose values survive as JSON.
        name: What the documents are stored under, matched exactly; the name of the schema by
            default. Give the old name if you rename the class.

    Raises:
        InvalidInput: the schema is not such a class, or the name does not fit.
    """

    def __init__(
        self, memory: KronvexMemory, schema: type[SchemaT], *, name: str | None = None
    ) -> None:
        self.memory = check_memory(memory)
        if not (isinstance(schema, type) and issubclass(schema, BaseModel)):
            raise InvalidInput("schema must be a subclass of pydantic's BaseModel.")
        self.schema = schema
        self.name = checks.check_id(schema.__name__ if name is None else name, "name")
        self._key = DOCUMENT_KEY + checks.short_name(self.name)

    def get(self, user_id: str) -> SchemaT | None:
        """Return the document of a user; None if there is none.

        Raises:
            InvalidInput: the stored document does not fit the schema, which has changed since. The
                message names the fields; nothing is changed.
        """
        found = self._find(user_id)
        return None if found is None else self._read(found)

    async def aget(self, user_id: str) -> SchemaT | None:
        """Async version of `get`."""
        return await self.memory.engine.threads.read(self.get, user_id)

    def set(self, user_id: str, value: SchemaT) -> None:
        """Store a document in place of the one that was there, whatever it held.

        Once this returns, the document survives even a `kill -9`.

        Raises:
            InvalidInput: the value is not of the schema, is too large, or changes when it is
                written as JSON and read again, as a `SecretStr` does; nothing was stored.
            SaveRefused: `before_save` refused a text; nothing was stored.
        """
        if not isinstance(value, self.schema):
            raise InvalidInput(
                f"value must be a {self.schema.__name__}, not {type(value).__name__}."
            )
        self._put(user_id, self._stored(value)[1])

    async def aset(self, user_id: str, value: SchemaT) -> None:
        """Async version of `set`."""
        await self.memory.engine.threads.run(self.set, user_id, value)

    def patch(self, user_id: str, **changes: Any) -> SchemaT:
        """Change some fields of the document; without one, make it of these fields.

        Concurrent patches of other fields, even by other processes, are not lost.

        Args:
            user_id: The user.
            changes: New values by the names of the fields. A whole value replaces the old one, also
                if it is a list or another model.

        Returns:
            The document as it is now.

        Raises:
            InvalidInput: there is no such field, or the new document does not fit the schema, or
                the stored one does not; nothing was stored.
            SaveRefused: `before_save` refused a text; nothing was stored.
            StoreBusy: others changed the document a hundred times meanwhile.
            NotSupported: a Kronvex server cannot compare and store in one step; use `set`.
        """
        for _ in range(_MAX_TRIES):
            found = self._find(user_id)
            value = self._changed(None if found is None else self._read(found), changes)
            stored, content = self._stored(value)
            if self._put(user_id, content, [None if found is None else found.content]):
                return stored
        raise StoreBusy(f"Others changed this document {_MAX_TRIES} times; try again.")

    async def apatch(self, user_id: str, **changes: Any) -> SchemaT:
        """Async version of `patch`."""
        return await self.memory.engine.threads.run(self.patch, user_id, **changes)

    def delete(self, user_id: str) -> bool:
        """Erase the document and all its past values permanently; return whether there was one."""
        return bool(self.memory.engine.erase(self._select(user_id)))

    async def adelete(self, user_id: str) -> bool:
        """Async version of `delete`."""
        return await self.memory.engine.threads.run(self.delete, user_id)

    # -- records -------------------------------------------------------------------------------

    def _select(self, user_id: str) -> Selection:
        scope = Scope(checks.check_id(user_id, "user_id"))
        return Selection(kind="memory", scope=scope, keys=(self._key,), types=(_TYPE,), pinned=True)

    def _find(self, user_id: str) -> Record | None:
        return next(iter(self.memory.engine.find(self._select(user_id))), None)

    def _put(self, user_id: str, content: str, expected: list[str | None] | None = None) -> bool:
        engine, scope = self.memory.engine, Scope(checks.check_id(user_id, "user_id"))
        now, about = engine.clock(), {"profile": self.name}
        record = memory_record(scope, content, now, memory_type=_TYPE, pinned=True, metadata=about)
        return engine.put([replace(record, key=self._key)], now, expected=expected)

    # -- values --------------------------------------------------------------------------------

    def _stored(self, value: SchemaT) -> tuple[SchemaT, str]:
        """Return a value as it is stored, which `before_save` may have changed, and its content."""
        name, before_save = self.schema.__name__, self.memory.engine.before_save
        try:
            fields = checks.check_json(_json_of(value), name, checks.MAX_JSON_DEPTH)
        except (PydanticSerializationError, TypeError) as error:
            raise InvalidInput(
                f"{name} holds a value that JSON cannot: {type(error).__name__}."
            ) from None
        again, content = self._written(fields)
        if again.model_dump() != value.model_dump(warnings=False):
            raise InvalidInput(f"{name} holds a value that changes when it is stored as JSON.")
        changed = before_save.values(fields)
        return (again, content) if changed == fields else self._written(changed)

    def _written(self, fields: Any) -> tuple[SchemaT, str]:
        """Return the value and the content of fields."""
        name = self.schema.__name__
        content = checks.check_content(json.dumps(fields, ensure_ascii=False), name)
        try:
            return self.schema.model_validate_json(content), content
        except ValidationError as error:
            raise InvalidInput(f"{name}: {explained(error)}") from None

    def _read(self, record: Record) -> SchemaT:
        try:
            value = self.schema.model_validate_json(record.content)
        except ValidationError as error:
            raise self._unfit(explained(error)) from None
        kept = _json_of(value)
        if lost := list(_lost(json.loads(record.content), kept)):
            raise self._unfit(f"it has no field {', '.join(map(repr, lost))}.")
        return value

    def _unfit(self, why: str) -> InvalidInput:
        name = self.schema.__name__
        return InvalidInput(
            f"The stored document does not fit {name}: {why} It stays as it is: change the schema, "
            "or replace the document with `set`."
        )

    def _changed(self, value: SchemaT | None, changes: dict[str, Any]) -> SchemaT:
        known = self.schema.model_fields
        if self.schema.model_config.get("extra") != "allow":
            checks.check_names(self.schema.__name__, changes, known)
        before = {} if value is None else value.model_dump(by_alias=True, round_trip=True)
        aliases = {name: field.alias or name for name, field in known.items()}
        new = {aliases.get(name, name): change for name, change in changes.items()}
        try:
            return self.schema.model_validate({**before, **new})
        except ValidationError as error:
            raise InvalidInput(f"{self.schema.__name__}: {explained(error)}") from None


def _json_of(value: BaseModel) -> Any:
    """Return the fields as JSON; values of other types, of which pydantic would warn, as they are.

    Reading them then fails. A warning would quote them.
    """
    return value.model_dump(mode="json", by_alias=True, round_trip=True, warnings=False)


def _lost(stored: Any, kept: Any, path: str = "") -> Iterator[str]:
    """Yield the fields of stored JSON that the value read from it does not have."""
    if isinstance(stored, dict) and isinstance(kept, dict):
        for name, value in stored.items():
            if name not in kept:
                yield path + name
            else:
                yield from _lost(value, kept[name], f"{path}{name}.")
    elif isinstance(stored, list) and isinstance(kept, list):
        for value, other in zip(stored, kept, strict=False):
            yield from _lost(value, other, path)
