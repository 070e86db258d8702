"""Real exports and imports: file modes, kills, truncated files, large stores, commands."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from defaults import set_default
from inside import Export, Page, Record, Selection, main
from langchain_kronvex import (
    InvalidInput,
    KronvexKeyValueStore,
    KronvexMemory,
    MemoryDraft,
    MoveSummary,
    NotSupported,
    StoreUnavailable,
)
from langchain_kronvex.langgraph import KronvexStore

from .crew import Crew

OpenMemory = Callable[..., KronvexMemory]
COUNT = 60


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "moved.jsonl"


@pytest.fixture
def other_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'other.db'}"


@pytest.fixture
def full(memory: KronvexMemory) -> KronvexMemory:
    """A memory with something of every sort in it."""
    drafts = [MemoryDraft(f"number {n} zoo ☕", user_id=f"user{n % 3}") for n in range(COUNT)]
    memory.remember_many(drafts)
    memory.save_messages([HumanMessage("Hello?"), AIMessage("Hi!")], "chat", user_id="user1")
    return memory


def records(memory: KronvexMemory) -> list[Record]:
    """Return everything but the access counts, which arrive in the background."""
    found = memory.engine.backend.find(
        Selection(kind=None, scope=None), Page(), memory.engine.clock()
    )
    return [replace(record, access_count=0) for record in found]


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


# -- files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["moved.jsonl", "moved.jsonl.gz"])
def test_an_export_is_one_file_only_its_owner_can_read(
    full: KronvexMemory, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / name
    path.write_text("an older file")
    path.chmod(0o666)
    modes: list[int] = []
    before = os.umask(0)
    try:
        full.export(
            str(path), progress=lambda done, total: modes.extend(map(mode, folder.glob(".*")))
        )
    finally:
        os.umask(before)
    assert set(modes) == {0o600}
    assert mode(path) == 0o600
    assert list(folder.iterdir()) == [path]
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == name.endswith(".gz")


def test_a_compressed_file_is_recognised_by_its_content(
    full: KronvexMemory, open_memory: OpenMemory, other_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "moved.gz"
    full.export(path)
    renamed = path.rename(tmp_path / "moved.jsonl")
    assert open_memory(other_url).import_(renamed).stored == COUNT + 3


def test_a_failed_export_leaves_the_older_file(full: KronvexMemory, file: Path) -> None:
    file.write_text("an older file")

    def fail(done: int, total: int) -> None:
        raise RuntimeError("pulled out")

    with pytest.raises(RuntimeError, match="pulled out"):
        full.export(file, progress=fail)
    assert file.read_text() == "an older file"
    assert list(file.parent.glob("*.part")) == list(file.parent.glob(".*")) == []


def test_an_export_does_not_overwrite_the_store(memory: KronvexMemory, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "memory.db")
    for path in (tmp_path / "memory.db", link, Path(os.path.relpath(tmp_path)) / "memory.db"):
        with pytest.raises(InvalidInput, match="is a store"):
            memory.export(path)
    memory.remember("still here", user_id="ana")


def test_paths_that_cannot_be_written(memory: KronvexMemory, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is not a file"):
        memory.export(tmp_path)
    with pytest.raises(FileNotFoundError):
        memory.export(tmp_path / "missing" / "file")
    for no_file in (tmp_path / "missing", tmp_path, ""):
        with pytest.raises(InvalidInput, match="No such file: /"):
            memory.import_(no_file)
    for wrong in (None, 7, b"bytes", ["x"]):
        with pytest.raises(InvalidInput, match="path or an open file"):
            memory.export(wrong)  # type: ignore[arg-type]
        with pytest.raises(InvalidInput, match="path or an open file"):
            memory.import_(wrong)  # type: ignore[arg-type]
    for impossible in ("a\0b", "\ud800", Path("a\0b.gz")):
        with pytest.raises(InvalidInput, match="path"):
            memory.export(impossible)
        with pytest.raises(InvalidInput, match="path"):
            memory.import_(impossible)


@pytest.mark.parametrize("user_id", ["", " ", "x" * 256, "a\0", 7])
def test_invalid_user_ids(memory: KronvexMemory, file: Path, user_id: Any) -> None:
    with pytest.raises(InvalidInput, match="user_id"):
        memory.export(file, user_id=user_id)
    assert not file.exists()


def test_a_server_keeps_its_vectors(file: Path) -> None:
    with (
        KronvexMemory("http://127.0.0.1:9", api_key="kv-x") as memory,
        pytest.raises(NotSupported, match="vectors"),
    ):
        memory.export(file, vectors=True)


def test_a_store_that_cannot_be_read_gives_no_file(
    full: KronvexMemory, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_default(monkeypatch, Export, "page_records", 10)
    pages = iter([True, False])
    export_page = full.engine.backend.export_page

    def fail_at_the_second(*arguments: Any, **more: Any) -> Any:
        if next(pages):
            return export_page(*arguments, **more)
        raise StoreUnavailable

    monkeypatch.setattr(full.engine.backend, "export_page", fail_at_the_second)
    with pytest.raises(StoreUnavailable):
        full.export(file)
    assert not file.exists()


def test_stores_move_with_the_memory(open_memory: OpenMemory, other_url: str) -> None:
    old, new = open_memory(), open_memory(other_url)
    pairs, moved_pairs = (KronvexKeyValueStore(each, "settings") for each in (old, new))
    pairs.set("k" * 2000, {"x": 1})
    pairs.set("short", [1, 2], ttl_days=3)
    with KronvexStore(old) as graph, KronvexStore(new) as moved_graph:
        graph.put(("users", "ana"), "tea", {"text": "likes tea"})
        graph.put(("users", "x" * 300), "coffee", {"text": "likes coffee", "n": 3.0}, index=False)
        for source, target in ((old, new), (graph.memory, moved_graph.memory)):
            stream = io.BytesIO()
            source.export(stream)
            assert target.import_(io.BytesIO(stream.getvalue())).stored == 2
        assert moved_graph.search(("users",)) == graph.search(("users",))
        assert moved_graph.get(("users", "ana"), "tea") == graph.get(("users", "ana"), "tea")
        assert moved_graph.list_namespaces() == graph.list_namespaces()
    assert moved_pairs.get("k" * 2000) == {"x": 1}
    assert sorted(moved_pairs.yield_keys()) == sorted(pairs.yield_keys())


# -- others at work ----------------------------------------------------------------------------


def test_an_export_holds_all_unchanged_memories(
    full: KronvexMemory, open_memory: OpenMemory, other_url: str, file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    set_default(monkeypatch, Export, "page_records", 10)
    before = {record.id: record for record in records(full)}
    doomed = records(full)[-1].id

    def meddle(done: int, total: int) -> None:
        full.remember(f"written at {done}", user_id="ana")
        full.forget(id=doomed, keep_messages=True)

    full.export(file, progress=meddle)
    other = open_memory(other_url)
    other.import_(file)
    moved = {record.id: record for record in records(other)}
    assert moved.keys() >= before.keys() - {doomed}
    assert all(moved[id_] == before[id_] for id_ in before.keys() & moved.keys())
    assert not any(record.content.startswith("written at 2") for record in moved.values())


async def test_an_export_does_not_block_the_event_loop(
    full: KronvexMemory, open_memory: OpenMemory, other_url: str, file: Path
) -> None:
    loop, went_on = asyncio.get_running_loop(), threading.Event()

    def wait(done: int, total: int) -> None:
        loop.call_soon_threadsafe(went_on.set)
        assert went_on.wait(30)

    assert (await full.aexport(file, progress=wait)).stored == COUNT + 3
    went_on.clear()
    assert (await open_memory(other_url).aimport_(file, progress=wait)).stored == COUNT + 3


async def test_a_cancelled_export_leaves_no_file(
    full: KronvexMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_default(monkeypatch, Export, "page_records", 10)
    folder = tmp_path / "folder"
    folder.mkdir()
    hangs, gate, ended = threading.Event(), threading.Event(), threading.Event()

    def wait(done: int, total: int) -> None:
        hangs.set()
        assert gate.wait(30)

    remove = Path.unlink

    def unlink(path: Path, **more: Any) -> None:
        remove(path, **more)
        ended.set()

    monkeypatch.setattr(Path, "unlink", unlink)
    running = asyncio.create_task(full.aexport(folder / "x", progress=wait))
    assert await asyncio.to_thread(hangs.wait, 30)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    gate.set()
    assert await asyncio.to_thread(ended.wait, 30)
    assert list(folder.iterdir()) == []


# -- kills and cuts ----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_killed_import_is_completed_by_the_next(
    crew: Crew, full: KronvexMemory, open_memory: OpenMemory, other_url: str, file: Path
) -> None:
    full.export(file)
    for batch, halts in ((20, 2), (7, 5)):
        url = other_url.replace("other", f"other{batch}")
        child = crew.start("import_step_by_step", url=url, file=str(file), batch=batch)
        done = child.hear()
        for _ in range(halts):
            child.say("go on")
            done = child.hear()
        child.kill()
        assert done == halts * batch
        other = open_memory(url)
        assert records(other) == records(full)[:done]
        assert other.import_(file).stored == COUNT + 3 - done
        assert records(other) == records(full)
        found = (each.recall("number 7", user_id="user1", top_k=30) for each in (full, other))
        ours, theirs = ([(m.id, m.similarity) for m in each] for each in found)
        assert ours == theirs


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [8, pytest.param(200, marks=pytest.mark.soak)])
def test_an_import_killed_at_any_moment_leaves_whole_batches(
    crew: Crew, full: KronvexMemory, open_memory: OpenMemory, other_url: str, file: Path,
    rounds: int,
) -> None:  # fmt: skip
    luck, batch = random.Random(7), 3
    full.export(file)
    wanted = records(full)
    for number in range(rounds):
        url = other_url.replace("other", f"other{number}")
        open_memory(url).close()
        child = crew.start("import_on_command", url=url, file=str(file), batch=batch)
        assert child.hear() == "ready"
        child.say("now")
        time.sleep(luck.uniform(0, 0.06))  # the moment of death is what is random here
        child.kill()
        with open_memory(url) as other:
            there = records(other)
            assert there == wanted[: len(there)]
            assert len(there) % batch == 0
            assert other.import_(file).stored == len(wanted) - len(there)
            assert records(other) == wanted
            assert other.stats().unembedded == 0


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_that_was_cut_off_anywhere(
    full: KronvexMemory, open_memory: OpenMemory, file: Path, packed: bool
) -> None:
    path = file.with_suffix(".gz") if packed else file
    full.export(path)
    whole, wanted = path.read_bytes(), records(full)
    luck, stored = random.Random(1), set()
    ends = [*(luck.randrange(3, len(whole)) for _ in range(25)), len(whole) - 2]
    for end in ends:
        other = open_memory("sqlite://")
        with pytest.raises(InvalidInput, match=r"cut off|not an export"):
            other.import_(_file_of(whole[:end], path))
        there = records(other)
        stored.add(len(there))
        assert there == wanted[: len(there)]
        assert other.import_(_file_of(whole, path)).stored == len(wanted) - len(there)
        assert records(other) == wanted
        other.close()
    assert len(stored) > (1 if packed else 10)


def _file_of(raw: bytes, path: Path) -> Path:
    path.write_bytes(raw)
    return path


def test_an_error_says_how_much_was_imported(
    full: KronvexMemory, open_memory: OpenMemory, file: Path
) -> None:
    full.export(file)
    lines = file.read_bytes().splitlines(keepends=True)
    other = open_memory("sqlite://")
    with pytest.raises(
        InvalidInput, match=r"line 11 .*cut off.*first 10 records are in, 10 of them new"
    ):
        other.import_(io.BytesIO(b"".join(lines[:11])))
    with pytest.raises(InvalidInput, match=r"line 11 .*first 10 records are in, 0 of them new"):
        other.import_(io.BytesIO(b"".join(lines[:11])))
    with pytest.raises(InvalidInput, match="Nothing was stored"):
        open_memory("sqlite://").import_(io.BytesIO(lines[0]))


def test_a_file_without_its_last_newline_is_whole(
    full: KronvexMemory, open_memory: OpenMemory, file: Path
) -> None:
    full.export(file)
    assert open_memory("sqlite://").import_(io.BytesIO(file.read_bytes()[:-1])).stored == COUNT + 3


def test_a_damaged_compressed_file(
    full: KronvexMemory, open_memory: OpenMemory, file: Path
) -> None:
    path = file.with_suffix(".gz")
    full.export(path)
    raw = bytearray(path.read_bytes())
    for place in (len(raw) // 2, len(raw) - 6):  # the data, and the check sum
        damaged = bytearray(raw)
        damaged[place] ^= 0xFF
        with pytest.raises(InvalidInput, match="Line"):
            open_memory("sqlite://").import_(_file_of(bytes(damaged), path))


# -- size --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("few", [1_000, pytest.param(5_000, marks=pytest.mark.soak)])
def test_ten_times_as_many_need_no_more_ram(
    crew: Crew, tmp_path: Path, other_url: str, few: int
) -> None:
    grown = []
    for count in (few, 10 * few):
        path, again = tmp_path / f"{count}.jsonl", tmp_path / f"{count}.again"
        _write_many(path, count)
        url = other_url.replace("other", str(count))
        child = crew.start("move_and_weigh", url=url, file=str(path), again=str(again))
        grown.append(child.hear(timeout=300))
        child.finish()
        with again.open() as lines:
            assert sum(1 for _ in lines) == count + 3
    for before, after in zip(*grown, strict=True):
        assert after < before + 12  # MiB; the larger of the files is of 3 or 13


def _write_many(path: Path, count: int) -> None:
    created = "2026-04-28T12:30:15+00:00"
    head = {
        "format": "langchain-kronvex memories", "version": 1, "agent_id": "a", "package": "0",
        "created_at": created, "records": count,
    }  # fmt: skip
    with path.open("w") as file:
        file.write(f"{json.dumps(head)}\n")
        for number in range(count):
            line = {
                "kind": "memory", "id": f"id{number}", "user_id": f"user{number % 50}",
                "type": "semantic", "content": f"number {number} " + "zoo tea ladder " * 10,
                "created_at": created,
            }  # fmt: skip
            file.write(f"{json.dumps(line)}\n")
        file.write(f'{{"end": true, "memory": {count}, "message": 0, "item": 0}}\n')


def test_large_texts_come_in_small_pages(
    memory: KronvexMemory, open_memory: OpenMemory, file: Path
) -> None:
    memory.remember_many([MemoryDraft(f"{n} " + "x" * 1_000_000, user_id="ana") for n in range(20)])
    pages: list[int] = []
    memory.export(file, progress=lambda done, total: pages.append(done))
    assert pages[:2] == [0, 9]
    other = open_memory("sqlite://", embeddings=False)
    batches: list[int] = []
    other.import_(file, progress=lambda done, total: batches.append(done))
    assert batches[:2] == [0, 9]
    assert records(other) == records(memory)


# -- the command line --------------------------------------------------------------------------


def test_commands(
    full: KronvexMemory, store_url: str, other_url: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = str(tmp_path / "moved.gz")
    assert main(["export", "--url", store_url, "--vectors", path]) == 0
    assert capsys.readouterr().err == f"{COUNT + 1} memories, 2 messages and 0 items written\n"
    into = ["import", "--url", other_url, "--agent", "other"]
    for new in (COUNT + 3, 0):
        assert main([*into, path]) == 0
        told = f"{COUNT + 1} memories, 2 messages and 0 items read, {new} of them new\n"
        assert capsys.readouterr() == ("", told)
    assert main(["export", "--url", other_url, "--agent", "other", "--user", "user1", path]) == 0
    assert f"{COUNT // 3 + 1} memories, 2 messages" in capsys.readouterr().err
    assert b"user2" not in gzip.decompress(Path(path).read_bytes())


def test_commands_explain_their_errors(
    memory: KronvexMemory, store_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command, path, code, told in (
        ("import", tmp_path / "missing", 2, "There is no file"),
        ("import", tmp_path / "memory.db", 2, "is a store"),
        ("export", tmp_path / "missing" / "file", 1, "No such file"),
        ("export", tmp_path / "memory.db", 2, "is a store"),
    ):
        assert main([command, "--url", store_url, str(path)]) == code
        assert told in capsys.readouterr().err


@pytest.mark.slow
def test_commands_need_no_extra_and_work_in_a_pipe(
    full: KronvexMemory, store_url: str, other_url: str
) -> None:
    code = (
        "import sys\n"
        "for name in ('fastapi', 'uvicorn', 'starlette', 'psycopg'): sys.modules[name] = None\n"
        "from langchain_kronvex.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )

    def run(*arguments: str, given: bytes = b"") -> bytes:
        command = [sys.executable, "-W", "error", "-c", code, *arguments, "-"]
        done = subprocess.run(command, input=given, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("import", "--url", other_url, given=run("export", "--url", store_url))
    with KronvexMemory(other_url) as other:
        assert records(other) == records(full)


def test_the_summary_is_public() -> None:
    assert MoveSummary(memories=1, messages=0, items=0, stored=1).stored == 1
