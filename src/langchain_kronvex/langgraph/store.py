"""`KronvexStore`: LangGraph's `BaseStore` on a memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime
from typing import Any

from langchain_core.embeddings import Embeddings
from langgraph.store.base import (
    BaseStore,
    GetOp,
    IndexConfig,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
    ensure_embeddings,
)

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import ConfigurationError, InvalidInput, MemoryNotFound
from langchain_kronvex.core.records import Record
from langchain_kronvex.langgraph import items
from langchain_kronvex.langgraph.namespaces import certain_beginning, check_namespace, listed
from langchain_kronvex.langgraph.search import CheckedSearch, Searcher
from langchain_kronvex.memory.memory import KronvexMemory
from langchain_kronvex.memory.namespaced_items import AGENT_SUFFIX, TEXTS, Namespace, owner_of
from langchain_kronvex.memory.scope_from_config import check_memory

_Place = tuple[Namespace, str]


class KronvexStore(BaseStore):
    """The long-term memory of LangGraph agents, stored with the memories.

    Pass it to `create_agent`, `StateGraph.compile` or LangMem as `store=`. It does everything that
    LangGraph's own stores do, and needs no SQLite extension, no server and no API key:

    ```python
    store = KronvexStore(KronvexMemory())
    store.put(("users", "ana"), "food", {"text": "Ana is allergic to peanuts."})
    store.search(("users", "ana"), query="What must she not eat?")
    ```

    Items are found by their words and by their meaning, even without an `index`. The whole value is
    searched unless `index` names fields; then each field, and each value on its path, is searched
    separately, up to 32 of them, and the best one counts. `score` is the similarity of
    `KronvexMemory.recall`, from 0 to 1. Items put with `index=False` are only found without a
    query. Values are JSON.

    Expired and deleted items are invisible at once. Deleted items are erased from the file in the
    background, many at a time, at the latest by `close`; after a crash, at the next opening.

    Like LangGraph's stores, a batch reads before it writes. All puts and deletions of a batch are
    one step: after a crash, all or none of them are done, and readers never see only some of them;
    but a search through several namespaces reads these one after the other. A Kronvex API has no
    such step. There, puts are sent before deletions, one by one: readers may briefly see a moved
    item twice, but always at least once, and a crash delays the rest until the store is opened
    again. Deletions without puts are sent one after the other.

    Args:
        memory: The items are stored in the same place, under a separate agent id, apart from the
            memories. The store opens that place, and `close` closes it; the caller closes `memory`.
        index: `fields` names the paths to search ("$" is the whole value). `embed` is an
            Embeddings object, a function or "provider:model" to use instead of the memory's own
            embeddings. `dims` is taken from the embeddings.
        ttl: `default_ttl` in minutes, for items put without one. `refresh_on_read` (True by
            default) restarts the lifetime of an item whenever it is read.

    Attributes:
        memory: The memory that stores the items.

    Raises:
        InvalidInput: an option does not fit.
        ConfigurationError: the embeddings cannot be used.
        StoreError: the place cannot be written.
        EmbeddingMismatch: the items were indexed with other embeddings, for example because the
            memory has been reindexed. Open the store with the old ones as `index["embed"]`, and
            call `store.memory.reindex` with the new ones.
    """

    supports_ttl = True

    @checks.checked_names
    def __init__(
        self,
        memory: KronvexMemory,
        *,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
    ) -> None:
        check_memory(memory)
        self.index_config = index
        self.ttl_config = ttl
        self._fields = items.check_fields((index or {}).get("fields") or [items.WHOLE])
        self._in_parts = len(self._fields) > 1 or any("[" in path for path in self._fields)
        embeddings = _embeddings((index or {}).get("embed"))
        changes: dict[str, Any] = {"retention": None}  # items are kept until they are deleted
        changes |= {} if embeddings is None else {"embeddings": embeddings}
        self.memory = memory.for_agent(f"{memory.agent_id}{AGENT_SUFFIX}", **changes)
        self._searcher = Searcher(self.memory.engine)

    @property
    def embeddings(self) -> Embeddings | None:
        """The embeddings of the items; None if only words are searched, or on a server."""
        model = self.memory.engine.model.current
        return None if model is None else model.embeddings

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do the operations, all reads before all writes, and return their results."""
        ops, now = list(ops), self.memory.engine.clock()
        searches = {n: CheckedSearch.of(op) for n, op in enumerate(ops) if isinstance(op, SearchOp)}
        puts = _last_of_each(op for op in ops if isinstance(op, PutOp))
        values = self.memory.engine.before_save.values
        records = [
            record
            for put in puts.values()
            if put.value is not None
            for record in items.to_records(put._replace(value=values(put.value)), self._fields, now)
        ]
        _check_kinds(ops)
        got = self._get([op for op in ops if isinstance(op, GetOp)])
        results: list[Result] = []
        for number, op in enumerate(ops):
            if isinstance(op, GetOp):
                results.append(got.get(_place(op)))
            elif isinstance(op, SearchOp):
                results.append(self._search(searches[number], op.refresh_ttl))
            elif isinstance(op, ListNamespacesOp):
                results.append(self._list(op))
            else:
                results.append(None)
        self._put(puts, records, now)
        return results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Async version of `batch`."""
        ops, threads = list(ops), self.memory.engine.threads
        writes = any(isinstance(op, PutOp) for op in ops)
        return await (threads.run if writes else threads.read)(self.batch, ops)

    def sweep_ttl(self) -> int:
        """Remove expired items from the file; return how many.

        They are invisible anyway, and are also removed whenever a memory is opened.
        """
        return self.memory.engine.backend.purge(self.memory.engine.clock())

    async def asweep_ttl(self) -> int:
        """Async version of `sweep_ttl`."""
        return await self.memory.engine.threads.run(self.sweep_ttl)

    def start_ttl_sweeper(self, sweep_interval_minutes: float | None = None) -> Future[None]:
        """Remove expired items from the file, once.

        LangGraph's own stores do this repeatedly in a thread. Here expired items are invisible at
        once, and are removed by later writes and whenever a memory is opened, so once is enough.

        Args:
            sweep_interval_minutes: Has no effect.

        Returns:
            A future that is done.
        """
        done: Future[None] = Future()
        if self.ttl_config:
            self.sweep_ttl()
        done.set_result(None)
        return done

    async def astart_ttl_sweeper(self, sweep_interval_minutes: float | None = None) -> Future[None]:
        """Async version of `start_ttl_sweeper`."""
        return await self.memory.engine.threads.run(self.start_ttl_sweeper, sweep_interval_minutes)

    def stop_ttl_sweeper(self, timeout: float | None = None) -> bool:
        """Return True, because no sweeper is running."""
        return True

    async def astop_ttl_sweeper(self, timeout: float | None = None) -> bool:
        """Async version of `stop_ttl_sweeper`."""
        return True

    # -- one batch -----------------------------------------------------------------------------

    def _get(self, gets: Sequence[GetOp]) -> dict[_Place, Item]:
        keys_of: dict[Namespace, dict[str, bool]] = {}
        for get in gets:
            namespace, key = _place(get)
            if namespace:
                keys = keys_of.setdefault(namespace, {})
                keys[key] = keys.get(key, False) or get.refresh_ttl
        found: dict[_Place, Item] = {}
        for namespace, keys in keys_of.items():
            for record in self.memory.engine.find(items.select(owner_of(namespace), keys)):
                item = Item(**items.item_fields(record))
                found[namespace, item.key] = item
                self._refresh(record, wanted=keys[item.key])
        return found

    def _search(self, search: CheckedSearch, refresh_ttl: bool) -> list[SearchItem]:
        found = self._searcher.search(search)
        for record, _ in found:
            self._refresh(record, wanted=refresh_ttl)
        return [SearchItem(**items.item_fields(record), score=score) for record, score in found]

    def _list(self, asked: ListNamespacesOp) -> list[Namespace]:
        checks.check_count(asked.limit, "limit", least=0)
        checks.check_count(asked.offset, "offset", least=0)
        checks.check_optional_count(asked.max_depth, "max_depth", least=1)
        beginning = certain_beginning(asked)
        found = set(self._searcher.namespaces(beginning))
        if beginning and self._searcher.newest(owner_of(beginning), 1, 0):
            found.add(beginning)
        return listed(found, asked)

    def _put(self, puts: Mapping[_Place, PutOp], records: Sequence[Record], now: datetime) -> None:
        """Store items, replacing those with the same keys, and delete others, in one step."""
        deleted: dict[str, list[str]] = {}
        for (namespace, key), put in puts.items():
            if put.value is None and namespace:
                deleted.setdefault(owner_of(namespace), []).append(key)
        selects = (items.select, items.select_parts)
        chosen = [select(owner, keys) for select in selects for owner, keys in deleted.items()]
        # Parts that are left over are never found, and are deleted together with their item.
        in_parts = self._in_parts or any(put.index for put in puts.values())
        if in_parts and not self.memory.engine.backend.is_remote:  # one request for each
            chosen += items.replaced_parts(records)
        if records or chosen:
            self.memory.engine.put(records, now, chosen)

    def _refresh(self, record: Record, *, wanted: bool) -> None:
        """Restart the lifetime of an item, unless it has been replaced or erased since."""
        engine = self.memory.engine
        changed = items.refreshed(record, engine.clock()) if wanted else None
        if changed is None:
            return
        parts: list[Record] = []
        if record.metadata.get(TEXTS):
            parts = engine.find(items.select_parts(record.scope.owner, [record.key]))
        for each in (changed, *(replace(p, expires_at=changed.expires_at) for p in parts)):
            with contextlib.suppress(MemoryNotFound, InvalidInput):
                engine.backend.change(each, engine.clock())

    # -- closing -------------------------------------------------------------------------------

    def close(self) -> None:
        """Finish the background work and close the store of the items. Also done at exit."""
        self.memory.close()

    async def aclose(self) -> None:
        """Async version of `close`."""
        await asyncio.to_thread(self.close)

    def __enter__(self) -> KronvexStore:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    async def __aenter__(self) -> KronvexStore:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"KronvexStore({self.memory!r})"


def _place(op: GetOp | PutOp) -> _Place:
    """Return the checked place of an item; no item can be put into the empty namespace."""
    puts = isinstance(op, PutOp) and op.value is not None
    return check_namespace(op.namespace, may_be_empty=not puts), checks.check_text(op.key, "key")


def _last_of_each(puts: Iterable[PutOp]) -> dict[_Place, PutOp]:
    """Return the last put of each item, by its checked place."""
    last: dict[_Place, PutOp] = {}
    for put in puts:
        place = _place(put)
        last.pop(place, None)  # items are written in the order of their last puts
        last[place] = put._replace(namespace=place[0])
    return last


def _check_kinds(ops: Sequence[Op]) -> None:
    for op in ops:
        if not isinstance(op, GetOp | SearchOp | PutOp | ListNamespacesOp):
            raise InvalidInput(f"A batch consists of operations, not {type(op).__name__}.")
        if isinstance(op, ListNamespacesOp):
            for condition in op.match_conditions or ():
                check_namespace(condition.path, may_be_empty=True)


def _embeddings(embed: Any) -> Embeddings | str | None:
    """Return a value for `embeddings=`; a function is wrapped and named after itself."""
    if embed is None or isinstance(embed, str | Embeddings):
        return embed
    wrapped = ensure_embeddings(embed)
    if getattr(wrapped, "func", None) is None:
        raise ConfigurationError(
            "index['embed'] is an async function, but vectors are also computed in the background. "
            "Pass a function that is not async, or an Embeddings object."
        )
    wrapped.model = f"{embed.__module__}.{getattr(embed, '__qualname__', type(embed).__name__)}"  # type: ignore[attr-defined]
    return wrapped
