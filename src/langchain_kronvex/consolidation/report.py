"""What a consolidation did, or would do."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Literal

from langchain_kronvex.core.context_lines import neutral
from langchain_kronvex.core.validation import MemoryType

OperationKind = Literal["add", "supersede", "confirm"]
_SIGNS = {"add": "+", "supersede": "~", "confirm": "="}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One change.

    Attributes:
        kind: `add` a memory, `supersede` others with it, or `confirm` one with more sources.
        id: The id of the derived memory; None for one that a dry run would add.
        content: Its text.
        memory_type: Its type.
        user_id: Whose memory it is.
        sources: Ids of the memories that it rests on; of a confirmation, the new ones.
        replaces: Ids of the memories that it supersedes.
        replaced: What they say.
        valid_from: Since when it is true.
        reason: Why, in the model's words.
    """

    kind: OperationKind
    id: str | None
    content: str
    memory_type: MemoryType
    user_id: str | None
    sources: tuple[str, ...]
    replaces: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    valid_from: datetime | None = None
    reason: str = ""

    def __str__(self) -> str:
        dated = f", {self.valid_from.date().isoformat()}" if self.valid_from else ""
        return (
            f"{_SIGNS[self.kind]} {self.kind} [{self.memory_type}{dated}] {neutral(self.content)} "
            f"({_count(len(self.sources), 'source')})"
            + "".join(f" instead of: {neutral(each)}" for each in self.replaced)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsolidationReport:
    """What a consolidation did. `print` shows it; `+` adds up two of them.

    Attributes:
        users: How many users were worked on.
        batches: How many batches were done, those without anything to keep included.
        exchanges: How many exchanges the model has read.
        added: How many memories were added without superseding others.
        superseded: How many memories supersede others.
        confirmed: How many memories have more sources now.
        refused: How many of the model's answers could not be used.
        set_aside: How many exchanges were given up on, after a second try.
        calls: How many times the model was called.
        input_tokens: What it read, as far as the provider says.
        output_tokens: What it wrote.
        seconds: How long it took.
        dry_run: Nothing was stored.
        stopped: Why it ended early, for example "max_calls_per_hour", or None.
        faults: What was wrong with the answers that were refused, without any memory text.
        operations: Every change, in order.
    """

    users: int = 0
    batches: int = 0
    exchanges: int = 0
    added: int = 0
    superseded: int = 0
    confirmed: int = 0
    refused: int = 0
    set_aside: int = 0
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    dry_run: bool = False
    stopped: str | None = None
    faults: tuple[str, ...] = ()
    operations: tuple[Operation, ...] = ()

    def __add__(self, other: ConsolidationReport) -> ConsolidationReport:
        summed = {
            field.name: getattr(self, field.name) + getattr(other, field.name)
            for field in fields(self)
            if field.name not in ("dry_run", "stopped")
        }
        return ConsolidationReport(
            **summed, dry_run=self.dry_run or other.dry_run, stopped=self.stopped or other.stopped
        )

    def counts(self) -> dict[str, int]:
        """Return its whole numbers by their names."""
        every = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in every.items() if type(value) is int}

    def __str__(self) -> str:
        lines = [
            f"{_count(self.exchanges, 'exchange')} of {_count(self.users, 'user')}: "
            f"{self.added} added, {self.superseded} superseded, {self.confirmed} confirmed",
            f"{_count(self.calls, 'call')}, {self.input_tokens:,} tokens read, "
            f"{self.output_tokens:,} written, {self.seconds:.1f} s",
        ]
        if self.dry_run:
            lines.append("dry run: nothing was stored")
        if self.refused:
            lines.append(
                f"{_count(self.refused, 'answer')} refused, "
                f"{_count(self.set_aside, 'exchange')} set aside"
            )
            lines += [f"refused: {neutral(fault)}" for fault in dict.fromkeys(self.faults)]
        if self.stopped:
            lines.append(f"stopped early: {self.stopped}")
        return "\n".join([*lines, *map(str, self.operations)])


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
