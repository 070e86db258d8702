"""The blocks of the page on other languages print what it says, the encoder's as well."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "languages.md").read_text(encoding="utf-8")
BUNDLED, ENCODER = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("code", [BUNDLED, ENCODER], ids=["bundled", "encoder"])
def test_block_finds_the_memory_in_another_language(code: str, tmp_path: Path) -> None:
    script = tmp_path / "multilingual.py"
    script.write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-X", "utf8", str(script)],
        cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    promised = re.findall(r"^ *# (.+)$", code, re.MULTILINE)[-1]
    assert done.stdout.strip() == promised
