"""Turns facts about a store into findings. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Literal

from langchain_kronvex.cli.doctor.facts import Facts, StoreFacts
from langchain_kronvex.cli.doctor.files import FileFacts
from langchain_kronvex.cli.doctor.ids import nobodies, one_turn_sessions, spellings
from langchain_kronvex.cli.terminal import counted
from langchain_kronvex.core import errors

_LEAST_FREE_BYTES = 64 << 20
_MOST_LOG_BYTES = 256 << 20
_MOST_SKEW_SECONDS = 60.0
_ADVICE: tuple[tuple[type[errors.KronvexError], str], ...] = (
    (errors.StoreBusy, "End the process that holds the store, or wait until it is done."),
    (errors.NotAStore, "Choose another path, or restore the file if it was a store."),
    (errors.SchemaTooNew, "Run: pip install -U langchain-kronvex"),
    (errors.Unauthorized, "Set KRONVEX_API_KEY to a key of this server (langchain-kronvex keys)."),
    (errors.AgentNotFound, "Check KRONVEX_AGENT_ID or --agent, and that the key is of the agent."),
    (errors.ServiceError, "Check that the server runs, and its URL; what was saved waits here."),
    (errors.MissingExtra, "Install what is missing, in the environment of your program."),
    (
        errors.StoreUnavailable,
        "Check the URL, that the folder or server is there, and your rights.",
    ),
    (errors.ConfigurationError, "Check --url, KRONVEX_URL and the other settings."),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the result.

    Attributes:
        level: `problem` needs action, `note` may.
        what: What was found.
        advice: What to do; "" for nothing.
    """

    level: Literal["ok", "note", "problem"]
    what: str
    advice: str = ""


_ok, _note, _problem = (partial(Finding, level) for level in ("ok", "note", "problem"))

_FILE_SYSTEMS = (
    (
        ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre",
         "drvfs", "fuse.glusterfs", "fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone"),
        _problem(
            "It lies on a network file system, whose locks SQLite cannot rely on: writes of two "
            "machines may damage it.",
            "Move it to a local disk, or use postgresql:// for several machines.",
        ),
    ),
    (
        ("tmpfs", "ramfs"),
        _problem("It lies in RAM: a restart of the machine removes it.", "Move it to a disk."),
    ),
    (
        ("overlay",),
        _note(
            "It lies in the layer of a container, which goes with the container.",
            "Keep it on a volume that is mounted into the container.",
        ),
    ),
)  # fmt: skip


def findings(facts: Facts) -> list[Finding]:
    """Return all findings, in the order in which they are shown."""
    found = [*_place(facts), *_opening(facts)]
    if facts.file is not None and not isinstance(facts.error, errors.NotAStore):
        found += _file(facts.file)
    if facts.store is not None:
        found += [*_contents(facts, facts.store), *_work(facts.store)]
        found += [*_embeddings(facts, facts.store), *_ids(facts.store), *_clock(facts, facts.store)]
    return [*found, *_outboxes(facts), *_software(facts)]


def _place(facts: Facts) -> Iterator[Finding]:
    yield _ok(f"The store is {facts.url}, by {facts.url_reason}.")
    yield _ok(f"The agent is {facts.agent_id!r}, by {facts.agent_reason}.")
    if facts.kind == "ram":
        yield _problem(
            "This URL keeps memories in the RAM of one process: nothing outlives it.",
            "Use a file: sqlite:////absolute/path/memory.db",
        )


def _opening(facts: Facts) -> Iterator[Finding]:
    if facts.error is None:
        if facts.kind != "ram":
            yield _ok("It can be opened and read.")
        return
    advice = next((advice for kind, advice in _ADVICE if isinstance(facts.error, kind)), "")
    yield _problem(f"It cannot be read. {facts.error}", advice)


