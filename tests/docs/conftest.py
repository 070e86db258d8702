"""What the tests of the pages share: a shell, and a stand-in for the OpenAI API."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inside import main

from .openai_stub import openai_stub
from .programs import run_program, settings


@pytest.fixture(scope="session")
def model_url() -> Iterator[str]:
    """The address of a stand-in for the OpenAI API."""
    with openai_stub() as url:
        yield url


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], str]:
    """Does what a shell does with a line of a page; our commands run in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", str(tmp_path))

    def run(line: str) -> str:
        line = os.path.expandvars(line) if "'" not in line else line
        if exported := re.fullmatch(r"export (\w+)=(.*)", line):
            monkeypatch.setenv(exported[1], exported[2])
            return ""
        if assigned := re.fullmatch(r"(\w+)=\$\((.*)\)", line):
            main(shlex.split(assigned[2])[1:])
            told = capsys.readouterr()
            monkeypatch.setenv(assigned[1], told.out.strip())
            return told.err
        if line.startswith("langchain-kronvex "):
            main(shlex.split(line)[1:])
            told = capsys.readouterr()
            return told.out + told.err
        if line.startswith("python "):
            program, *arguments = shlex.split(line)[1:]
            done = run_program(
                tmp_path / program, *arguments, folder=tmp_path,
                environment=settings(tmp_path, "http://127.0.0.1:9"), strict=True,
            )  # fmt: skip
        else:
            done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=60)
        return done.stdout + done.stderr

    return run
