"""The blocks of the page on privacy print what it says.

Presidio's language model is not on PyPI. Unless it is installed, a stand-in with the same calls
takes its place, which knows phone numbers.
"""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "privacy.md").read_text(encoding="utf-8")
OWN, PRESIDIO = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
STAND_INS = {
    "presidio_analyzer": """
import re

class AnalyzerEngine:
    def analyze(self, text, language, entities=None):
        assert language == "en" and "PHONE_NUMBER" in entities
        return [found.span() for found in re.finditer(r"\\d{3}-\\d{3}-\\d{4}", text)]
""",
    "presidio_anonymizer": """
from types import SimpleNamespace

class AnonymizerEngine:
    def anonymize(self, text, analyzer_results):
        for start, end in reversed(analyzer_results):
            text = text[:start] + "<PHONE_NUMBER>" + text[end:]
        return SimpleNamespace(text=text)
""",
}


@pytest.mark.parametrize("code", [OWN, PRESIDIO], ids=["own", "presidio"])
def test_block_stores_what_it_says(code: str, tmp_path: Path) -> None:
    script = tmp_path / "private.py"
    script.write_text(code, encoding="utf-8")
    if not (find_spec("presidio_anonymizer") and find_spec("en_core_web_lg")):
        for name, text in STAND_INS.items():
            (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    [promised] = re.findall(r"^ *# (.+)$", code, re.MULTILINE)
    assert done.stdout.strip() == promised
