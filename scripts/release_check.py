"""Check what would be released: build it, look into it, and use it in clean environments.

    make release-check

It builds the sdist and the wheel into dist/, checks their contents and metadata, installs each with
the lowest and the newest Python found, and lets two processes remember and recall. An SBOM of what
the wheel installs is written to build/sbom.cdx.json. Needs the dependency group `release`.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).parents[1]
MAX_WHEEL_BYTES = 8_000_000
PYTHONS = [f"python3.{minor}" for minor in range(10, 20)]
SOURCE = "src/langchain_kronvex"
REQUIRED_OF_WHEEL = [
    "langchain_kronvex/py.typed",
    "langchain_kronvex/storage/sqlite/schema/001_records.sql",
    "langchain_kronvex/server/inspector/page.html",
    "{info}/licenses/LICENSE",
    "{info}/licenses/src/langchain_kronvex/embeddings/data/LICENSE-APACHE-2.0.txt",
    "{info}/licenses/src/langchain_kronvex/embeddings/data/LICENSE-BSD-3-SNOWBALL.txt",
    "{info}/licenses/src/langchain_kronvex/embeddings/data/NOTICE",
    "{info}/licenses/src/langchain_kronvex/recall/data/LICENSE-BSD-3-SNOWBALL.txt",
    "{info}/licenses/src/langchain_kronvex/recall/data/NOTICE",
]
REQUIRED_OF_SDIST = ["LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "tests/conftest.py"]
UNWANTED = re.compile(
    r"(^|/)(__pycache__|\.git|\.venv[^/]*|\.hypothesis|dist)/|\.(pyc|db|orig|rej)$"
)
REMEMBER = """
from langchain_kronvex import KronvexMemory
with KronvexMemory("sqlite:///memory.db") as memory:
    memory.remember("Ana prefers jasmine tea.", user_id="ana")
"""
RECALL = """
import sys
from langchain_kronvex import KronvexMemory, __version__
with KronvexMemory("sqlite:///memory.db") as memory:
    found = memory.recall("What does she drink?", user_id="ana")
assert [each.content for each in found] == ["Ana prefers jasmine tea."], found
assert not {"langgraph", "fastapi", "psycopg", "pytest", "mcp"} & set(sys.modules)
print(__version__)
"""


def main() -> None:
    """Run every check; the first that fails ends the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", action="append", help="a Python to install with; repeatable")
    parser.add_argument(
        "--unreleased", action="store_true", help="CHANGELOG.md may lack the version"
    )
    parser.add_argument("--tag", help="the tag of the release, which must be v and the version")
    asked = parser.parse_args()
    version = version_of_source()
    fail_if(asked.tag not in (None, f"v{version}"), f"the tag is not v{version}")
    check_changelog(version, may_lack=asked.unreleased)
    wheel, sdist = build(version)
    run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist)
    check_wheel(wheel, version)
    check_sdist(sdist)
    for python in asked.python or lowest_and_newest():
        for file in (wheel, sdist):
            try_out(python, file, version)
    print(f"langchain-kronvex {version} can be released.")


def run(*command: object, folder: Path = ROOT) -> str:
    """Run a program and return what it prints; without settings and packages of this checkout."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("KRONVEX_", "PYTHONPATH"))}
    told = subprocess.run(  # noqa: S603 - our own commands
        [str(part) for part in command], cwd=folder, env=kept, capture_output=True, text=True
    )
    if told.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{told.stdout}\n{told.stderr}")
    return told.stdout.strip()


def fail_if(wrong: object, what: str) -> None:
    """End the program if something is wrong."""
    if wrong:
        sys.exit(f"{what}: {wrong}")


def version_of_source() -> str:
    """Return the version, which stands in one place."""
    text = (ROOT / SOURCE / "core" / "__init__.py").read_text(encoding="utf-8")
    return re.findall(r'^__version__ = "(.+?)"', text, re.MULTILINE)[0]


def check_changelog(version: str, *, may_lack: bool) -> None:
    """Check that the changelog has a section for the version."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    lacking = not re.search(rf"^## \[{re.escape(version)}\]", text, re.MULTILINE)
    if lacking and may_lack:
        print(f"CHANGELOG.md has no section [{version}] yet.")
    else:
        fail_if(lacking, f"CHANGELOG.md needs a section [{version}]")


