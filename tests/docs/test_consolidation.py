"""The blocks of the page on consolidation print what it says."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "consolidation.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
DATE = r"\d{4}-\d\d-\d\d"


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_block_prints_what_it_says(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "block.py"
    script.write_text(BLOCKS[number], encoding="utf-8")
    runpy.run_path(str(script), run_name="__main__")
    promised = re.findall(r"^    # (.+)$", BLOCKS[number], re.MULTILINE)
    printed = capsys.readouterr().out.splitlines()
    assert [re.sub(DATE, "", line) for line in printed] == [
        re.sub(DATE, "", line) for line in promised
    ]
