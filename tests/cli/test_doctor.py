"""Each finding of `doctor`, provoked in a real store, and what `--fix` mends."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import HumanMessage

from databases import DATABASES
from inside import Facts, FileFacts, Outbox, create_key, doctor_files, doctor_findings
from langchain_kronvex import KronvexMemory
from langchain_kronvex.consolidation import KronvexConsolidator
from langchain_kronvex.server import ServerSettings, create_app
from server.running import serving

from .conftest import EVIL, Run

Diagnose = Callable[..., "Diagnosis"]


class Diagnosis:
    """What `doctor --json` says."""

    def __init__(self, code: int, said: dict[str, Any]) -> None:
        self.code, self.said = code, said
        assert set(said) == {"url", "agent_id", "findings", "fixed"}
        assert code == any(each["level"] == "problem" for each in said["findings"])

    def level_of(self, words: str) -> str | None:
        """The level of the finding with these words; None without one."""
        found = [f for f in self.said["findings"] if words in f["what"]]
        assert all(f["advice"] for f in found if f["level"] != "ok"), found
        return found[0]["level"] if found else None

    @property
    def fixed(self) -> str:
        return " ".join(self.said["fixed"])


@pytest.fixture
def diagnose(run: Run) -> Diagnose:
    def diagnose_(url: str, *options: str) -> Diagnosis:
        done = run("doctor", "--json", "--url", url, *options)
        [said] = done.found
        return Diagnosis(done.code, said)

    return diagnose_


@pytest.fixture
def path(store_url: str) -> Path:
    """The file of a store with one memory."""
    with KronvexMemory(store_url) as memory:
        memory.remember("Ana likes tea.", user_id="ana")
    return Path(store_url.removeprefix("sqlite:///"))


def change(path: Path, sql: str, *parameters: Any) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(sql, parameters)


# -- where the store is -----------------------------------------------------------------------


def test_a_healthy_store_has_no_problem(filled: str, run: Run, diagnose: Diagnose) -> None:
    assert diagnose(filled).code == 0
    shown = run("doctor", "--url", filled)
    assert shown.code == 0
    assert "4 memories and 1 message of 3 users" in shown.out
    assert "\x1b" not in shown.out  # no colours outside a terminal


def test_it_says_who_chose_the_place(path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "by the argument" in run("doctor", "--url", f"sqlite:///{path}").out
    monkeypatch.setenv("KRONVEX_URL", f"sqlite:///{path}")
    monkeypatch.setenv("KRONVEX_AGENT_ID", "bot")
    shown = run("doctor")
    assert "by KRONVEX_URL." in shown.out
    assert "The agent is 'bot', by KRONVEX_AGENT_ID." in shown.out
    monkeypatch.delenv("KRONVEX_URL")
    assert "by the default" in run("doctor").out


def test_a_store_in_ram_does_not_persist(diagnose: Diagnose) -> None:
    assert diagnose("sqlite://").level_of("RAM of one process") == "problem"


def test_a_relative_path_is_noted(
    path: Path, diagnose: Diagnose, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    assert diagnose("sqlite:///memory.db").level_of("path is relative") == "note"


def test_a_store_that_is_not_there(diagnose: Diagnose, tmp_path: Path) -> None:
    found = diagnose(f"sqlite:///{tmp_path / 'nowhere' / 'memory.db'}", "--fix", "--upgrade")
    assert found.level_of("holds no store") == "problem"
    assert list(tmp_path.iterdir()) == []
    assert diagnose(DATABASES.bare()).level_of("holds no store") == "problem"


@pytest.mark.parametrize(
    "url",
    ["mysql://ana:hunter2@host/db", "hunter2", "postgresql://ana:hunter2@127.0.0.1:1/db",
     "postgresql://ana:hunt@er2@host/db", "https://ana:hunter2@host"],
)  # fmt: skip
def test_a_place_that_cannot_be_reached_shows_no_password(
    url: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KRONVEX_API_KEY", "kv-hunter2")
    done = run("doctor", "--url", url)
    assert done.code == 1
    assert "It cannot be read." in done.out
    assert "hunt" not in done.out + done.err
    assert "er2" not in done.out + done.err.replace("server", "")


# -- stores that cannot be opened -------------------------------------------------------------


def test_a_store_of_a_later_version(path: Path, diagnose: Diagnose) -> None:
    change(path, "PRAGMA user_version = 99")
    assert diagnose(f"sqlite:///{path}").level_of("has schema version 99") == "problem"


def test_a_store_of_an_earlier_version_is_upgraded_on_request(
    path: Path, diagnose: Diagnose, run: Run
) -> None:
    url = f"sqlite:///{path}"
    with closing(sqlite3.connect(path)) as db, db:
        for trigger in ("consolidations_end", "snapshots_outdated", "snapshots_end",
                        "snapshots_of_deleted", "snapshots_of_changed"):  # fmt: skip
            db.execute(f"DROP TRIGGER {trigger}")
        for what in ("TABLE consolidations", "TABLE second_looks", "TABLE snapshots",
                     "INDEX records_derived", "INDEX records_procedures"):  # fmt: skip
            db.execute(f"DROP {what}")
        db.execute("ALTER TABLE records DROP COLUMN sources")
        db.execute("PRAGMA user_version = 3")

    assert run("list", "--url", url).code == 1
    assert diagnose(url, "--fix").level_of("schema version 3") == "problem"
    assert "upgraded to schema 5" in diagnose(url, "--fix", "--upgrade").fixed
    assert run("list", "--url", url).code == 0


def test_a_file_of_something_else(path: Path, diagnose: Diagnose) -> None:
    path.write_text("shopping list\n" * 100)
    path.chmod(0o644)
    found = diagnose(f"sqlite:///{path}")
    assert found.level_of("belongs to another program") == "problem"
    assert found.level_of("may open it") is None  # doctor --fix leaves such a file alone


def test_a_folder(tmp_path: Path, diagnose: Diagnose) -> None:
    assert diagnose(f"sqlite:///{tmp_path}").level_of("is a folder. Name a file in it") == "problem"


def test_what_consolidation_has_set_aside(own_url: str, diagnose: Diagnose) -> None:
    with KronvexMemory(own_url) as memory:
        memory.save_exchange("I live in Porto.", "How nice!", user_id="ana")
        model = FakeListChatModel(responses=["That is no JSON."])
        assert KronvexConsolidator(memory, model).run("ana").set_aside == 1
    found = diagnose(own_url)
    assert found.level_of("has set 1 exchange aside") == "note"
    with KronvexMemory(own_url) as memory:
        memory.forget(user_id="ana")
    assert diagnose(own_url).level_of("aside") is None


def test_a_damaged_file(store_url: str, diagnose: Diagnose) -> None:
    with KronvexMemory(store_url) as memory:
        for number in range(200):
            memory.remember(f"note {number} {'x' * 500}", user_id="ana")
    path = Path(store_url.removeprefix("sqlite:///"))
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 3 : len(whole) // 2] = b"\x5a" * (len(whole) // 2 - len(whole) // 3)
    path.write_bytes(whole)
    found = diagnose(store_url)
    assert "problem" in (found.level_of("damaged"), found.level_of("cannot be read"))


def test_a_store_that_another_process_writes(path: Path, diagnose: Diagnose) -> None:
    script = (
        "import sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('BEGIN IMMEDIATE')\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        found = diagnose(f"sqlite:///{path}")
        assert found.level_of("cannot be written") == "problem"
        if sys.platform == "linux":
            assert found.level_of(f"Open in: {process.pid} (") == "problem"
    finally:
        process.communicate()


def test_a_store_that_another_process_keeps_to_itself(path: Path, diagnose: Diagnose) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("BEGIN EXCLUSIVE")
        assert diagnose(f"sqlite:///{path}").level_of("held by another process") == "problem"


@contextmanager
def as_nobody() -> Iterator[None]:
    """Take from this process the rights that the superuser has over every file."""
    if os.geteuid():
        yield
        return
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="changes the rights of the process")
def test_a_store_that_may_only_be_read(run: Run, diagnose: Diagnose) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url = f"sqlite:///{folder / 'memory.db'}"
        with KronvexMemory(url) as memory:
            memory.remember("Ana likes tea.", user_id="ana")
        assert diagnose(url).code == 0
        (folder / "memory.db").chmod(0o444)
        folder.chmod(0o555)
        try:
            with as_nobody():
                assert run("users", "--url", url).out.splitlines()[1].startswith("ana")
                assert diagnose(url).level_of("cannot be written") == "problem"
        finally:
            folder.chmod(0o700)


def test_a_server_that_is_away(diagnose: Diagnose) -> None:
    assert diagnose("http://127.0.0.1:1").level_of("It cannot be read") == "problem"


def test_a_key_that_the_server_rejects(
    store_url: str, diagnose: Diagnose, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_key(store_url, "app", [])
    with KronvexMemory(store_url) as memory, serving(create_app(memory, ServerSettings())) as base:
        monkeypatch.setenv("KRONVEX_API_KEY", "kv-hunter2")
        assert diagnose(base).level_of("rejected the API key") == "problem"


def test_a_role_that_may_not_write(tmp_path: Path, diagnose: Diagnose) -> None:
    url = DATABASES.fresh()
    with psycopg.connect(url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    assert diagnose(url).level_of("database cannot be written") == "problem"


# -- what the store holds ---------------------------------------------------------------------


def test_the_memories_of_another_agent(own_url: str, diagnose: Diagnose) -> None:
    with KronvexMemory(own_url, agent_id="bot") as memory:
        memory.remember("Ana likes tea.", user_id="ana")
    assert diagnose(own_url).level_of("other agents have: 'bot' (1)") == "problem"
    assert diagnose(own_url, "--agent", "bot").code == 0


def test_an_empty_store_and_memories_of_nobody(url: str, diagnose: Diagnose) -> None:
    KronvexMemory(url).close()
    assert diagnose(url).level_of("No memory is stored") == "note"
    with KronvexMemory(url) as memory:
        memory.remember("The shop opens at nine.")
        assert memory.flush(30)
    assert diagnose(url).level_of("1 memory of no user") == "note"


@pytest.mark.parametrize("name", ["None", "null", "undefined", "default", " NULL "])
def test_a_name_that_stands_for_nobody(name: str, url: str, diagnose: Diagnose) -> None:
    with KronvexMemory(url) as memory:
        memory.remember("Ana likes tea.", user_id=name)
        memory.remember("Bob likes tea.", user_id="bob", session_id=name)
        assert memory.flush(30)
    found = diagnose(url)
    assert found.level_of(f"as user: {name!r}") == "problem"
    assert found.level_of(f"as session: {name!r}") == "problem"


def test_one_person_under_two_spellings(url: str, diagnose: Diagnose) -> None:
    names = [
        "ana",
        "Ana",
        " ana",
        "ana@example.com",
        "bob",
        "bobby",
        "eve@a.org",
        "eve@b.org",
        EVIL,
    ]
    with KronvexMemory(url) as memory:
        for name in [*names, EVIL]:
            memory.remember("likes tea", user_id=name)
        assert memory.flush(30)
    found = diagnose(url)
    assert found.level_of("one person: ' ana', 'Ana', 'ana', 'ana@example.com'") == "note"
    assert found.level_of("bob") is None
    assert found.level_of("eve@") is None


def test_a_new_session_every_time(url: str, diagnose: Diagnose) -> None:
    with KronvexMemory(url) as memory:
        for number in range(6):
            made = str(uuid.UUID(int=number + (4 << 76)))
            memory.remember(f"turn {number}", session_id=made)
            memory.save_messages([HumanMessage("hi")], made, user_id="bob", remember=False)
            memory.remember(f"long {number}", session_id=f"chat-{number}", user_id="eve")
        assert memory.flush(30)
    found = diagnose(url)
    assert found.level_of("Without a user_id, programs get a new session") == "problem"
    assert found.level_of("The user 'bob' gets a new session") == "note"
    assert found.level_of("'eve'") is None


def test_a_memory_of_the_future(url: str, diagnose: Diagnose) -> None:
    with KronvexMemory(url) as memory:
        later = datetime.now(timezone.utc) + timedelta(days=3)
        memory.remember("Ana likes tea.", user_id="ana", created_at=later)
        assert memory.flush(30)
    assert diagnose(url).level_of("in the future") == "note"


def test_other_embeddings_than_those_asked_for(own_url: str, diagnose: Diagnose) -> None:
    with KronvexMemory(own_url, embeddings=DeterministicFakeEmbedding(size=8)) as memory:
        memory.remember("Ana likes tea.", user_id="ana")
        assert memory.flush(30)
        memory.engine.backend.prepare_reindex("next:model", 4)
    found = diagnose(own_url)
    assert found.level_of("was asked for") == "problem"
    assert found.level_of("next:model was not finished") == "note"
    assert diagnose(own_url, "--embeddings", "none").code == 0
    wrong = diagnose(own_url, "--embeddings", "nonsense:model")
    assert wrong.level_of("embeddings='nonsense:model'") == "problem"


# -- what can be mended -----------------------------------------------------------------------


def test_what_is_safe_is_mended(path: Path, run: Run, diagnose: Diagnose) -> None:
    url = f"sqlite:///{path}"
    with KronvexMemory(url, embeddings=False) as memory:
        memory.remember("Ana likes cake.", user_id="ana")
        memory.remember("gone", user_id="ana", ttl_days=1)
    change(path, "UPDATE records SET expires = 1000 WHERE content = 'gone'")
    change(path, "INSERT INTO settings VALUES ('erasing', 'x')")
    path.chmod(0o640)

    sick = diagnose(url)
    assert sick.level_of("Other users of this machine") == "problem"
    assert sick.level_of("erasure was interrupted") == "problem"
    assert sick.level_of("1 expired record still stored") == "note"
    assert sick.level_of("1 memory without a vector") == "note"
    assert sick.said["fixed"] == []
    assert path.stat().st_mode & 0o777 == 0o640

    mended = diagnose(url, "--fix")
    assert mended.code == 0
    for words in (
        "private",
        "interrupted erasure",
        "1 expired record",
        "embedded 1 memory",
    ):
        assert words in mended.fixed
    assert path.stat().st_mode & 0o777 == 0o600
    assert diagnose(url, "--fix").said["fixed"] == []
    assert "fixed" not in run("doctor", "--url", url, "--fix").out


def test_what_has_expired_is_removed_from_postgres(diagnose: Diagnose) -> None:
    url = DATABASES.fresh()
    with KronvexMemory(url) as memory:
        memory.remember("gone", user_id="ana", ttl_days=1)
        memory.remember("stays", user_id="ana")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "UPDATE langchain_kronvex.records SET expires = now() - interval '1 day' "
            "WHERE content = 'gone'"
        )
    assert diagnose(url).level_of("1 expired record still stored") == "note"
    assert "1 expired record" in diagnose(url, "--fix").fixed


def test_entries_of_an_outbox(
    path: Path, diagnose: Diagnose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with KronvexMemory("http://127.0.0.1:1", timeout_seconds=0.2) as memory:
        memory.remember("Ana likes tea.", user_id="ana")
        memory.remember("Bob likes tea.", user_id="bob")
    [box] = (tmp_path / "data" / "langchain-kronvex").glob("outbox-*.db")
    with closing(sqlite3.connect(box)) as db, db:
        db.execute("UPDATE entries SET failed = 'BadRequest' WHERE place = 1")
    beside = sorted(box.parent.iterdir())
    url = f"sqlite:///{path}"

    found = diagnose(url)
    assert found.level_of("refused 1 writes") == "problem"
    assert found.level_of("1 writes for http://127.0.0.1:1/api/v1 wait") == "note"
    assert sorted(box.parent.iterdir()) == beside
    assert diagnose(url, "--fix").level_of("refused 1 writes") == "problem"
    resent = diagnose(url, "--fix", "--resend")
    assert resent.code == 0
    assert "1 writes" in resent.fixed
    with closing(Outbox(box, 1.0)) as outbox:
        assert outbox.unsent() == 2
    box.write_text("nonsense" * 100)
    assert diagnose(url).level_of("it cannot be read") == "problem"


# -- rules on facts that a test cannot make ---------------------------------------------------

MOUNTS = """\
overlay / overlay rw 0 0
/dev/sda1 /home ext4 rw 0 0
server:/share /home/ana/team\\040files nfs4 rw 0 0
tmpfs /tmp tmpfs rw 0 0
"""
FACTS = Facts(
    now=datetime.now(timezone.utc), url="sqlite:////memory.db", url_reason="the argument",
    kind="file", agent_id="default", agent_reason="the default",
)  # fmt: skip
FILE = FileFacts(path=Path("/memory.db"), is_relative=False, exists=True, size_bytes=100 << 20)


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/memory.db", "overlay"), ("/home/ana/memory.db", "ext4"), ("/tmp/m.db", "tmpfs"),
     ("/home/ana/team files/memory.db", "nfs4"), ("/homes/memory.db", "overlay")],
)  # fmt: skip
def test_the_file_system_is_that_of_the_nearest_mount(path: str, kind: str) -> None:
    assert doctor_files.file_system_of(Path(path), MOUNTS) == kind


@pytest.mark.parametrize(
    ("changes", "words", "level"),
    [
        ({"file_system": "nfs4"}, "network file system", "problem"),
        ({"file_system": "tmpfs"}, "lies in RAM", "problem"),
        ({"file_system": "overlay"}, "layer of a container", "note"),
        ({"free_bytes": 120 << 20}, "may need 209.7 MB", "problem"),
        ({"log_bytes": 300 << 20}, "write-ahead log has 314.6 MB", "note"),
    ],
    ids=["network", "ram", "container", "disk", "log"],
)
def test_the_place_of_a_file(changes: dict[str, Any], words: str, level: str) -> None:
    facts = replace(FACTS, file=replace(FILE, **changes))
    [found] = [f for f in doctor_findings.findings(facts) if words in f.what]
    assert found.level == level
    assert found.advice
    calm = doctor_findings.findings(replace(FACTS, file=FILE))
    assert not [f for f in calm if f.level != "ok"]