def build(version: str) -> tuple[Path, Path]:
    """Build both files in an isolated environment."""
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", ROOT / "dist")
    wheel = ROOT / "dist" / f"langchain_kronvex-{version}-py3-none-any.whl"
    sdist = ROOT / "dist" / f"langchain_kronvex-{version}.tar.gz"
    fail_if({*(ROOT / "dist").iterdir()} ^ {wheel, sdist}, "unexpected files in dist")
    return wheel, sdist


def check_wheel(wheel: Path, version: str) -> None:
    """Check the size, the files and the metadata of the wheel."""
    info = f"langchain_kronvex-{version}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
        sizes = sorted(((e.compress_size, e.filename) for e in archive.infolist()), reverse=True)
    print(f"{wheel.name}: {wheel.stat().st_size:,} bytes, {len(names)} files")
    for size, name in sizes[:5]:
        print(f"  {size:>9,} {name}")
    fail_if(wheel.stat().st_size > MAX_WHEEL_BYTES, "the wheel is too large")
    fail_if({n.format(info=info) for n in REQUIRED_OF_WHEEL} - names, "the wheel lacks")
    here = [path for path in (ROOT / SOURCE).rglob("*") if path.is_file()]
    ours = {str(path.relative_to(ROOT / "src")) for path in here if path.suffix != ".pyc"}
    fail_if(ours - names, "the wheel lacks")
    fail_if({n for n in names - ours if not n.startswith(info)}, "the wheel has unwanted files")
    said = {name: metadata[name] for name in ("Version", "Author", "License-Expression")}
    expected = {
        "Version": version,
        "Author": "The langchain-kronvex authors",
        "License-Expression": "MIT AND Apache-2.0 AND BSD-3-Clause",
    }
    fail_if(said != expected and said, "the metadata are wrong")
    lowest = re.sub(r"[^\d.]", "", metadata["Requires-Python"])
    known = metadata.get_all("Classifier", [])
    fail_if(
        f"Programming Language :: Python :: {lowest}" not in known, "classifiers lack the lowest"
    )
    plain = [need for need in metadata.get_all("Requires-Dist", []) if "extra ==" not in need]
    print("  needs " + ", ".join(sorted(plain)))


def check_sdist(sdist: Path) -> None:
    """Check the files of the sdist."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    print(f"{sdist.name}: {sdist.stat().st_size:,} bytes, {len(names)} files")
    fail_if(set(REQUIRED_OF_SDIST) - names, "the sdist lacks")
    fail_if({name for name in names if UNWANTED.search(name)}, "the sdist has unwanted files")


def lowest_and_newest() -> list[str]:
    """Return the supported Pythons at hand with the lowest and the highest version."""
    there = [name for name in PYTHONS if starts(name)] or [sys.executable]
    return list(dict.fromkeys([there[0], there[-1]]))


def starts(python: str) -> bool:
    """Return whether a Python is there and starts."""
    path = shutil.which(python)
    return path is not None and not subprocess.run([path, "-c", ""], capture_output=True).returncode  # noqa: S603


def try_out(python: str, file: Path, version: str) -> None:
    """Install a file alone in a new environment, and use it from an empty folder."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        run(python, "-m", "venv", folder / "venv")
        scripts = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
        inside = scripts / "python"
        run(inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", file)
        run(inside, "-m", "pip", "check")
        empty = folder / "empty"
        empty.mkdir()
        run(inside, "-c", REMEMBER, folder=empty)
        said = [run(inside, "-c", RECALL, folder=empty)]
        commands = [scripts / "langchain-kronvex"], [inside, "-m", "langchain_kronvex"]
        shown = [run(*command, "--version", folder=empty) for command in commands]
        said += [each.removeprefix("langchain-kronvex ") for each in shown]
        fail_if(set(said) - {version}, "another version was installed")
        if file.suffix == ".whl":
            write_sbom(inside)
        print(f"{run(inside, '--version')}: {file.name} remembers and recalls.")


def write_sbom(python: Path) -> None:
    """List what the environment of the wheel holds, as a CycloneDX document."""
    target = ROOT / "build" / "sbom.cdx.json"
    target.parent.mkdir(exist_ok=True)
    tool = [sys.executable, "-m", "cyclonedx_py", "environment", python]
    run(*tool, "--output-reproducible", "--of", "JSON", "-o", target)


if __name__ == "__main__":
    main()
