"""Runs programs in children of a process that has the libraries imported already.

Run by `integration/zygote.py`; tests never import this. A program finds what it would find in a
new interpreter: its folder, arguments, environment and streams; it only starts much sooner.
"""

from __future__ import annotations

import atexit
import os
import runpy
import signal
import sys
import threading
import traceback
import warnings
from pathlib import Path
from typing import Any

import psycopg_pool  # noqa: F401

import langchain_kronvex.langgraph
import langchain_kronvex.middleware
import langchain_kronvex.server
import langchain_kronvex.tools  # noqa: F401

TESTS = Path(__file__).parents[1]
STREAMS = ("stdin", "stdout", "stderr")


def program(
    say: Any, hear: Any, arguments: list[str], folder: str, environment: dict[str, str],
    streams: str, strict: bool,
) -> None:  # fmt: skip
    """Run a program to its end, then say its exit code.

    Args:
        say: Tells the test.
        hear: Not used.
        arguments: The path of the program, and what follows it.
        folder: Where it runs.
        environment: All of its environment variables.
        streams: The folder of the files that are its streams.
        strict: Whether warnings are errors, but those about what is deprecated.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # it may wait for children of its own
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, name in enumerate(STREAMS):
        os.dup2(os.open(Path(streams, name), os.O_RDWR), number)
    sys.argv[:] = arguments
    elsewhere = [path for path in sys.path if not Path(path).is_relative_to(TESTS)]
    sys.path[:] = [str(Path(arguments[0]).parent), *elsewhere]
    if strict:
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", PendingDeprecationWarning)
    code = _run(arguments[0])
    # What the interpreter does before it ends.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    say(code)


def _run(path: str) -> int:
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        print(ended.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0
