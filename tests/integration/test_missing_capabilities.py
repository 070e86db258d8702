"""Where the system has no forks, file modes, signals of event loops or /proc, the rest works."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from langchain_kronvex import KronvexMemory

# As far as a process on another system can be made to look like it.
WITHOUT = """
import asyncio, os, pathlib, platformdirs, sys  # what looks at the system when imported

for name in ("fork", "register_at_fork", "getuid", "geteuid", "fchmod", "chown", "umask", "killpg"):
    delattr(os, name)
for name in ("fcntl", "pwd", "grp", "resource", "termios"):
    sys.modules[name] = None

def refuse(self, *arguments):
    raise NotImplementedError

asyncio.SelectorEventLoop.add_signal_handler = refuse
read_text, listdir = pathlib.Path.read_text, os.listdir

def missing(works):
    def call(path, *arguments, **options):
        if str(path).startswith("/proc"):
            raise FileNotFoundError(path)
        return works(path, *arguments, **options)
    return call

pathlib.Path.read_text, os.listdir = missing(read_text), missing(listdir)
"""
USE = """
import logging
logging.basicConfig()
from langchain_kronvex import KronvexMemory
for _ in range(2):
    with KronvexMemory("sqlite:///memory.db") as memory:
        memory.remember("Ana prefers tea.", user_id="ana")
        assert memory.recall("tea", user_id="ana")
        memory.export("memories.jsonl")
    os.chmod("memory.db", 0o644)  # as it is always shown where there are no modes
"""
COMMAND = """
from langchain_kronvex.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def run(folder: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {n: v for n, v in os.environ.items() if not n.startswith("KRONVEX_")}
    return subprocess.run(
        [sys.executable, "-c", WITHOUT + program, *arguments],
        cwd=folder, env=environment, input="", capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_without_what_posix_alone_has_a_memory_works(tmp_path: Path) -> None:
    used = run(tmp_path, USE)
    assert (used.returncode, used.stderr) == (0, "")
    assert (tmp_path / "memories.jsonl").stat().st_size

    url = f"sqlite:///{tmp_path / 'memory.db'}"
    told = run(tmp_path, COMMAND, "doctor", "--json", "--url", url)
    assert told.returncode == 0, told.stderr
    assert "Other users" not in told.stdout
    assert json.loads(told.stdout)

    ended = run(tmp_path, COMMAND, "mcp", "--url", url, "--user", "ana")  # whose stdin is closed
    assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr


def test_a_file_system_without_modes_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    KronvexMemory(url).close()
    (tmp_path / "memory.db").chmod(0o644)
    monkeypatch.setattr(Path, "chmod", lambda self, mode: None)
    with caplog.at_level(logging.WARNING):
        KronvexMemory(url).close()
    assert "is open to other users" in caplog.text
    assert "now private" not in caplog.text
