"""The command `doctor`: shows the findings, and mends what is safe to mend."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from langchain_kronvex.cli.doctor.facts import Facts, gather
from langchain_kronvex.cli.doctor.findings import findings
from langchain_kronvex.cli.opening import Add, Parents, add_command, opened
from langchain_kronvex.cli.terminal import counted, note, say, say_json
from langchain_kronvex.core.errors import ErasurePending, KronvexError, StoreUnavailable
from langchain_kronvex.storage.rest.outbox.outbox import Outbox

_LAST_SECONDS = 120.0


def add_doctor_command(add: Add, parents: Parents) -> None:
    """Add the command."""
    keys = "one object: url, agent_id, findings (level, what, advice), fixed"
    purpose = "find out why memories do not persist or are not found; exit code 1 for a problem"
    option = add_command(add, "doctor", _doctor, purpose, parents, keys)
    fix = "finish an erasure, remove what has expired, embed what has no vector, make the file "
    option("--fix", action="store_true", help=fix + "private")
    upgrade = "with --fix: also upgrade an older store, which older versions then cannot read"
    option("--upgrade", action="store_true", help=upgrade)
    resend = "with --fix: let entries of outboxes that a server refused be sent again"
    option("--resend", action="store_true", help=resend)


def _doctor(asked: argparse.Namespace) -> int:
    facts, fixed = gather(asked), list[str]()
    if asked.fix:
        fixed = list(_resent(facts)) if asked.resend else []
        if _is_to_open(facts, upgrade=asked.upgrade):
            _open_and_finish(asked, facts)
        before, facts = facts, gather(asked)
        fixed += _changes(before, facts)
    found = findings(facts)
    if asked.json:
        say_json({"url": facts.url, "agent_id": facts.agent_id, "findings": found, "fixed": fixed})
    else:
        for each in fixed:
            say(f"fixed: {each}")
        for finding in found:
            say(finding.what, level=finding.level)
            if finding.advice:
                say(f"{'':9}→ {finding.advice}")
    return int(any(each.level == "problem" for each in found))


def _is_to_open(facts: Facts, *, upgrade: bool) -> bool:
    """Return whether opening the store for writing mends something."""
    if facts.kind not in ("file", "postgres"):
        return False
    if facts.store is None:  # an older schema is the one reason that opening it removes
        return upgrade and isinstance(facts.error, StoreUnavailable)
    state = facts.store.condition
    is_open = facts.file is not None and bool(facts.file.mode & 0o077)
    unembedded = facts.store.stats.unembedded if _fits(facts) else 0
    return bool(is_open or state.is_erasing or state.expired or unembedded)


def _fits(facts: Facts) -> bool:
    """Return whether the embeddings that were asked for are those of the store."""
    stored = facts.store.condition.model if facts.store else None
    return facts.model is not None and stored in (None, facts.model)


def _open_and_finish(asked: argparse.Namespace, facts: Facts) -> None:
    """Open the store as any program does, and finish the work that this begins."""
    try:
        with opened(asked, write=True, vectors=_fits(facts)) as memory:
            with suppress(ErasurePending):  # which the findings say then
                memory.engine.backend.finish_erasing(memory.engine.clock())
            memory.flush(_LAST_SECONDS)
    except KronvexError as error:  # the findings show what is left
        note(f"langchain-kronvex: {error}")


def _resent(facts: Facts) -> Iterator[str]:
    for each in facts.outboxes:
        if each.refused:
            with closing(Outbox(Path(each.path), 30.0)) as outbox:
                count = outbox.resend([entry.place for entry in outbox.refused()])
            yield f"{count:,} writes in {each.path} are to be sent again"


def _changes(before: Facts, after: Facts) -> Iterator[str]:
    """Yield what is better than before."""
    if before.file and after.file and before.file.mode != after.file.mode:
        yield f"the file is private now (mode {after.file.mode:o})"
    if after.store is None:
        return
    if before.store is None:
        yield f"the store was upgraded to schema {after.store.condition.schema}"
        return
    old, new = before.store, after.store
    if old.condition.is_erasing and not new.condition.is_erasing:
        yield "an interrupted erasure is finished"
    if old.condition.expired > new.condition.expired:
        removed = old.condition.expired - new.condition.expired
        yield f"removed {counted(removed, 'expired record')}"
    if old.stats.unembedded > new.stats.unembedded:
        yield f"embedded {counted(old.stats.unembedded - new.stats.unembedded, 'memory')}"
