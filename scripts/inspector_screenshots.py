"""Make the pictures of docs/inspector.md: a made-up store, `inspect`, and a Chromium.

    python scripts/inspector_screenshots.py docs/images

Needs the test dependencies, and a Chromium: `apt-get install chromium`, or KRONVEX_TEST_BROWSER.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

from langchain_core.messages import AIMessage, HumanMessage
from playwright.sync_api import Browser, Page, sync_playwright

from langchain_kronvex import KronvexMemory, MemoryDraft

WIDE, NARROW = {"width": 1200, "height": 780}, {"width": 360, "height": 640}
PICTURES = {
    "inspector-timeline-light.png": (WIDE, "light", "timeline"),
    "inspector-search-dark.png": (WIDE, "dark", "search"),
    "inspector-timeline-dark-narrow.png": (NARROW, "dark", "timeline"),
    "inspector-search-light-narrow.png": (NARROW, "light", "search"),
}
SAID = (
    (41, "I'm Ana, I work as a nurse in Lisbon."),
    (38, "I'm learning Portuguese guitar on the side."),
    (30, "Please answer me briefly, I read on the train."),
    (24, "My sister Marta visits in June."),
    (23, "I run along the river twice a week."),
    (17, "Night shifts start again next month."),
    (12, "I'm allergic to peanuts, by the way."),
    (11, "The guitar teacher moved to Thursdays."),
    (9, "Marta wants to see the Azores."),
    (5, "We found a flat in Porto, moving at the weekend."),
    (2, "The movers come on Saturday at nine."),
)
OTHERS = ("bruno", "chiara", "dewi", "emeka", "fatima", "goran", "hugo")


def fill(url: str) -> None:
    """Fill a store with made-up memories of Ana, and a few of others."""
    now = datetime.now(timezone.utc)
    with KronvexMemory(url, clock=lambda: now - timedelta(hours=3)) as memory:
        chat = [HumanMessage("What can I cook tonight?"), AIMessage("Try bacalhau, without nuts.")]
        memory.save_messages(chat, "telegram", user_id="ana")
    with KronvexMemory(url) as memory:
        for place, other in enumerate(OTHERS):
            memory.remember_many(
                MemoryDraft(
                    f"Note {n} of {other}.",
                    user_id=other,
                    created_at=now - timedelta(days=7 * n + place, hours=place),
                )
                for n in range(3 + 5 * place % 7)
            )
        for days, text in SAID:
            said = now - timedelta(days=days, hours=days % 9)
            memory.remember(text, user_id="ana", session_id="telegram", created_at=said)

        def known(text: str, days: float, memory_type: str = "semantic", **more: object) -> str:
            made = now - timedelta(days=days)
            options = {"user_id": "ana", "memory_type": memory_type, "created_at": made, **more}
            return memory.remember(text, **options).id

        lisbon = known("Ana lives in Lisbon.", 1.3)
        known("Ana wants short answers.", 30, "procedural", pinned=True)
        known("Ana lives in Porto.", 0.1, supersedes=lisbon)
        known("Ana's ticket to Ponta Delgada is on hold.", 0.05, "context", ttl_days=3)


def show(page: Page, view: str) -> None:
    """Bring the page to what a picture shows."""
    page.locator("#users button", has_text="ana").click()
    page.get_by_role("article").first.wait_for()
    if view == "search":
        page.get_by_role("button", name="Search").click()
        page.get_by_label("Question").fill("Where does she live?")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Why was it found?").first.click()
        page.get_by_text("Shares in the relevance").wait_for()
        page.get_by_label("Question").scroll_into_view_if_needed()
    else:
        porto = page.get_by_role("article").filter(has_text="Porto").first
        porto.get_by_role("button", name="Details").click()
        page.get_by_text("What it replaced").wait_for()
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur()")
    top = page.locator("nav.tabs") if page.viewport_size == NARROW else page.locator("body")
    top.evaluate("node => node.scrollIntoView()")


def take(browser: Browser, address: str, folder: Path) -> None:
    """Take all pictures."""
    for name, (size, scheme, view) in PICTURES.items():
        page = browser.new_page(viewport=size, color_scheme=scheme, timezone_id="UTC")
        page.goto(address)
        show(page, view)
        page.screenshot(path=folder / name)
        page.close()


def main(folder: Path) -> None:
    """Make the store, serve it, and take the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        url = f"sqlite:///{made}/memory.db"
        fill(url)
        command = [sys.executable, "-m", "langchain_kronvex", "inspect", "--no-browser"]
        inspect = subprocess.Popen(  # noqa: S603 - our own command
            [*command, "--url", url], stdout=subprocess.PIPE, text=True
        )
        with inspect, sync_playwright() as playwright:
            try:
                address = (inspect.stdout or sys.stdin).readline().strip()
                path = os.environ.get("KRONVEX_TEST_BROWSER", shutil.which("chromium"))
                browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
                take(browser, address, folder)
                browser.close()
            finally:
                inspect.terminate()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images"))
