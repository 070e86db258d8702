"""The page on the inspector: its commands serve what it says, and its pictures can be made."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from langchain_kronvex import KronvexMemory

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "inspector.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ langchain-kronvex (.*)$", PAGE, re.MULTILINE)
PICTURES = re.findall(r"\((images/\S+\.png)\)", PAGE)


def test_the_commands_serve_the_page(tmp_path: Path) -> None:
    KronvexMemory(f"sqlite:///{tmp_path}/memory.db").close()
    assert [command.split()[0] for command in COMMANDS] == ["inspect", "serve"]
    for command in COMMANDS:
        run = [sys.executable, "-m", "langchain_kronvex", *shlex.split(command), "--port", "0"]
        with subprocess.Popen(
            run, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "BROWSER": "true"},
        ) as process:  # fmt: skip
            found = None
            while found is None:
                line = (process.stdout or sys.stdin).readline()
                assert line, "it ended"
                found = re.search(r"http://127\.0\.0\.1:\d+", line)
            assert "Memory inspector" in httpx.get(f"{found[0]}/inspector", verify=False).text
            process.terminate()
            assert process.wait(30) == 0


async def test_the_app_serves_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    [code] = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    made: dict[str, Any] = {}
    exec(code, made)
    transport = httpx.ASGITransport(app=made["app"])
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert "Memory inspector" in (await client.get("/inspector")).text
    made["app"].state.service.close()
    made["memory"].close()


def test_the_pictures_are_small_and_can_be_made_again(tmp_path: Path) -> None:
    there = {ROOT / "docs" / name for name in PICTURES}
    assert there == set((ROOT / "docs" / "images").glob("inspector-*.png"))
    assert sum(picture.stat().st_size for picture in there) < 400_000
    script = ROOT / "scripts" / "inspector_screenshots.py"
    subprocess.run([sys.executable, script, tmp_path], check=True, timeout=120)
    assert {each.name for each in tmp_path.glob("*.png")} == {each.name for each in there}