def _file(file: FileFacts) -> Iterator[Finding]:
    if file.is_relative:
        yield _note(
            f"The path is relative: from another working directory, it is not {file.path}.",
            "Use an absolute path in the URL: sqlite:////absolute/path/memory.db",
        )
    if file.exists:
        yield from _contents_of_file(file)
    for names, found in _FILE_SYSTEMS:
        if file.file_system in names:
            yield found
    needed = max(2 * file.size_bytes, _LEAST_FREE_BYTES)
    if file.free_bytes is not None and file.free_bytes < needed:
        yield _problem(
            f"The disk has {_megabytes(file.free_bytes)} left; forgetting rewrites the file, and "
            f"may need {_megabytes(needed)}.",
            "Make room on the disk.",
        )


def _contents_of_file(file: FileFacts) -> Iterator[Finding]:
    if file.damage:
        yield _problem(
            f"The file is damaged: {file.damage}",
            "Stop all programs that use it, and restore it from a backup.",
        )
    if file.unwritable:
        held = f" Open in: {', '.join(file.holders)}." if file.holders else ""
        is_held = "locked" in file.unwritable
        yield _problem(
            f"It cannot be written ({file.unwritable}).{held}",
            "End the process that holds it."
            if is_held
            else "Give this user the right to write to the file and its folder.",
        )
    elif file.journal is not None:
        yield _ok(f"It can be written; journal: {file.journal}.")
    if file.mode & 0o077:
        yield _problem(
            f"Other users of this machine may open it (mode {file.mode:o}).",
            "Run: langchain-kronvex doctor --fix",
        )
    if file.log_bytes > _MOST_LOG_BYTES:
        yield _note(
            f"The write-ahead log has {_megabytes(file.log_bytes)}: a program has been reading "
            "for very long.",
            "End programs that keep the store open without use.",
        )


def _contents(facts: Facts, store: StoreFacts) -> Iterator[Finding]:
    stats, condition = store.stats, store.condition
    size = f", {_megabytes(stats.size_bytes)}" if stats.size_bytes is not None else ""
    yield _ok(
        f"{counted(stats.memories, 'memory')} and {counted(stats.messages, 'message')} of "
        f"{counted(stats.users, 'user')} in {counted(len(store.sessions), 'session')}{size}."
    )
    others = {a: n for a, n in condition.agents.items() if a != facts.agent_id}
    if not stats.memories and others:
        named = ", ".join(f"{agent!r} ({count:,})" for agent, count in sorted(others.items())[:5])
        yield _problem(
            f"The agent {facts.agent_id!r} has no memories; other agents have: {named}.",
            "Name the agent: agent_id, KRONVEX_AGENT_ID or --agent.",
        )
    elif not stats.memories:
        yield _note("No memory is stored.", "Check that the program uses this URL.")
    nobody = sum(s.memories for s in store.sessions if s.user_id is None and s.session_id is None)
    if nobody:
        yield _note(
            f"{counted(nobody, 'memory')} of no user, found with include_shared=True alone.",
            "Pass user_id when saving what is about a user.",
        )


def _work(store: StoreFacts) -> Iterator[Finding]:
    stats, condition = store.stats, store.condition
    if not condition.is_writable:
        yield _problem(
            "The database cannot be written: it is a standby, or the role lacks rights.",
            "Connect to the primary server, with a role that may write.",
        )
    if condition.is_erasing:
        yield _problem(
            "Bytes of what was forgotten are still in the file: an erasure was interrupted.",
            "Run: langchain-kronvex doctor --fix",
        )
    if condition.expired:
        yield _note(
            f"{counted(condition.expired, 'expired record')} still stored, though invisible.",
            "The next program that opens the store removes them, or doctor --fix.",
        )
    if stats.pending or stats.failed:
        yield Finding(
            "problem" if stats.failed else "note",
            f"{counted(stats.pending, 'write')} still to be sent, {stats.failed:,} refused.",
            "See: langchain-kronvex outbox list",
        )
    if condition.set_aside:
        yield _note(
            f"Consolidation has set {counted(condition.set_aside, 'exchange')} aside, because the "
            "model's answers could not be used.",
            "Run: langchain-kronvex consolidate --again set_aside --model MODEL",
        )
    yield _ok(
        "Each running program counts its own pending, failed and degraded work: memory.stats()."
    )


