"""Each bundled data file is named in the notice beside it, and licences go into the wheel."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = sorted((ROOT / "src").rglob("data"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parent.name)
def test_notices_name_every_file_and_licence(folder: Path) -> None:
    notice = (folder / "NOTICE").read_text(encoding="utf-8")
    legal = {path for path in folder.iterdir() if path.name.startswith(("LICENSE", "NOTICE"))}
    for path in {*folder.iterdir()} - {folder / "NOTICE"}:
        assert re.search(rf"\b{re.escape(path.name)}\b", notice), path.name
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for path in legal:
        assert f'"{path.relative_to(ROOT)}"' in settings
