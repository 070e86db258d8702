"""The backends under test, in one list, with a memory of each.

Tests call the sync verbs: `test_twins.py` shows that the async ones do the same. What shows on a
file shows of a SQLite database in RAM too, so that only the modules of `IN_RAM` run on both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.drivers import Backend, Clock, Driver
from contract.served import APIS, LEFT_OUT, LONG
from databases import DATABASES
from langchain_kronvex import KronvexMemory

BACKENDS = [
    Backend("sqlite-file", lambda folder: f"sqlite:///{folder / 'memory.db'}", shared=True),
    Backend("sqlite-ram", lambda folder: "sqlite://", shared=False),
    Backend("postgres", DATABASES.url, shared=True),
    Backend("kronvex-api", APIS.url, shared=True),
]

# Everything that reads and writes tables; recall works on arrays in RAM, whatever the store.
IN_RAM = {
    "test_closing", "test_expiry", "test_forgetting", "test_isolation", "test_listing",
    "test_messages", "test_put", "test_put_deleting", "test_remembering", "test_stores",
    "test_superseding",
}  # fmt: skip

OpenDriver = Callable[..., Driver]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test on every backend; tests of a shared store only on backends that share."""
    shares = {"open_shared", "original"} & set(metafunc.fixturenames)
    marks = metafunc.definition.iter_markers("parametrize")
    chosen_by_the_test = any(mark.args[0] == "backend" for mark in marks)
    if "backend" in metafunc.fixturenames and not chosen_by_the_test:
        in_ram = not shares and metafunc.definition.path.stem in IN_RAM
        wanted = [b for b in BACKENDS if b.shared or in_ram]
        metafunc.parametrize("backend", wanted, indirect=True, ids=lambda backend: backend.name)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out promises that a backend does not make; mark long tests."""
    taken_out = [item for item in items if not _is_promised(item)]
    if taken_out:
        config.hook.pytest_deselected(items=taken_out)
        items[:] = [item for item in items if item not in set(taken_out)]


def _is_promised(item: pytest.Item) -> bool:
    backend = item.callspec.params.get("backend") if hasattr(item, "callspec") else None
    if not isinstance(backend, Backend):
        return True
    if backend.name != "kronvex-api":
        return True
    file, name = item.path.stem, item.name.partition("[")[0]
    if file in LONG or name in LONG:
        item.add_marker(pytest.mark.soak)
    return file not in LEFT_OUT and name not in LEFT_OUT


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Backend:
    return request.param


@pytest.fixture
def colour() -> str:
    return "sync"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_driver(
    backend: Backend, colour: str, clock: Clock, tmp_path: Path
) -> Iterator[OpenDriver]:
    """Opens memories of the backend under test, all on the same URL, and closes them all."""
    opened: list[Driver] = []

    def open_(**options: Any) -> Driver:
        url = backend.url(tmp_path)
        opened.append(Driver(KronvexMemory(url, **{"clock": clock, **options}), colour))
        return opened[-1]

    yield open_
    for driver in opened:
        driver.end()


@pytest.fixture
def memory(open_driver: OpenDriver) -> Driver:
    """An empty memory whose clock is the `clock` fixture."""
    return open_driver()


@pytest.fixture
def open_shared(backend: Backend, open_driver: OpenDriver) -> OpenDriver:
    """Opens memories that see the same store."""
    assert backend.shared
    return open_driver
