"""A real browser, one for all tests of this folder, and the inspector of a store."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from databases import DATABASES
from inside import inspector_app
from langchain_kronvex import KronvexMemory
from server.running import serving

TOKEN = "a-token-of-a-test-that-nobody-can-guess"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
OpenPage = Callable[..., Page]


def chromium() -> str:
    """The path of a Chromium; the tests fail without one."""
    named = os.environ.get("KRONVEX_TEST_BROWSER")
    found = named or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None or not Path(found).exists():
        pytest.fail(
            "These tests need a Chromium: apt-get install chromium, or name one with "
            "KRONVEX_TEST_BROWSER=/path/to/chromium",
            pytrace=False,
        )
    return found


# Not for the whole session: as long as it runs, this thread cannot run another event loop.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Open pages of their own contexts; they may ask no other server, and log no error."""
    contexts, faults = [], []

    def open_(address: str, *, expects: tuple[str, ...] = (), **options: Any) -> Page:
        host = address.split("/inspector")[0]
        context = browser.new_context(timezone_id="UTC", **options)
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(f"script: {error}"))
        page.on("dialog", lambda dialog: faults.append(f"dialog: {dialog.message}"))

        def logged(message: Any) -> None:
            if not any(each in message.text for each in expects):
                faults.append(f"console: {message.text}")

        def asked(request: Any) -> None:
            if not request.url.startswith((f"{host}/", "data:")):
                faults.append(f"another host: {request.url}")

        page.on("console", logged)
        page.on("request", asked)
        page.goto(address)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store, of each kind."""
    return DATABASES.url(tmp_path) if request.param == "postgres" else f"sqlite:///{tmp_path}/m.db"


@pytest.fixture
def inspecting() -> Iterator[Callable[[KronvexMemory], str]]:
    """Serve a memory as `inspect` does; return the address."""
    with ExitStack() as stack:

        def start(memory: KronvexMemory) -> str:
            base = stack.enter_context(serving(inspector_app(memory, TOKEN)))
            return f"{base}/inspector#{TOKEN}"

        yield start
