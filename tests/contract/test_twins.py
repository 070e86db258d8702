"""The async verbs do what the sync ones do: each hands its arguments to its own, in a thread."""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import AIMessage, HumanMessage

from contract.drivers import NOW, Clock, Driver
from langchain_kronvex import KronvexMemory, MemoryDraft, Retention

TRANSFERS = {"reindex", "export", "import_"}  # work in steps, which a cancelled task ends
TWINS = sorted(
    name for name in dir(KronvexMemory)
    if not name.startswith("_") and hasattr(KronvexMemory, f"a{name}")
)  # fmt: skip


@pytest.fixture
def memory() -> Iterator[KronvexMemory]:
    with KronvexMemory("sqlite://") as memory:
        yield memory


class Recorder:
    """Stands in for a verb: keeps the arguments by their names, and the thread."""

    def __init__(self, verb: str) -> None:
        self.result: Any = object() if verb != "close" else None
        self._signature = inspect.signature(getattr(KronvexMemory, verb))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.given = dict(self._signature.bind(None, *args, **kwargs).arguments)
        del self.given["self"]
        self.thread = threading.current_thread()
        return self.result


@pytest.mark.parametrize("verb", [twin for twin in TWINS if twin not in {"remember", *TRANSFERS}])
async def test_a_twin_hands_every_argument_to_its_verb_in_another_thread(
    memory: KronvexMemory, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(verb)
    given = {name: object() for name in inspect.signature(getattr(memory, verb)).parameters}
    with monkeypatch.context() as patch:
        patch.setattr(memory, verb, recorder)

        assert await getattr(memory, f"a{verb}")(**given) is recorder.result

    assert recorder.given == given
    assert recorder.thread is not threading.current_thread()


@pytest.mark.parametrize("verb", ["remember", "aremember"])
async def test_remembering_is_remembering_many_of_one(
    memory: KronvexMemory, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder("remember_many")
    recorder.result = [object()]
    given = {name: object() for name in inspect.signature(memory.remember).parameters}
    monkeypatch.setattr(memory, "remember_many", recorder)

    stored = getattr(memory, verb)(**given)

    assert (await stored if verb == "aremember" else stored) is recorder.result[0]
    assert recorder.given == {"drafts": [MemoryDraft(**given)]}


@pytest.mark.parametrize(
    ("verb", "work"), [("reindex", "Reindexing"), ("export", "Export"), ("import_", "Import")]
)
async def test_work_in_steps_is_given_the_same_arguments(
    memory: KronvexMemory, verb: str, work: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[Any, ...]] = []

    class Work:
        def __init__(self, *arguments: Any) -> None:
            made.append(arguments)

        def complete(self) -> Any:
            return made, threading.current_thread()

    monkeypatch.setattr(f"langchain_kronvex.memory.memory.{work}", Work)
    given = {name: object() for name in inspect.signature(getattr(memory, verb)).parameters}

    _, here = getattr(memory, verb)(**given)
    _, elsewhere = await getattr(memory, f"a{verb}")(**given)

    assert made[0] == made[1]
    assert {*given.values()} <= {*made[0]}
    assert elsewhere is not here


def story(memory: Driver, clock: Clock, file: Path) -> list[Any]:
    """Call every verb; return what each returned."""
    told: list[Any] = []

    def tell(result: Any) -> Any:
        told.append(result)
        return result

    ana = {"user_id": "ana", "session_id": "monday"}
    tea = tell(memory.remember("Ana drinks tea.", **ana, metadata={"n": 1}, ttl_days=9))
    tell(memory.remember_many([MemoryDraft("Ana lives in Porto.", user_id="ana")]))
    clock.advance(days=1)
    moved = tell(memory.remember("Ana lives in Braga.", user_id="ana", supersedes=told[-1][0].id))
    tell(memory.save_exchange("Where is the ladder?", "In the shed.", **ana))
    tell(memory.save_messages([HumanMessage("Tea?"), AIMessage("Yes.")], "friday", user_id="ana"))
    tell(memory.load_messages("friday", user_id="ana", max_messages=2))
    tell(memory.recall("What does Ana drink?", **ana, top_k=2, order_by="similarity"))
    tell(memory.flush(30))  # the accesses are stored
    tell(memory.explain("tea", tea.id, user_id="ana"))
    tell(memory.inject_context("Where does she live?", user_id="ana", top_k=1))
    tell(memory.profile("ana", max_tokens=50))
    tell(memory.flush(30))
    tell(memory.update(tea.id, pinned=True, content="Ana drinks green tea."))
    tell(memory.memories(user_id="ana", limit=2, offset=1, since=NOW))
    tell(memory.get(tea.id))
    tell(memory.history(moved.id))
    tell(memory.restore(told[1][0].id))
    tell(memory.flush(30))
    tell(memory.reindex(DeterministicFakeEmbedding(size=8)))
    tell(memory.sessions(user_id="ana"))
    tell(memory.users())
    tell(memory.expire(dry_run=True))
    tell(memory.export(file, user_id="ana"))
    tell(memory.clear_messages("friday", user_id="ana"))
    tell(memory.forget(**ana))
    tell(memory.import_(file, progress=False))
    tell(memory.clear())
    tell(memory.flush(30))
    tell(replace(memory.stats(), location="", size_bytes=0))
    tell(memory.close())
    return told


def test_both_colours_return_the_same(tmp_path: Path) -> None:
    told = {}
    for colour in ("sync", "async"):
        folder = tmp_path / colour
        folder.mkdir()
        clock, retention = Clock(), Retention(max_memories=99)
        opened = KronvexMemory(f"sqlite:///{folder}/memory.db", clock=clock, retention=retention)
        memory = Driver(opened, colour)
        told[colour] = story(memory, clock, folder / "moved.jsonl")
        memory.end()
    assert plain(told["async"]) == plain(told["sync"])


def plain(told: list[Any]) -> list[str]:
    """Return what was returned, with numbers in place of ids."""
    numbers: dict[str, str] = {}
    id_ = r"\b[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}\b"
    return [
        re.sub(id_, lambda found: numbers.setdefault(found[0], str(len(numbers))), repr(each))
        for each in told
    ]
