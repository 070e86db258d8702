"""A forked child can use the memory its parent had opened, and so can the parent."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable

import pytest

from langchain_kronvex import KronvexMemory

from .crew import HERE, run_python
from .parts import HashedWords, long_text

OpenMemory = Callable[..., KronvexMemory]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

# Python says since 3.12 that forking a process with threads is risky. It is what servers do.
START = f"""
import faulthandler, json, os, signal, sys, threading, warnings
warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)
sys.path.insert(0, {str(HERE)!r})
from parts import HashedWords, parrot
from langchain_kronvex import KronvexMemory, with_memory

# A lock that nobody will ever release ends the process, which then says where it hung.
faulthandler.register(signal.SIGALRM, all_threads=True, chain=True)
CONFIG = {{"configurable": {{"user_id": "ana", "session_id": "chat"}}}}


def in_child(work, leave=os._exit):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            leave(status)
    return child


def wait(*children):
    for child in children:
        _, status = os.waitpid(child, 0)
        assert status == 0, status
"""


def _stored(memory: KronvexMemory) -> Counter[str]:
    return Counter(m.content for m in memory.memories(user_id="ana", limit=100_000))


def _script(body: str) -> str:
    return START + body


def test_parent_and_children_write_and_recall(store_url: str, open_memory: OpenMemory) -> None:
    script = """
memory = KronvexMemory(sys.argv[1], embeddings=HashedWords())
memory.remember("before the fork", user_id="ana")
memory.recall("fork", user_id="ana")


def work(number):
    assert [m.content for m in memory.recall("before", user_id="ana", top_k=1)]
    for turn in range(20):
        memory.remember(f"child{number} turn{turn}", user_id="ana")
        found = memory.recall(f"child{number} turn{turn}", user_id="ana", top_k=1000)
        assert f"child{number} turn{turn}" in [m.content for m in found]
    memory.close()


children = [in_child(lambda: work(number)) for number in range(4)]
for turn in range(20):
    memory.remember(f"parent turn{turn}", user_id="ana")
    assert memory.recall(f"parent turn{turn}", user_id="ana", top_k=1)
wait(*children)
found = memory.recall("child turn", user_id="ana", top_k=1000)
stats = memory.stats()
memory.close()
print(json.dumps([len(found), stats.failed]))
"""
    assert run_python(_script(script), store_url) == [101, 0]
    expected = ["before the fork", *(f"parent turn{n}" for n in range(20))]
    expected += [f"child{child} turn{n}" for child in range(4) for n in range(20)]
    assert _stored(open_memory(embeddings=HashedWords())) == Counter(expected)


def test_a_child_saves_its_own_turns(store_url: str, open_memory: OpenMemory) -> None:
    script = """
memory = KronvexMemory(sys.argv[1])
chain = with_memory(parrot(), memory)
chain.invoke({"input": "in the parent"}, CONFIG)


def work():
    assert chain.invoke({"input": "in the child"}, CONFIG) == "re in the child"
    assert memory.stats().degraded == 0
    assert memory.flush(10)


wait(in_child(work))
chain.invoke({"input": "in the parent again"}, CONFIG)
memory.close()
print(json.dumps("done"))
"""
    run_python(_script(script), store_url)
    messages = [m.text for m in open_memory().chat_history("chat", "ana").messages]
    lines = ["in the parent", "in the child", "in the parent again"]
    assert messages == [text for line in lines for text in (line, f"re {line}")]


@pytest.mark.slow
def test_a_child_that_does_not_use_the_memory_has_no_effect(
    store_url: str, open_memory: OpenMemory
) -> None:
    script = """
memory = KronvexMemory(sys.argv[1], embeddings=HashedWords())
for round_number in range(5):
    memory.remember(f"round{round_number}", user_id="ana")
    wait(in_child(lambda: None, leave=sys.exit))  # runs what is registered for the exit
    assert memory.recall(f"round{round_number}", user_id="ana", top_k=1)
print(json.dumps(sorted(m.content for m in memory.memories(user_id="ana"))))
"""
    rounds = [f"round{n}" for n in range(5)]
    assert run_python(_script(script), store_url) == rounds
    assert _stored(open_memory(embeddings=HashedWords())) == Counter(rounds)


def test_a_child_outlives_its_parents_memory(store_url: str, open_memory: OpenMemory) -> None:
    script = """
memory = KronvexMemory(sys.argv[1])
memory.remember("of the parent", user_id="ana")
to_child, to_parent = os.pipe(), os.pipe()


def work():
    memory.remember("of the child", user_id="ana")
    os.write(to_parent[1], b"x")
    os.read(to_child[0], 1)  # until the parent has closed
    memory.remember("of the child later", user_id="ana")
    assert len(memory.memories(user_id="ana")) == 3


child = in_child(work)
os.read(to_parent[0], 1)
memory.close()
os.write(to_child[1], b"x")
wait(child)
print(json.dumps("done"))
"""
    run_python(_script(script), store_url)
    expected = ["of the parent", "of the child", "of the child later"]
    assert _stored(open_memory()) == Counter(expected)


@pytest.mark.slow
def test_many_writes_of_parent_and_children_leave_a_sound_file(
    store_url: str, open_memory: OpenMemory
) -> None:
    """Enough of them that everybody moves the write-ahead log into the file several times."""
    script = """
