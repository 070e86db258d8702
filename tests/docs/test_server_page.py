"""The page on the server: its commands run, and its blocks do what they say."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml

from inside import parser
from server.running import Process

PAGE = (Path(__file__).parents[2] / "docs" / "server.md").read_text(encoding="utf-8")
COMMANDS, PROGRAMS, SCRAPES = (
    re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    for kind in ("bash", "python", "yaml")
)


def test_prometheus_is_answered_as_the_page_configures_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, workers = (shlex.split(command) for command in COMMANDS)
    assert parser().parse_args(workers[1:]).workers == 3
    name, _, token = given[0].partition("=")
    monkeypatch.setenv(name, token)
    options = given[given.index("sqlite:///memory.db") + 1 :]
    server = Process(f"sqlite:///{tmp_path / 'memory.db'}", tmp_path / "log", *options)
    [job] = yaml.safe_load(SCRAPES[0])["scrape_configs"]
    headers = {"Authorization": f"{job['authorization']['type']} {token}"}
    path = job.get("metrics_path", "/metrics")  # Prometheus' own default
    told = httpx.get(f"{server.base_url}{path}", headers=headers, verify=False)
    assert httpx.get(f"{server.base_url}{path}", verify=False).status_code == 401
    assert server.stop() == 0
    shown = set(re.findall(r"^# TYPE (kronvex_\w+) ", told.text, re.MULTILINE))
    series = {each for each in shown if not each.endswith("_created")}
    assert series == set(re.findall(r"`(kronvex_\w+)[`{]", PAGE))


def test_the_program_prints_its_spans(tmp_path: Path) -> None:
    [program] = PROGRAMS
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    [promised] = re.findall(r"# prints a span with (.*)", program)
    assert promised in done.stdout, done.stderr
    assert "Ana" not in done.stdout