def _embeddings(facts: Facts, store: StoreFacts) -> Iterator[Finding]:
    stored, condition = store.condition.model, store.condition
    if facts.model_error is not None:
        yield _problem(str(facts.model_error), "Check --embeddings.")
    elif facts.model and stored and facts.model != stored:
        yield _problem(
            f"The vectors come from {stored}, but {facts.model} was asked for: programs that open "
            "the store so are refused.",
            "Pass the embeddings that the store has, or run: langchain-kronvex reindex",
        )
    elif stored:
        yield _ok(f"The vectors come from {stored}.")
    if condition.upcoming:
        yield _note(
            f"A reindexing with {condition.upcoming} was not finished.",
            "Call it again with the same embeddings: it goes on where it stopped.",
        )
    if store.stats.unembedded and facts.model:
        yield _note(
            f"{counted(store.stats.unembedded, 'memory')} without a vector, found by words alone.",
            "The next program that opens the store embeds them, or doctor --fix.",
        )


def _ids(store: StoreFacts) -> Iterator[Finding]:
    users = [each.user_id for each in store.users]
    sessions = [each.session_id for each in store.sessions if each.session_id]
    for what, names in (("user", nobodies(users)), ("session", nobodies(sessions))):
        if names:
            yield _problem(
                f"Names that may stand for nobody, as {what}: {', '.join(map(repr, names))}. All "
                "who get such a name share one memory.",
                f"Check where the program takes the {what} from.",
            )
    for names in spellings(store.users):
        yield _note(
            f"Perhaps one person: {', '.join(map(repr, names))}. Ids match exactly.",
            "Use one spelling, for example that of the account.",
        )
    for user in one_turn_sessions(store.sessions):
        whose = f"The user {user!r} gets" if user else "Without a user_id, programs get"
        yield Finding(
            "note" if user else "problem",
            f"{whose} a new session for almost every turn.",
            "Keep the session_id for a whole conversation."
            + ("" if user else " Pass user_id as well: without it, each session is another user."),
        )


def _clock(facts: Facts, store: StoreFacts) -> Iterator[Finding]:
    ahead = store.clock_ahead_seconds
    if abs(ahead) > _MOST_SKEW_SECONDS:
        yield _note(
            f"The clock of the database is {abs(ahead):,.0f} s "
            f"{'ahead of' if ahead > 0 else 'behind'} that of this machine.",
            "Let both set their clocks from the network.",
        )
    newest = max((each.last_at for each in store.sessions), default=facts.now)
    if newest > facts.now + timedelta(seconds=max(ahead, 0) + _MOST_SKEW_SECONDS):
        yield _note(
            f"The newest memory is dated {newest.isoformat(timespec='minutes')}, in the future.",
            "Check the clocks, and the created_at that programs pass.",
        )


def _outboxes(facts: Facts) -> Iterator[Finding]:
    for each in facts.outboxes:
        if each.error:
            yield _problem(f"The outbox {each.path}: {each.error}.", "Check the file.")
        if each.refused:
            yield _problem(
                f"{each.server} refused {each.refused:,} writes, which are kept in {each.path}.",
                "See `outbox list`; send them again with `doctor --fix --resend`.",
            )
        if each.unsent:
            yield _note(
                f"{each.unsent:,} writes for {each.server} wait in {each.path}.",
                "They are sent when that server's memory is next opened, with the same API key.",
            )


def _software(facts: Facts) -> Iterator[Finding]:
    schema = facts.store.condition.schema if facts.store else None
    versions = [f"{name} {version}" for name, version in facts.software.items()]
    versions += [f"schema {schema}"] if schema is not None else []
    yield _ok(f"Versions: {', '.join(versions)}.")
    there = [name for name, installed in facts.extras.items() if installed]
    missing = [name for name, installed in facts.extras.items() if not installed]
    told = f"Extras: {', '.join(there) or 'none'}."
    yield _ok(told + (f" Not installed: {', '.join(missing)}." if missing else ""))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
