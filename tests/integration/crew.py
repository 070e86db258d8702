"""Other processes, as seen from a test: children to talk to and to kill, and fresh Pythons."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

PATIENCE = 60.0
HERE = Path(__file__).parent


class Gone(Exception):
    """The child ended."""


class Child:
    """One child of the crew: say something to it, hear what it says, or kill it."""

    def __init__(self, pid: int, mouth: int, ears: int) -> None:
        self.pid = pid
        self._mouth = mouth
        self._ears = ears
        self._rest = b""
        self._closed = False

    def say(self, what: Any) -> None:
        os.write(self._mouth, json.dumps(what).encode() + b"\n")

    def hear(self, timeout: float = PATIENCE) -> Any:
        """Return what the child says next.

        Raises:
            Gone: it ended without saying more.
            AssertionError: it failed, or said nothing in time.
        """
        while b"\n" not in self._rest:
            with selectors.DefaultSelector() as selector:  # of files with any number
                selector.register(self._ears, selectors.EVENT_READ)
                ready = selector.select(timeout)
            assert ready, f"child {self.pid} said nothing for {timeout} s"
            more = os.read(self._ears, 65536)
            if not more:
                raise Gone
            self._rest += more
        line, self._rest = self._rest.split(b"\n", 1)
        said = json.loads(line)
        assert not (isinstance(said, dict) and "error" in said), said["error"]
        return said

    def rest(self) -> list[Any]:
        """Return everything it still says, until it ends."""
        said = []
        try:
            while True:
                said.append(self.hear())
        except Gone:
            return said

    def finish(self) -> list[Any]:
        """Return everything it still says; it must end well."""
        said = self.rest()
        assert said, f"child {self.pid} ended before its work was done"
        assert said[-1] == {"done": True}, f"child {self.pid} ended early, after {said[-1]!r}"
        self.close()
        return said[:-1]

    def kill(self) -> list[Any]:
        """Kill it with SIGKILL; return what it had said."""
        os.kill(self.pid, signal.SIGKILL)
        said = self.rest()
        self.close()
        return said

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            os.close(self._mouth)
            os.close(self._ears)


class Crew:
    """Starts children that run the functions of the `workers.py` of a folder."""

    def __init__(self, folder: Path = HERE) -> None:
        self._commands, theirs = socket.socketpair()
        self._children: list[Child] = []
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", HERE / "zygote.py", str(theirs.fileno()), folder],
                pass_fds=[theirs.fileno()],
                env=environment,
            )

    def start(self, work: str, **arguments: Any) -> Child:
        """Start `workers.<work>(say, hear, **arguments)` in a process of its own."""
        their_ears, mouth = os.pipe()
        ears, their_mouth = os.pipe()
        text = json.dumps({"work": work, "arguments": arguments}).encode()
        assert len(text) < 65536, "a command must fit into one reading of the zygote"
        socket.send_fds(self._commands, [text], [their_ears, their_mouth])
        os.close(their_ears)
        os.close(their_mouth)
        pid = b""
        while not pid.endswith(b"\n"):
            more = self._commands.recv(64)
            assert more, "the warm process died"
            pid += more
        child = Child(int(pid), mouth, ears)
        self._children.append(child)
        return child

    def dismiss(self) -> None:
        """Kill every child that still lives."""
        for child in self._children:
            if not child._closed:
                try:
                    child.kill()
                except ProcessLookupError:
                    child.close()
        self._children.clear()

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.dismiss()
        self._commands.close()
        self._process.wait(PATIENCE)


def run_python(script: str, *arguments: str, cwd: Path | None = None, **environment: str) -> Any:
    """Run a script in a fresh Python, warnings as errors; return the JSON it printed last."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout.splitlines()[-1])
