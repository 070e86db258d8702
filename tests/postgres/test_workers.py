"""Several workers on one database: one order, one clock, and every text embedded once."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from inside import ServerClock
from integration.crew import Child, Crew
from integration.parts import HashedWords
from langchain_kronvex import KronvexMemory

OpenMemory = Callable[..., KronvexMemory]
Sql = Callable[..., list[Any]]


def tell(children: list[Child], word: str) -> None:
    for child in children:
        child.say(word)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 8])
def test_workers_that_save_to_one_session_see_one_order(
    workers: int, store_url: str, open_memory: OpenMemory, crew: Crew
) -> None:
    rounds = 6
    here = open_memory()
    children = [
        crew.start("save_to_one_session", url=store_url, worker=n, rounds=rounds)
        for n in range(workers)
    ]
    for word in ("open", "saved"):
        assert [child.hear() for child in children] == [word] * workers
        tell(children, "go on")
    messages = [m.text for m in here.load_messages("room", user_id="everyone")]
    for child in children:
        assert child.hear() == messages
    tell(children, "go on")
    remembered = sorted(f"w{w} remembers {n}" for w in range(workers) for n in range(rounds))
    for child in children:
        assert child.hear() == remembered
        child.finish()

    expected = [f"w{w} n{n} {p}" for w in range(workers) for n in range(rounds) for p in "ab"]
    assert Counter(messages) == Counter(expected)
    for worker in range(workers):
        own = [text for text in messages if text.startswith(f"w{worker} ")]
        assert own == [text for text in expected if text.startswith(f"w{worker} ")]
    assert all(  # what was saved together stands together
        after == before.removesuffix("a") + "b"
        for before, after in zip(messages[::2], messages[1::2], strict=True)
    )


def test_workers_whose_clocks_are_wrong_go_by_the_servers(
    store_url: str, open_memory: OpenMemory, crew: Crew, sql: Sql
) -> None:
    open_memory()
    children = [
        crew.start("with_a_wrong_clock", url=store_url, hours=hours) for hours in (-7, 0, 9)
    ]
    ((there,),) = sql("SELECT extract(epoch FROM clock_timestamp())::float8")
    for child in children:
        assert abs(child.hear() - there) < 20
    names = sorted(f"wrong by {hours} h" for hours in (-7, 0, 9))
    tell(children, "look")
    for child in children:
        assert child.hear() == names  # to nobody has any of them expired
    sql("UPDATE langchain_kronvex.records SET expires = clock_timestamp() - interval '1 s'")
    for child in children:
        child.say("look")
        assert child.hear() == []  # to everybody all have
        child.finish()


def test_the_servers_clock_goes_on_when_the_machines_is_set(
    open_memory: OpenMemory, monkeypatch: pytest.MonkeyPatch, sql: Sql
) -> None:
    memory = open_memory()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 86_400)
    told = memory.remember("now", user_id="ana").created_at
    ((there,),) = sql("SELECT clock_timestamp()")
    assert abs((told - there).total_seconds()) < 5


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Tokyo"])
def test_times_are_those_of_utc_wherever_the_server_is(
    zone: str, open_memory: OpenMemory, sql: Sql
) -> None:
    (name,) = sql("SELECT current_database()")[0]
    sql(f"ALTER DATABASE {name} SET TimeZone = '{zone}'")
    memory = open_memory()
    stored = memory.remember("for two half-years", user_id="ana", ttl_days=180)
    assert stored.created_at.tzinfo is timezone.utc
    assert stored.expires_at - stored.created_at == timedelta(days=180)
    (found,) = memory.memories(user_id="ana")
    assert (found.created_at, found.expires_at) == (stored.created_at, stored.expires_at)


def test_the_clock_goes_on_evenly_when_summer_time_ends() -> None:
    elapsed = [0.0]
    told = datetime(2026, 10, 25, 2, 59, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    clock = ServerClock(lambda: told, lambda: elapsed[0])
    before = clock.now()
    elapsed[0] = 40.0
    assert before == told.astimezone(timezone.utc)
    assert clock.now().astimezone(timezone.utc) - before.astimezone(timezone.utc) == timedelta(
        seconds=40
    )


def test_nobody_waits_for_the_clock_of_a_server_that_is_slow() -> None:
    asked: list[int] = []

    def slow() -> datetime:
        asked.append(1)
        if len(asked) > 1:
            time.sleep(0.5)
            raise OSError
        return datetime.now(timezone.utc)

    elapsed = itertools.count(0, 1.0)
    clock = ServerClock(slow, lambda: next(elapsed))
    started = time.monotonic()
    times = [clock.now() for _ in range(100)]
    assert time.monotonic() - started < 0.3
    assert times == sorted(times)
    assert 2 <= len(asked) <= 5


# -- embedding in the background -----------------------------------------------------------------


def wait_until_embedded(sql: Sql, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    missing = "SELECT count(*) FROM langchain_kronvex.records WHERE vector IS NULL"
    while sql(missing) != [(0,)]:
        assert time.monotonic() < deadline, sql(missing)
        time.sleep(0.02)


@pytest.mark.slow
def test_no_text_is_embedded_twice_by_workers_that_live(
    store_url: str, crew: Crew, sql: Sql, tmp_path: Path
) -> None:
    file = tmp_path / "embedded.txt"
    children = [
        crew.start("embed", url=store_url, file=str(file), number=n, memories=75, seconds=0.15)
        for n in range(4)
    ]
    assert [child.hear() for child in children] == ["open"] * 4
    tell(children, "go")
    assert [child.hear() for child in children] == ["written"] * 4
    wait_until_embedded(sql)
    for child in children:
        child.say("end")
        child.finish()

    noted = Counter(file.read_text().splitlines())
    texts = [f"memory {number}-{each}" for number in range(4) for each in range(75)]
    assert {text: noted[text] for text in texts} == dict.fromkeys(texts, 1)
    assert sql("SELECT count(*) FROM langchain_kronvex.claims") == [(0,)]


@pytest.mark.slow
def test_another_worker_takes_over_from_one_that_was_killed(
    store_url: str, crew: Crew, sql: Sql, tmp_path: Path
) -> None:
    file = tmp_path / "embedded.txt"
    doomed = crew.start("embed_for_ever", url=store_url, claim_seconds=1.5, memories=5)
    assert doomed.hear() == "embedding"
    while sql("SELECT count(*) FROM langchain_kronvex.records") != [(5,)]:
        time.sleep(0.01)
    heir = crew.start("embed_for_a_moment", url=store_url, file=str(file), claim_seconds=1.5)
    assert heir.hear() == "open"
    doomed.kill()

    wait_until_embedded(sql, seconds=10)  # nobody writes any more
    heir.say("end")
    heir.finish()
    noted = Counter(file.read_text().splitlines())
    assert all(noted[f"left behind {n}"] == 1 for n in range(5))
    assert sql("SELECT count(*) FROM langchain_kronvex.claims") == [(0,)]


@pytest.mark.parametrize("look", ["recall", "stats"])
def test_a_worker_that_was_idle_takes_over_when_it_sees_what_is_left(
    look: str, store_url: str, crew: Crew, sql: Sql, tmp_path: Path
) -> None:
    file = tmp_path / "embedded.txt"
    heir = crew.start(
        "embed_once_told", url=store_url, file=str(file), claim_seconds=1.5, look=look
    )
    assert heir.hear() == "open"
    doomed = crew.start("embed_for_ever", url=store_url, claim_seconds=1.5, memories=5)
    assert doomed.hear() == "embedding"
    while sql("SELECT count(*) FROM langchain_kronvex.records") != [(5,)]:
        time.sleep(0.01)
    doomed.kill()
    heir.say("look")
    assert heir.hear() == 5
    wait_until_embedded(sql, seconds=15)  # nobody writes or recalls any more
    heir.say("end")
    heir.finish()
    noted = Counter(file.read_text().splitlines())
    assert all(noted[f"left behind {n}"] == 1 for n in range(5))
    assert sql("SELECT count(*) FROM langchain_kronvex.claims") == [(0,)]


@pytest.mark.slow
def test_a_worker_that_opens_while_others_have_claimed_all_takes_over_later(
    store_url: str, crew: Crew, sql: Sql, tmp_path: Path
) -> None:
    file = tmp_path / "embedded.txt"
    doomed = crew.start("embed_for_ever", url=store_url, claim_seconds=3, memories=1)
    assert doomed.hear() == "embedding"
    heir = crew.start("embed_for_a_moment", url=store_url, file=str(file), claim_seconds=1.5)
    assert heir.hear() == "open"
    doomed.kill()
    wait_until_embedded(sql, seconds=15)
    heir.say("end")
    heir.finish()
    assert "left behind 0" in file.read_text()


def test_a_memory_that_is_closed_leaves_no_claim(open_memory: OpenMemory, sql: Sql) -> None:
    class Refusing(HashedWords):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            if any("unfit" in text for text in texts):
                raise RuntimeError("unfit")
            return super().embed_documents(texts)

    memory = open_memory(embeddings=Refusing())
    memory.remember("unfit", user_id="ana")
    memory.flush(10)
    assert sql("SELECT count(*) FROM langchain_kronvex.claims") == [(1,)]
    memory.close()
    assert sql("SELECT count(*) FROM langchain_kronvex.claims") == [(0,)]
