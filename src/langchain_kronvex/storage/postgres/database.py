"""Transactions on PostgreSQL: repeated after a lost connection, and the server's time."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import psycopg
from psycopg.rows import tuple_row

from langchain_kronvex.core.config.settings import PostgresOptions
from langchain_kronvex.core.errors import MemoryClosed
from langchain_kronvex.core.records import Scope
from langchain_kronvex.storage.postgres import connections as lending
from langchain_kronvex.storage.postgres.errors import Attempts, is_lost, lacks_reach, translated
from langchain_kronvex.storage.postgres.rows import scope_key

T = TypeVar("T")
Rows = list[tuple[Any, ...]]
Reach = Iterable[UUID] | None  # scopes, for row-level security; None for all
REACH = "kronvex.reach"  # the setting that row-level security checks
_ASK_TIME_EVERY_SECONDS = 60.0
_BOOT_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", None)  # on Linux
_SCHEMAS = re.compile(r"('?)\b(langchain_kronvex|pgvector)(?=['.]|$)")


class Statement(NamedTuple):
    """One statement; with `many`, the same for each of several rows of parameters."""

    sql: str
    parameters: Sequence[Any] = ()
    many: bool = False


def locking(name: str, *, shared: bool = False) -> Statement:
    """Return the statement that takes a lock of this name until the transaction ends."""
    function = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
    return Statement(f"SELECT {function}(hashtextextended(%s, 0))", [name])


@dataclass(slots=True)
class Transaction:
    """One attempt to do a piece of work, as one transaction over one connection.

    Attributes:
        agent_id: The agent whose records the work is about.
        location: Of the store, for messages.
        is_retry: Whether an earlier attempt was interrupted, perhaps after it had done everything.
    """

    agent_id: str
    location: str
    _placed: Callable[[str], str]
    is_retry: bool
    _connection: lending.Connection
    _settings: list[Statement]  # sent together with the first statement

    def scope(self, owner: str) -> UUID:
        """Return the key of an owner's records."""
        return scope_key(self.agent_id, owner)

    def execute(self, sql: str, parameters: Sequence[Any] = (), *, many: bool = False) -> Rows:
        """Run one statement and return its rows."""
        return self.execute_all([Statement(sql, parameters, many)])[0]

    def column(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Run one statement and return the first cell of each row."""
        return [row[0] for row in self.execute(sql, parameters)]

    def execute_all(self, statements: Sequence[Statement]) -> list[Rows]:
        """Run statements in one round trip and return the rows of each."""
        sent = [*self._settings, *statements]
        # Plain cursors, whatever kind the user's own connections make.
        cursors = [psycopg.Cursor(self._connection, row_factory=tuple_row) for _ in sent]
        with self._connection.pipeline() if len(sent) > 1 else nullcontext():
            for cursor, each in zip(cursors, sent, strict=True):
                if each.many:
                    cursor.executemany(self._placed(each.sql), each.parameters)
                else:
                    cursor.execute(self._placed(each.sql), each.parameters, binary=True)
        asked = cursors[len(self._settings) :]
        self._settings = []
        return [[] if each.rownumber is None else each.fetchall() for each in asked]

    def execute_script(self, script: str) -> None:
        """Run all statements of a script, which has no parameters."""
        self.execute_all([])
        self._connection.execute(self._placed(script).replace("%%", "%"))


Work = Callable[[Transaction], T]


class Database:
    """One database with the schema of the store, for one agent.

    Args:
        conninfo: A connection string of libpq; "" with a pool of the user's.
        options: How to use it.
        agent_id: The agent.
        patience_seconds: How long to go on trying when the server is away or busy.

    Attributes:
        location: The URL without the password.
        patience_seconds: As given; it may be changed.
        is_limited: Whether row-level security is on.
        is_read_only: Whether nothing is to be written.
        on_unembedded: Called when memories without a vector are read.
        report: Called with faults that were found in the store.

    Raises:
        ConfigurationError: the URL cannot be read.
    """

    def __init__(
        self, conninfo: str, options: PostgresOptions, agent_id: str, patience_seconds: float
    ) -> None:
        self.location, self.agent_id = lending.location_of(conninfo, options), agent_id
        self.patience_seconds, self.is_limited = patience_seconds, False
        self.is_read_only = False
        self.on_unembedded: Callable[[], None] = lambda: None
        self.report: Callable[[Exception], None] = lambda _: None
        self.clock = ServerClock(lambda: self.read("SELECT clock_timestamp()")[0][0])
        self._options = options
        self._use_vectors_in("public")
        connections = lending.connections_to(conninfo, options, patience_seconds)
        self._connections: lending.Connections | None = connections

    def probe(self) -> None:
        """Connect once: a pool of ours does not say why it has no connection.

        Raises:
            StoreUnavailable: the server cannot be reached, or refuses.
        """
        refused = None if self._options.pool is not None else self.connections.refusal()
        if refused is not None:
            raise translated(refused, self.location, self.patience_seconds) from None

    def run(
        self, work: Work[T], reach: Reach = None, *, is_quick: bool = False, reads: bool = False
    ) -> T:
        """Do a piece of work as one transaction; repeat it when it is interrupted.

        Args:
            work: Called anew for each attempt.
            reach: The scopes that it touches, for row-level security.
            is_quick: Whether each statement has a time limit; otherwise it may take long.
            reads: Whether it is one quick statement that reads.

        Raises:
            StoreError: it cannot be done.
        """
        attempts, is_retry = Attempts(self.location, self.patience_seconds), False
        while True:
            connections, limited = self.connections, self.is_limited
            try:
                with connections.connection(attempts.seconds_left()) as connection:
                    seconds, quick = attempts.seconds_left(), is_quick or reads
                    settings = self._settings(connection, reach, seconds, quick)
                    alone = reads and not settings and connection.autocommit
                    with nullcontext() if alone else connection.transaction():
                        return work(self._begin(is_retry, connection, settings))
            except (psycopg.Error, OSError) as error:
                if not limited and lacks_reach(error):  # another worker turned it on meanwhile
                    self.is_limited = True
                    continue
                pause = attempts.pause_after(connections.reason_of(error))
                if is_lost(error):
                    connections.check()
            is_retry = True
            time.sleep(pause)

    def read(self, sql: str, parameters: Sequence[Any] = (), reach: Reach = None) -> Rows:
        """Run one quick statement that reads, and return its rows."""
        return self.run(lambda tx: tx.execute(sql, parameters), reach, reads=True)

    def reach_of(self, scopes: Iterable[Scope]) -> Reach:
        """Return the reach of a transaction that touches only the owners of these scopes."""
        return {scope_key(self.agent_id, scope.owner) for scope in scopes}

    @property
    def connections(self) -> lending.Connections:
        """The connections to the database.

        Raises:
            MemoryClosed: they are closed.
        """
        if self._connections is None:
            raise MemoryClosed()
        return self._connections

    def _settings(
        self, connection: lending.Connection, reach: Reach, seconds_left: float, is_quick: bool
    ) -> list[Statement]:
        """Return the statements that set what holds for one transaction alone."""
        settings: dict[str, str | None] = {}
        if self.is_limited:
            settings[REACH] = "*" if reach is None else ",".join(map(str, reach))
        limit = self._options.statement_timeout_seconds
        if not self.connections.bounds_statements(connection):
            settings["lock_timeout"] = lending.milliseconds(seconds_left)
            if limit is not None:
                settings["statement_timeout"] = lending.milliseconds(limit)
        elif limit is None and not is_quick:
            settings["statement_timeout"] = None  # as the server sets it
        if not settings:
            return []
        calls = ", ".join("set_config(%s, %s, true)" for _ in settings)
        return [Statement(f"SELECT {calls}", [each for pair in settings.items() for each in pair])]

    def find_vectors(self) -> str | None:
        """Note the schema in which pgvector is installed; return its version, None without it."""
        found = self.read(
            "SELECT e.extversion, n.nspname FROM pg_extension AS e "
            "JOIN pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'vector'"
        )
        if not found:
            return None
        version, schema = found[0]
        self._use_vectors_in(schema)
        return str(version)

    def _use_vectors_in(self, schema: str) -> None:
        placed = partial(_placed, self._options.schema, schema)
        self._begin = partial(Transaction, self.agent_id, self.location, placed)

    def close(self) -> None:
        """Close our own connections, unless another memory uses them."""
        connections, self._connections = self._connections, None
        if connections is not None:
            connections.close()


def most_of_attempts(work: Work[T], size: Callable[[Any], int] | None = None) -> Work[T]:
    """Return work whose result is the largest of its attempts' results, by their `size`.

    An attempt that was interrupted at its end may have done everything. Then the next one finds
    nothing left to do.
    """
    results: list[Any] = []

    def attempt(tx: Transaction) -> Any:
        results.append(work(tx))
        return max(results, key=size)

    return attempt


@lru_cache(maxsize=512)
def _placed(schema: str, vector_schema: str, sql: str) -> str:
    """Return a statement with the real names of the schemas, also within literals."""
    names = {"langchain_kronvex": _quoted(schema), "pgvector": _quoted(vector_schema)}

    def placed(found: re.Match[str]) -> str:
        quote, name = found[1], names[found[2]]
        return quote + name.replace("'", "''") if quote else name

    return _SCHEMAS.sub(placed, sql)


def _quoted(name: str) -> str:
    """Return a name as an identifier; a % is doubled for the driver."""
    return '"' + name.replace('"', '""').replace("%", "%%") + '"'


def _elapsed() -> float:
    """Return seconds since some moment, including those during which the machine slept."""
    return time.clock_gettime(_BOOT_CLOCK) if _BOOT_CLOCK is not None else time.monotonic()


class ServerClock:
    """The server's time, which all workers share, independent of the clocks of their machines.

    It is read again once a minute, in the background. Only the first read blocks.

    Args:
        ask: Returns the server's time.
        elapsed: Returns seconds since some moment.
    """

    def __init__(
        self, ask: Callable[[], datetime], elapsed: Callable[[], float] = _elapsed
    ) -> None:
        self._ask, self._elapsed = ask, elapsed
        self._zero: datetime | None = None  # the server's time when `elapsed` was 0
        self._next_at = 0.0

    def now(self) -> datetime:
        """Return the server's time."""
        zero = self._zero
        if zero is None:
            zero = self._renew()
        elif self._elapsed() >= self._next_at:
            self._next_at = self._elapsed() + _ASK_TIME_EVERY_SECONDS
            threading.Thread(target=self._try_to_renew, daemon=True).start()
        return zero + timedelta(seconds=self._elapsed())

    def _renew(self) -> datetime:
        before = self._elapsed()
        # In UTC: local time jumps when summer time begins or ends.
        now = self._ask().astimezone(timezone.utc)
        after = self._elapsed()
        self._next_at = after + _ASK_TIME_EVERY_SECONDS
        self._zero = zero = now - timedelta(seconds=(before + after) / 2)
        return zero

    def _try_to_renew(self) -> None:
        with contextlib.suppress(Exception):  # the next attempt is a minute later
            self._renew()
