"""The page on the server: its command runs, and Prometheus is answered as it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import httpx
import pytest
import yaml

from server.running import Process

PAGE = (Path(__file__).parents[2] / "docs" / "server.md").read_text(encoding="utf-8")
COMMANDS, SCRAPES = (
    re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    for kind in ("bash", "yaml")
)


def test_prometheus_is_answered_as_the_page_configures_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [given] = [shlex.split(command) for command in COMMANDS if "--metrics" in command]
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
