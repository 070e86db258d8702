"""A report, printed and added up."""

from __future__ import annotations

from langchain_kronvex.consolidation import ConsolidationReport, Operation

from .batches import MAY


def operation(kind: str = "add", content: str = "Ana lives in Porto.") -> Operation:
    return Operation(
        kind=kind,  # type: ignore[arg-type]
        id="m1",
        content=content,
        memory_type="semantic",
        user_id="ana",
        sources=("e1",),
        valid_from=MAY,
    )


def test_a_report_is_readable() -> None:
    report = ConsolidationReport(
        users=1, batches=1, exchanges=12, added=1, refused=1, set_aside=2, calls=2,
        input_tokens=1234, output_tokens=56, seconds=1.26, dry_run=True,
        stopped="max_calls_per_hour", operations=(operation(content="Ana\nlives in Porto."),),
    )  # fmt: skip
    assert str(report).splitlines() == [
        "12 exchanges of 1 user: 1 added, 0 superseded, 0 confirmed",
        "2 calls, 1,234 tokens read, 56 written, 1.3 s",
        "dry run: nothing was stored",
        "1 answer refused, 2 exchanges set aside",
        "stopped early: max_calls_per_hour",
        "+ add [semantic, 2026-05-02] Ana lives in Porto. (1 source)",
    ]
    assert len(str(ConsolidationReport()).splitlines()) == 2


def test_reports_add_up() -> None:
    first = ConsolidationReport(users=1, calls=2, seconds=0.5, operations=(operation(),))
    second = ConsolidationReport(
        calls=1, seconds=0.25, stopped="closed", dry_run=True, operations=(operation("confirm"),)
    )
    total = first + second
    assert (total.users, total.calls, total.seconds) == (1, 3, 0.75)
    assert (total.stopped, total.dry_run) == ("closed", True)
    assert [each.kind for each in total.operations] == ["add", "confirm"]
    assert first + ConsolidationReport() == first
