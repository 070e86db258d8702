"""Run the demo and record its screen as docs/images/demo.svg.

    python scripts/record_demo.py [--check]

With `--check` nothing is written: the exit code is 1 if the picture shows another text than the
demo prints now, process ids and today's date excepted.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from html import escape, unescape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "images" / "demo.svg"
DAY = "2026-11-30"
COLUMNS = 112  # what is longer is cut
LINE_HEIGHT, LEFT, TOP, CHARACTER_WIDTH = 17, 18, 60, 7.23
WIDTH = round(2 * LEFT + COLUMNS * CHARACTER_WIDTH)
FONTS = 'ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace'
CLASSES = (
    (r"✓", "right"),
    (r"✗|FAILED", "wrong"),
    (r"OK:|\d+ of \d+ replies", "right"),
    (r"  \|", "soft"),
)


def demo_screen() -> str:
    """Run the demo as `make demo` does, offline, and return what it prints."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(  # noqa: S603 - a program of this checkout
            [sys.executable, str(ROOT / "examples" / "demo.py")],
            env={
                **{
                    k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "KRONVEX_"))
                },
                "XDG_DATA_HOME": folder,
                "PYTHONPATH": str(ROOT / "src"),
            },
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return done.stdout


def lasting(screen: str) -> str:
    """Return a screen without what differs between two runs: process ids and today's date."""
    today = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    ids = iter(range(4712, 0, -1))  # process 2 started process 1
    return re.sub(r"\(pid \d+\)", lambda _: f"(pid {next(ids)})", screen).replace(today, DAY)


def shown_lines(screen: str) -> list[str]:
    """Return the lines of the picture: those of the screen, cut to its width."""
    lines = lasting(screen).rstrip().splitlines()
    return [line if len(line) <= COLUMNS else f"{line[: COLUMNS - 1]}…" for line in lines]


def drawn(lines: list[str]) -> str:
    """Return the picture of a terminal that shows these lines."""
    height = TOP + LINE_HEIGHT * len(lines) + 8
    texts = "\n".join(
        f'<text x="{LEFT}" y="{TOP + LINE_HEIGHT * number}"{_class(line)}>{escape(line)}</text>'
        for number, line in enumerate(lines)
    )
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">
<title>What make demo prints</title>
<style>
text {{ font: 12px {FONTS}; fill: #e6edf3; white-space: pre; }}
.right {{ fill: #56d364; }} .wrong {{ fill: #ff7b72; }} .soft {{ fill: #9198a1; }}
</style>
<rect width="{WIDTH}" height="{height}" rx="10" fill="#0d1117" stroke="#3d444d"/>
<circle cx="24" cy="21" r="6" fill="#ff5f57"/>
<circle cx="44" cy="21" r="6" fill="#febc2e"/>
<circle cx="64" cy="21" r="6" fill="#28c840"/>
<text x="{WIDTH / 2:.0f}" y="25" text-anchor="middle" class="soft">make demo</text>
{texts}
</svg>
"""


def _class(line: str) -> str:
    found = next((name for start, name in CLASSES if re.match(start, line)), None)
    return f' class="{found}"' if found else ""


def lines_in(picture: str) -> list[str]:
    """Return the lines that a picture shows."""
    return [unescape(text) for text in re.findall(rf'<text x="{LEFT}"[^>]*>(.*)</text>', picture)]


def main() -> int:
    """Record the demo, or check the recording."""
    lines = shown_lines(demo_screen())
    if sys.argv[1:] == ["--check"]:
        return int(lines_in(PICTURE.read_text(encoding="utf-8")) != lines)
    PICTURE.write_text(drawn(lines), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