from parts import long_text
memory = KronvexMemory(sys.argv[1])
memory.remember("first", user_id="ana")
memory.recall("first", user_id="ana")


def work(name):
    for turn in range(150):
        memory.remember(long_text(f"{name}turn{turn}"), user_id="ana")
        memory.memories(user_id="ana", limit=3)


children = [in_child(lambda: work(f"child{number}")) for number in range(3)]
work("parent")
wait(*children)
memory.close()
print(json.dumps("done"))
"""
    run_python(_script(script), store_url)
    expected = [
        long_text(f"{name}turn{turn}")
        for name in ("child0", "child1", "child2", "parent")
        for turn in range(150)
    ]
    memory = open_memory()
    assert _stored(memory) == Counter(["first", *expected])
    found = memory.recall("child1turn149", user_id="ana", top_k=1)
    assert [m.content for m in found] == [long_text("child1turn149")]
    connection = sqlite3.connect(store_url.removeprefix("sqlite:///"))
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        connection.close()


@pytest.mark.slow
def test_an_access_before_the_fork_is_counted_once(store_url: str, open_memory: OpenMemory) -> None:
    script = """
memory = KronvexMemory(sys.argv[1])
memory.remember("tea", user_id="ana")
memory.recall("tea", user_id="ana")  # counted in RAM, stored a little later


def work():
    memory.recall("tea", user_id="ana")
    memory.close()


wait(in_child(work))
memory.close()
print(json.dumps("done"))
"""
    run_python(_script(script), store_url)
    assert [m.access_count for m in open_memory().memories(user_id="ana")] == [2]


@pytest.mark.slow
def test_a_fork_in_the_middle_of_work_leaves_no_lock_behind(
    store_url: str, open_memory: OpenMemory
) -> None:
    script = """
memory = KronvexMemory(sys.argv[1], embeddings=HashedWords())
for number in range(300):
    memory.remember(f"number{number} and other words", user_id="ana")
stop = threading.Event()


def busy(number):
    turn = 0
    while not stop.is_set():
        memory.recall(f"number{turn % 300} words", user_id="ana")
        memory.remember(f"busy{number} turn{turn}", user_id=f"user{turn % 7}")
        turn += 1


threads = [threading.Thread(target=busy, args=(number,)) for number in range(4)]
for thread in threads:
    thread.start()


def work():
    signal.alarm(10)
    assert memory.recall("number7", user_id="ana", top_k=1)
    memory.remember(f"of child {os.getpid()}", user_id="ben")
    memory.memories(user_id="ana")
    assert memory.flush(10)


children = []
try:
    for _ in range(12):
        children.append(in_child(work))
        wait(children[-1])
finally:
    stop.set()
    for thread in threads:
        thread.join()
    memory.close()
print(json.dumps(children))
"""
    children = run_python(_script(script), store_url)
    memory = open_memory(embeddings=HashedWords())
    stored = [m.content for m in memory.memories(user_id="ben", limit=1000)]
    assert sorted(stored) == sorted(f"of child {pid}" for pid in children)


@pytest.mark.slow
def test_threads_can_fork_at_the_same_moment(store_url: str, open_memory: OpenMemory) -> None:
    script = """
memory = KronvexMemory(sys.argv[1])
second = KronvexMemory(sys.argv[1], agent_id="second")
memory.remember("before", user_id="ana")
signal.alarm(15)
barrier = threading.Barrier(4)
failures = []


def work(number, turn):
    signal.alarm(10)
    memory.remember(f"child{number} turn{turn}", user_id="ana")
    assert memory.recall("before", user_id="ana")


def fork(number):
    try:
        for turn in range(4):
            barrier.wait()
            child = in_child(lambda: work(number, turn))
            memory.remember(f"parent{number} turn{turn}", user_id="ana")
            second.remember(f"second{number} turn{turn}", user_id="ana")
            wait(child)
    except BaseException as error:
        failures.append(repr(error))
        barrier.abort()


threads = [threading.Thread(target=fork, args=(number,)) for number in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(second.memories(user_id="ana", limit=100)) == 16
memory.close()
second.close()
print(json.dumps(failures))
"""
    assert run_python(_script(script), store_url) == []
    expected = [
        f"{who}{n} turn{t}" for who in ("child", "parent") for n in range(4) for t in range(4)
    ]
    assert _stored(open_memory()) == Counter(["before", *expected])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "darwin", reason="fork without exec is not safe on macOS")
def test_a_memory_in_ram_is_copied_by_a_fork() -> None:
    script = """
memory = KronvexMemory("sqlite://")
memory.remember("before", user_id="ana")


def work():
    memory.remember("in the child", user_id="ana")
    assert len(memory.memories(user_id="ana")) == 2


wait(in_child(work))
memory.remember("in the parent", user_id="ana")
print(json.dumps(sorted(m.content for m in memory.memories(user_id="ana"))))
memory.close()
"""
    assert run_python(_script(script)) == ["before", "in the parent"]
