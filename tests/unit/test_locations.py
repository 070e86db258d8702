"""From arguments and environment to a place."""

from __future__ import annotations

from pathlib import Path

import pytest

from inside import (
    HOSTED_URL,
    Settings,
    default_url,
    open_backend,
    require_store,
    resolve_agent_id,
    resolve_url,
)
from langchain_kronvex import ConfigurationError, InvalidInput, KronvexMemory, StoreUnavailable


@pytest.mark.parametrize(
    ("url", "api_key", "environment", "expected"),
    [
        ("sqlite://", None, {}, "sqlite://"),
        ("sqlite://", "key", {"URL": "sqlite:///x.db"}, "sqlite://"),
        (None, None, {"URL": "sqlite:///x.db"}, "sqlite:///x.db"),
        (None, "key", {"URL": "sqlite:///x.db"}, "sqlite:///x.db"),
        (None, "key", {}, HOSTED_URL),
        (None, None, {"API_KEY": "key"}, HOSTED_URL),
        (None, None, {"API_KEY": "key", "BASE_URL": "https://own"}, "https://own"),
        (None, "key", {"BASE_URL": "https://own"}, "https://own"),
        (None, None, {"BASE_URL": "https://own"}, None),
        (None, None, {"URL": "", "API_KEY": ""}, None),
        (None, None, {}, None),
    ],
)
def test_which_url_is_taken(
    monkeypatch: pytest.MonkeyPatch, url, api_key, environment, expected
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(f"KRONVEX_{name}", value)
    assert resolve_url(url, api_key) == (default_url() if expected is None else expected)


def test_the_default_is_in_the_users_data_folder_wherever_one_stands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    before = default_url()
    monkeypatch.chdir(tmp_path)
    assert default_url() == before
    assert before.startswith("sqlite:////")
    assert before.endswith("/langchain-kronvex/memory.db")
    with KronvexMemory() as memory:
        assert memory.location == before
    assert Path(before.removeprefix("sqlite:///")).exists()


@pytest.mark.parametrize(
    ("argument", "environment", "expected"),
    [
        (None, None, "default"),
        (None, "", "default"),
        (None, "env", "env"),
        ("argument", "env", "argument"),
        (" spaced ", None, " spaced "),
    ],
)
def test_which_agent_is_taken(
    monkeypatch: pytest.MonkeyPatch, argument, environment, expected
) -> None:
    if environment is not None:
        monkeypatch.setenv("KRONVEX_AGENT_ID", environment)
    assert resolve_agent_id(argument) == expected


@pytest.mark.parametrize("agent_id", ["", " ", "x" * 256, "a\0", 1, "\ud800"])
def test_an_agent_without_a_proper_name_is_refused(agent_id: object) -> None:
    with pytest.raises(InvalidInput, match="agent_id"):
        resolve_agent_id(agent_id)
    with pytest.raises(InvalidInput, match="agent_id"):
        KronvexMemory("sqlite://", agent_id=agent_id)


def location(url: str) -> str:
    backend = open_backend(url, "agent", Settings(timeout_seconds=1))
    try:
        return backend.location
    finally:
        backend.close()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_stores_in_this_processs_memory(url: str) -> None:
    assert location(url) == "sqlite://"


def test_paths_as_sqlalchemy_reads_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert location(f"sqlite:///{tmp_path}/a.db") == f"sqlite:///{tmp_path}/a.db"
    assert location("sqlite:///b.db") == f"sqlite:///{tmp_path}/b.db"
    assert location("sqlite:///sub/dir/c.db") == f"sqlite:///{tmp_path}/sub/dir/c.db"
    assert location("sqlite:///~/d.db") == f"sqlite:///{tmp_path}/home/d.db"
    assert location("sqlite:///with space % é.db") == f"sqlite:///{tmp_path}/with space % é.db"
    assert (tmp_path / "with space % é.db").exists()


@pytest.mark.parametrize(
    "url",
    [
        "", "memory.db", "/tmp/memory.db", "sqlite", "sqlite:", "sqlite:memory.db",
        "sqlite://memory.db", "mysql://x", "file:///x.db", "ftp://x", 7, b"sqlite://",
    ],
    ids=repr,
)  # fmt: skip
def test_a_url_that_nobody_understands_is_refused_with_advice(url: object) -> None:
    with pytest.raises(ConfigurationError, match="sqlite:///"):
        open_backend(url, "agent", Settings(timeout_seconds=1))


def test_a_refused_url_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError):
        KronvexMemory("memory.db")
    assert list(tmp_path.iterdir()) == []


def test_the_place_is_told() -> None:
    with KronvexMemory("sqlite://", agent_id="a") as memory:
        assert memory.location == "sqlite://"
        assert "sqlite://" in repr(memory)
        assert "'a'" in repr(memory)


@pytest.mark.parametrize("tail", ["?timeout=30", "?mode=ro&cache=shared", "\0", "x\0y"], ids=ascii)
def test_a_path_with_parameters_or_a_nul_is_refused(tail: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="timeout_seconds"):
        KronvexMemory(f"sqlite:///{tmp_path}/mem.db{tail}")
    assert list(tmp_path.iterdir()) == []


def test_a_store_can_be_required_without_creating_one(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "mem.db"
    with pytest.raises(StoreUnavailable, match="holds no store"):
        require_store(f"sqlite:///{path}")
    assert list(tmp_path.iterdir()) == []
    with KronvexMemory(f"sqlite:///{path}"):
        require_store(f"sqlite:///{path}")
    with pytest.raises(StoreUnavailable, match="is a folder"):
        require_store(f"sqlite:///{path.parent}")
    path.write_bytes(b"")
    with pytest.raises(StoreUnavailable, match="holds no store"):
        require_store(f"sqlite:///{path}")
    for url in ("sqlite://", "https://api.kronvex.io"):
        require_store(url)
