"""The contract suites, as others use them: the page's examples pass, broken ones fail."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
BROKEN = """
import pytest
from langchain_kronvex.testing import ChatHistoryTests
from test_file_history import FileHistory

class TestIgnoresCase(ChatHistoryTests):
    expected_failures = {"test_clear_empties_one_session": "it passes"}

    @pytest.fixture
    def open_history(self, tmp_path):
        return lambda session_id: FileHistory(tmp_path, session_id.lower())

class TestNothingOverridden(ChatHistoryTests):
    pass

class TestMisspelt(ChatHistoryTests):
    expected_failures = {"test_that_is_not_there": "no such test"}

"""
WITHOUT = """
import sys
sys.modules["pytest"] = None
import langchain_kronvex
try:
    import langchain_kronvex.testing
except langchain_kronvex.MissingExtra as error:
    print(error)
"""


def test_the_examples_pass_and_broken_ones_fail(tmp_path: Path) -> None:
    (tmp_path / "test_file_history.py").write_text(BLOCKS[0], encoding="utf-8")
    (tmp_path / "test_store.py").write_text(BLOCKS[1], encoding="utf-8")
    (tmp_path / "test_broken.py").write_text(BROKEN, encoding="utf-8")
    plugins = ["-p", "no:cacheprovider", "-p", "no:recording", "-p", "no:schemathesis"]
    command = [sys.executable, "-m", "pytest", "-q", "--tb=line", "-rA", "-W", "default", *plugins]
    told = run(*command, "--rootdir", str(tmp_path), folder=tmp_path)

    outcome = re.findall(r"^(\w+) (test_\w+\.py)::(\w+)::(\w+)", told, re.MULTILINE)
    assert {how for how, file, *_ in outcome if file == "test_file_history.py"} == {"PASSED"}
    assert {how for how, file, *_ in outcome if file == "test_store.py"} == {"PASSED", "XFAIL"}
    failed = {(suite, name) for how, _, suite, name in outcome if how == "FAILED"}
    assert failed == {
        ("TestIgnoresCase", "test_sessions_are_separate_whatever_their_ids"),
        ("TestIgnoresCase", "test_clear_empties_one_session"),  # as it passed
    }
    assert {how for how, _, suite, _ in outcome if suite == "TestMisspelt"} == {"ERROR"}
    assert "Override the fixture open_history" in told
    assert "names tests that do not exist" in told


def test_without_pytest_the_error_says_what_to_install(tmp_path: Path) -> None:
    told = run(sys.executable, "-c", WITHOUT, folder=tmp_path)
    assert 'pip install "langchain-kronvex[testing]"' in told


def run(*command: str, folder: Path) -> str:
    """Return what a program prints."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240
    )
    return done.stdout + done.stderr
