"""OpenTelemetry spans: they nest below the caller's, and hold counts alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).with_name("spans_program.py")


def test_spans_nest_and_tell_counts_alone(store_url: str) -> None:
    # Tracing is on for a whole process, so it has one of its own.
    done = subprocess.run(
        [sys.executable, PROGRAM, store_url], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    spans = json.loads(done.stdout)
    assert not [span for span in spans if "Ana" in json.dumps(span) or "ana" in json.dumps(span)]
    kind = store_url.partition(":")[0]
    own = [span for span in spans if span["name"].startswith("kronvex.")]
    assert {span["attributes"]["kronvex.backend"] for span in own if not span["failed"]} == {kind}

    def told(parent: str) -> list[tuple[str, dict[str, object]]]:
        return [
            (span["name"], {k: v for k, v in span["attributes"].items() if k != "kronvex.backend"})
            for span in own
            if span["parent"] == parent
        ]

    assert told("sync") == [
        ("kronvex.remember", {"kronvex.records": 1}),
        ("kronvex.recall", {"kronvex.top_k": 3, "kronvex.hits": 1}),
        ("kronvex.recall", {"kronvex.top_k": 8, "kronvex.hits": 1, "kronvex.degraded": False}),
        ("kronvex.forget", {"kronvex.records": 1}),
    ]
    for number in range(8):  # at once, in the memory's threads
        assert told(f"async {number}") == [
            ("kronvex.remember", {"kronvex.records": 1}),
            ("kronvex.recall", {"kronvex.top_k": 5, "kronvex.hits": 1}),
        ]
    assert told("request") == [("kronvex.recall", {"kronvex.top_k": 5, "kronvex.hits": 1})]
    [run] = [span for span in own if span["name"] == "kronvex.consolidate"]
    assert run["attributes"]["kronvex.exchanges"] == 1
    assert run["attributes"]["kronvex.added"] == 1
    assert [span["name"] for span in own if span["parent"] == "kronvex.consolidate"] == []
    [failed] = [span for span in own if span["failed"]]
    assert failed["attributes"] == {"error.type": "EmbeddingsError"}
    assert failed["events"] == 0
