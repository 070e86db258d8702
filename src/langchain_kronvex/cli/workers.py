"""`serve --workers`: several processes that accept connections of one socket."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess

from langchain_kronvex.core.errors import KronvexError

logger = logging.getLogger("langchain_kronvex.server")

Work = Callable[[socket.socket], None]
_UNAVAILABLE = 3  # as Uvicorn has it
_STOP_SECONDS = 45.0  # longer than Uvicorn gives the requests under way


def run_workers(count: int, work: Work, host: str, port: int) -> int:
    """Run a function in several processes until a signal ends this one; return the exit code.

    A process that was killed or told to end is replaced. One that fails could not start, so the
    others are ended too.

    Args:
        count: How many processes.
        work: Serves a listening socket; it can be pickled.
        host: The address to listen on.
        port: The port; 0 takes any free one.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        logger.error("%s", error)  # noqa: TRY400 - it says everything
        return _UNAVAILABLE
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    workers: list[SpawnProcess] = []
    with listening:
        try:
            workers += (_started(work, listening) for _ in range(count))
            shown = f"[{host}]" if ":" in host else host
            address = f"http://{shown}:{listening.getsockname()[1]}"
            logger.info("%d processes are running on %s", count, address)
            return _watch(workers, work, listening)
        except KeyboardInterrupt:  # as Uvicorn does in one process
            return 0
        finally:
            for worker in workers:
                worker.terminate()
            for worker in workers:
                worker.join(_STOP_SECONDS)


def _watch(workers: list[SpawnProcess], work: Work, listening: socket.socket) -> int:
    """Replace processes that end; return the exit code of one that fails."""
    while True:
        ended = wait([worker.sentinel for worker in workers])
        for place, worker in enumerate(workers):
            if worker.sentinel in ended:
                worker.join()
                if worker.exitcode and worker.exitcode > 0:
                    return worker.exitcode
                logger.error("process %d has ended; another one takes its place", worker.pid)
                _forget_figures(worker.pid)
                workers[place] = _started(work, listening)


def _started(work: Work, listening: socket.socket) -> SpawnProcess:
    # Ended with this process, also when that is interrupted before it knows the new one.
    worker = multiprocessing.get_context("spawn").Process(
        target=_run, args=(work, listening), daemon=True
    )
    # Ctrl-C in a terminal reaches all processes; a new one has no handler yet, and is ended here.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        worker.start()
    finally:
        signal.signal(signal.SIGINT, before)
    return worker


def _run(work: Work, listening: socket.socket) -> None:
    """Work in a new process, until it is told to end or the first one is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work(listening)
    except (KronvexError, OSError) as error:
        logger.error("a process could not go on: %s", error)  # noqa: TRY400 - it may quote texts
        sys.exit(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def shared_figures() -> Iterator[None]:
    """Let prometheus-client add up the figures of the processes, in files of a folder."""
    folder = tempfile.mkdtemp(prefix="langchain-kronvex-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    try:
        yield
    finally:
        del os.environ["PROMETHEUS_MULTIPROC_DIR"]
        shutil.rmtree(folder, ignore_errors=True)


def _forget_figures(pid: int | None) -> None:
    """Take a process that was killed out of the figures that hold for living ones."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(pid)  # type: ignore[no-untyped-call]
