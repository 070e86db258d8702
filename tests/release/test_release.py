"""One version everywhere, and the release check finds what is wrong with a wheel."""

from __future__ import annotations

import re
import runpy
import zipfile
from pathlib import Path
from typing import Any

import pytest

import langchain_kronvex

ROOT = Path(__file__).parents[2]
VERSION = langchain_kronvex.__version__
INFO = f"langchain_kronvex-{VERSION}.dist-info"
METADATA = f"""\
Metadata-Version: 2.4
Name: langchain-kronvex
Version: {VERSION}
Author: The langchain-kronvex authors
License-Expression: MIT AND Apache-2.0 AND BSD-3-Clause
Classifier: Programming Language :: Python :: 3.10
Requires-Python: >=3.10
"""


@pytest.fixture
def check() -> dict[str, Any]:
    """The names of the script."""
    return runpy.run_path(str(ROOT / "scripts" / "release_check.py"))


def test_the_version_stands_in_one_place(check: dict[str, Any]) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", VERSION)
    assert check["version_of_source"]() == VERSION
    assert f'"{VERSION}"' not in (ROOT / "pyproject.toml").read_text("utf-8")


def test_the_release_check_rejects_a_wrong_wheel(check: dict[str, Any], tmp_path: Path) -> None:
    source = ROOT / "src"
    ours = [path for path in (source / "langchain_kronvex").rglob("*") if path.is_file()]
    files = {str(p.relative_to(source)): p.read_bytes() for p in ours if p.suffix != ".pyc"}
    licences = [n.format(info=INFO) for n in check["REQUIRED_OF_WHEEL"] if "{info}" in n]
    good = {**files, **dict.fromkeys(licences, b""), f"{INFO}/METADATA": METADATA.encode()}
    changes: dict[str, dict[str, bytes | None]] = {
        "": {},
        "lacks.*NOTICE": {f"{INFO}/licenses/src/langchain_kronvex/recall/data/NOTICE": None},
        "lacks.*py.typed": {"langchain_kronvex/py.typed": None},
        "unwanted.*secret": {"langchain_kronvex/secret.env": b"x"},
        "unwanted.*tests": {"tests/test_x.py": b"x"},
        "metadata are wrong": {f"{INFO}/METADATA": METADATA.replace("Author:", "X:").encode()},
        "classifiers": {f"{INFO}/METADATA": METADATA.replace(">=3.10", ">=3.9").encode()},
    }
    for wrong, change in changes.items():
        wheel = tmp_path / "x.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            for name, content in {**good, **change}.items():
                if content is not None:
                    archive.writestr(name, content)
        check["check_wheel"].__globals__["MAX_WHEEL_BYTES"] = 10**9  # it is not compressed
        if not wrong:
            check["check_wheel"](wheel, VERSION)
            continue
        with pytest.raises(SystemExit, match=wrong):
            check["check_wheel"](wheel, VERSION)
