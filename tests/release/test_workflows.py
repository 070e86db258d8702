"""The workflows can be read, use pinned actions and few rights, and name what exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in FOLDER.glob("*.yml")}
NAMES = sorted(WORKFLOWS)

every_workflow = pytest.mark.parametrize("name", NAMES)


def jobs(name: str) -> dict[str, dict[str, Any]]:
    return WORKFLOWS[name]["jobs"]  # type: ignore[no-any-return]


def commands(name: str) -> list[str]:
    return [step["run"] for job in jobs(name).values() for step in job["steps"] if "run" in step]


@every_workflow
def test_a_workflow_has_few_rights_and_ends(name: str) -> None:
    assert WORKFLOWS[name][True]  # YAML reads `on` as true
    assert WORKFLOWS[name]["permissions"] == {"contents": "read"}
    for job in jobs(name).values():
        assert job["timeout-minutes"] <= 330
        assert re.fullmatch(r"(ubuntu|macos|windows)-\d+(\.\d+)?|\$\{\{.+\}\}", job["runs-on"])
        assert set(job.get("permissions", {})) <= {"id-token"}


@every_workflow
def test_actions_are_pinned_to_a_version(name: str) -> None:
    used = [step["uses"] for job in jobs(name).values() for step in job["steps"] if "uses" in step]
    assert used
    assert not [each for each in used if not re.fullmatch(r"[\w-]+/[\w-]+@v\d+\.\d+\.\d+", each)]


@every_workflow
def test_commands_name_what_exists(name: str) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for command in commands(name):
        assert set(re.findall(r"\bmake ([a-z-]+)", command)) <= set(targets)
        for path in re.findall(r"\btests/[\w/]+", command):
            assert (ROOT / path).exists()


def test_only_a_tag_is_published_by_a_job_that_runs_no_code_of_the_project() -> None:
    with_rights = [(name, key) for name in NAMES for key, job in jobs(name).items()
                   if "id-token" in job.get("permissions", {})]  # fmt: skip
    assert with_rights == [("release", "publish")]
    assert WORKFLOWS["release"][True] == {"push": {"tags": ["v*"]}}
    publish = jobs("release")["publish"]
    assert (publish["needs"], publish["environment"]) == ("build", "pypi")
    assert not [step for step in publish["steps"] if "run" in step]


def test_the_supported_versions_of_python_and_the_oldest_dependencies_are_tested() -> None:
    settings = (ROOT / "pyproject.toml").read_text("utf-8")
    claimed = re.findall(r"Python :: (3\.\d+)", settings)
    assert claimed
    assert set(claimed) <= set(jobs("ci")["test"]["strategy"]["matrix"]["python"])
    assert "make test-oldest" in commands("nightly")
    assert "make soak" in commands("nightly")


def test_the_dependencies_of_every_extra_are_audited() -> None:
    settings = (ROOT / "pyproject.toml").read_text("utf-8")
    [table] = re.findall(r"^\[project.optional-dependencies\]\n(.+?)\n\n", settings, re.M | re.S)
    extras = ",".join(sorted(re.findall(r"^([\w-]+) = ", table, re.M)))
    [install] = [step["run"] for step in jobs("nightly")["audit"]["steps"]
                 if "pip-audit" in step.get("run", "")]  # fmt: skip
    assert f'".[{extras}]"' in install


def test_the_other_settings_can_be_read() -> None:
    for path in [*(ROOT / ".github").rglob("*.yml"), ROOT / ".pre-commit-config.yaml"]:
        assert yaml.safe_load(path.read_text("utf-8"))
