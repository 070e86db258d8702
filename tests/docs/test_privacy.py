"""The blocks of the page on privacy print what it says; Presidio's if it is installed."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "privacy.md").read_text(encoding="utf-8")
OWN, PRESIDIO = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
needs_presidio = pytest.mark.skipif(
    not (find_spec("presidio_anonymizer") and find_spec("en_core_web_lg")),
    reason="Presidio and its language model are not installed",
)


@pytest.mark.parametrize(
    "code", [OWN, pytest.param(PRESIDIO, marks=needs_presidio)], ids=["own", "presidio"]
)
def test_block_stores_what_it_says(code: str, tmp_path: Path) -> None:
    script = tmp_path / "private.py"
    script.write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    [promised] = re.findall(r"^ *# (.+)$", code, re.MULTILINE)
    assert done.stdout.strip() == promised
