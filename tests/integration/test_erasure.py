"""What was forgotten is gone: from every file of the store, byte for byte, and from every recall.

Nothing of other users may be harmed by it. Each text, id and vector is unique here, so that any
byte left behind would be recognised.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from langchain_kronvex import (
    ErasurePending,
    KronvexMemory,
    MemoryDraft,
    Retention,
    StoreBusy,
    with_memory,
)

from .crew import Crew
from .parts import files_with, parrot

OpenMemory = Callable[..., KronvexMemory]
pytestmark = pytest.mark.usefixtures("small_snapshots")


class Fingerprints(Embeddings):
    """Deterministic embeddings in which every text has a vector that no other has."""

    model = "fingerprints"

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return np.random.default_rng(list(text.encode())).normal(size=24).tolist()

    def stored(self, text: str) -> bytes:
        """The vector as the store keeps it: unit length, 16-bit floats."""
        vector = np.asarray(self.embed_query(text), np.float32)
        return (vector / np.linalg.norm(vector)).astype("<f2").tobytes()


@dataclass
class Life:
    """One user's doings in a memory, at random; remembers every word ever used."""

    memory: KronvexMemory
    user_id: str
    luck: random.Random
    words: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def word(self) -> str:
        """A word that stands nowhere else in the world."""
        self.words.append(f"w{self.luck.getrandbits(64):016x}")
        return self.words[-1]

    def text(self) -> str:
        parts = self.luck.choice([1, 2, 5, 40, 300])
        self.texts.append(" ".join(self.word() for _ in range(parts)))
        return self.texts[-1]

    def live(self, steps: int) -> None:
        doings = [
            self.remember, self.remember, self.repeat, self.remember_many, self.change,
            self.exchange, self.chat, self.turn, self.recall, self.drop, self.correct,
            self.supersede,
        ]  # fmt: skip
        for _ in range(steps):
            self.luck.choice(doings)()

    def session(self) -> str:
        return f"{self.user_id}-session-{self.luck.randint(0, 2)}"

    def remember(self) -> None:
        self.memory.remember(
            self.text(), user_id=self.user_id, metadata={self.word(): [self.word()]}
        )

    def repeat(self) -> None:
        text = self.text()
        for _ in range(3):
            self.memory.remember(text, user_id=self.user_id, metadata={self.word(): 1})

    def remember_many(self) -> None:
        self.memory.remember_many(
            MemoryDraft(self.text(), user_id=self.user_id, session_id=self.session(), ttl_days=d)
            for d in (1, 2, 3)
        )

    def change(self) -> None:
        for each in self.memory.memories(user_id=self.user_id, limit=3):
            self.memory.update(each.id, metadata={"now": self.word()}, ttl_days=5)

    def correct(self) -> None:
        for each in self.memory.memories(user_id=self.user_id, limit=1):
            self.memory.update(each.id, content=self.text())

    def supersede(self) -> None:
        for each in self.memory.memories(user_id=self.user_id, limit=1):
            self.memory.remember(self.text(), user_id=self.user_id, supersedes=each.id)

    def exchange(self) -> None:
        self.memory.save_exchange(self.text(), self.text(), user_id=self.user_id)

    def chat(self) -> None:
        history = self.memory.chat_history(self.session(), self.user_id)
        history.add_messages([HumanMessage(self.text(), id=self.word()), AIMessage(self.text())])

    def turn(self) -> None:
        config: Any = {"configurable": {"user_id": self.user_id, "session_id": self.session()}}
        with_memory(parrot(), self.memory).invoke({"input": self.text()}, config)

    def recall(self) -> None:
        if self.words:
            query = self.luck.choice(self.words)
            self.memory.recall(query, user_id=self.user_id, include_shared=True)

    def drop(self) -> None:
        for each in self.memory.memories(user_id=self.user_id, limit=1, offset=2):
            self.memory.forget(id=each.id)

    def needles(self) -> list[str | bytes]:
        vectors = [Fingerprints().stored(text) for text in self.texts]
        return [self.user_id, *self.words, *vectors]

    def everything(self) -> tuple[object, ...]:
        """All that is stored of this user, for comparison."""
        found = self.memory.memories(user_id=self.user_id, limit=100_000, include_superseded=True)
        stored = [(m.id, m.content, m.metadata, m.access_count, m.expires_at) for m in found]
        sessions = {s.session_id for s in self.memory.sessions(user_id=self.user_id)}
        said: dict[str | None, list[BaseMessage]] = {
            name: self.memory.load_messages(name, user_id=self.user_id)
            for name in sorted(filter(None, sessions))
        }
        return stored, said


def _lives(memory: KronvexMemory, luck: random.Random, count: int) -> list[Life]:
    return [Life(memory, f"u{luck.getrandbits(64):016x}", luck) for _ in range(count)]


def _seeds(quick: Iterable[int], soak: Iterable[int]) -> list[Any]:
    return [*quick, *(pytest.param(seed, marks=pytest.mark.soak) for seed in soak)]


@pytest.mark.slow
def test_the_search_for_leftovers_finds_stored_text(store_url: str, tmp_path: Path) -> None:
    with KronvexMemory(store_url, embeddings=Fingerprints()) as memory:
        life = Life(memory, "somebody", random.Random(0))
        for _ in range(5):
            life.remember()
        memory.flush()
        assert {n for n in life.needles() if files_with(tmp_path, n)} == {*life.needles()}


def test_no_byte_of_a_corrected_text_is_left(open_memory: OpenMemory, tmp_path: Path) -> None:
    memory, other = (open_memory(embeddings=Fingerprints()) for _ in range(2))
    life = Life(memory, "ana", random.Random(1))
    kept = [memory.remember(life.text(), user_id="ana") for _ in range(20)]
    wrong, said = kept[7], memory.remember("It is " + life.text(), user_id="ana", session_id="s")
    memory.flush()
    other.recall(life.words[0], user_id="ana")
    for stored in (wrong, said):
        former = stored.content.removeprefix("It is ")
        memory.update(stored.id, content=life.text())
        needles = [*former.split(), Fingerprints().stored(stored.content)]
        assert files_with(tmp_path, *needles) == []
    memory.flush()
    assert memory.stats().unembedded == 0
    assert len(memory.memories(user_id="ana", limit=100)) == 21


@pytest.mark.parametrize("asked", [True, False])
def test_no_byte_of_an_expired_memory_is_left(
    open_memory: OpenMemory, tmp_path: Path, asked: bool
) -> None:
    with open_memory(embeddings=Fingerprints()) as memory:
        old, new = (Life(memory, "ana", random.Random(seed)) for seed in (1, 2))
        for life in (old, new):
            memory.save_exchange(life.text(), life.text(), user_id="ana")
            for _ in range(6):
                life.remember()
        memory.recall(old.texts[3], user_id="ana", top_k=20)
        memory.flush()
        kept = {m.id for m in memory.memories(user_id="ana", limit=7)}
    # At opening it happens in the background.
    memory = open_memory(embeddings=Fingerprints(), retention=Retention(max_memories=7))
    if asked:
        memory.expire()  # unless it has happened already
    assert memory.flush(20)
    assert files_with(tmp_path, *(n for n in old.needles() if n != "ana")) == []
    assert {m.id for m in memory.memories(user_id="ana")} == kept


@pytest.mark.slow
@pytest.mark.parametrize("seed", _seeds(range(2), range(2, 40)))
def test_nothing_of_a_forgotten_user_is_left_in_any_file(
    open_memory: OpenMemory, tmp_path: Path, seed: int
) -> None:
    luck = random.Random(seed)
    memory = open_memory(embeddings=Fingerprints())
    lives = _lives(memory, luck, 6)
    for _ in range(3):
        for life in lives:
            life.live(12)
    while lives:
        life = lives.pop(luck.randrange(len(lives)))
        if luck.random() < 0.7:
            memory.flush()
        before = [other.everything() for other in lives] if memory.flush() else []
        assert memory.forget(user_id=life.user_id) > 0
        assert files_with(tmp_path, *life.needles()) == []
        assert [other.everything() for other in lives] == before
        assert memory.memories(user_id=life.user_id) == []
        assert memory.recall(life.words[0], user_id=life.user_id) == []
        assert memory.sessions(user_id=life.user_id) == []
        for other in lives:
            other.live(5)
            if other.texts:
                memory.recall(other.texts[0], user_id=other.user_id)
        assert files_with(tmp_path, *life.needles()) == []
    stats = memory.stats()
    assert (stats.failed, stats.last_error) == (0, None)
    assert (stats.memories, stats.messages, stats.users) == (0, 0, 0)


@pytest.mark.parametrize("seed", _seeds(range(2), range(2, 20)))
def test_nothing_is_left_while_others_hold_the_store_open(
    crew: Crew, store_url: str, open_memory: OpenMemory, tmp_path: Path, seed: int
) -> None:
    luck = random.Random(seed)
    memory, second = (open_memory(embeddings=Fingerprints()) for _ in range(2))
    process = crew.start("remote", url=store_url, embeddings=False)
    process.hear()
    lives = _lives(memory, luck, 4)
    for life in lives:
        life.live(25)
        Life(second, life.user_id, luck, life.words, life.texts).live(10)
    memory.flush()
    second.flush()
    for life in lives[:3]:
        text = life.texts[0]
        memory.remember(text, user_id=life.user_id)
        ask = {"do": "recall", "query": text, "user_id": life.user_id}
        process.say(ask)
        assert text in process.hear()
        assert second.recall(text, user_id=life.user_id)
        others = lives[lives.index(life) + 1 :]
        memory.flush()
        second.flush()
        before = [other.everything() for other in others]
        memory.forget(user_id=life.user_id)
        assert files_with(tmp_path, *life.needles()) == []
        process.say(ask)
        assert process.hear() == []
        assert second.recall(text, user_id=life.user_id) == []
        assert second.memories(user_id=life.user_id) == []
        assert [other.everything() for other in others] == before
    second.close()
    process.say({"do": "stop"})
    process.finish()
    for life in lives[:3]:
        assert files_with(tmp_path, *life.needles()) == []


@pytest.mark.slow
def test_processes_that_forget_at_the_same_moment_both_erase(
    crew: Crew, store_url: str, open_memory: OpenMemory, tmp_path: Path
) -> None:
    luck = random.Random(5)
    memory = open_memory()
    lives = _lives(memory, luck, 61)
    for life in lives:
        life.remember()
        life.chat()
    survivor = lives.pop()
    shares = [lives[n::3] for n in range(3)]
    children = [
        crew.start("forget_many", url=store_url, users=[life.user_id for life in share])
        for share in shares
    ]
    before = survivor.everything()
    for together in zip(*shares, strict=True):
        assert [child.hear() for child in children] == ["ready"] * 3
        for child in children:
            child.say("now")
        assert [child.hear() for child in children] == [4] * 3
        for life in together:
            assert files_with(tmp_path, *life.needles()) == []
    assert survivor.everything() == before


def test_one_forgotten_memory_leaves_nothing(open_memory: OpenMemory, tmp_path: Path) -> None:
    memory = open_memory(embeddings=Fingerprints())
    lives = _lives(memory, random.Random(6), 3)
    for life in lives:
        life.live(20)
    lone = Life(memory, lives[0].user_id, random.Random(60))
    lone.repeat()
    memory.flush()
    memory.recall(lone.texts[0], user_id=lone.user_id)
    [each] = [m for m in memory.memories(user_id=lone.user_id) if m.content == lone.texts[0]]
    kept = len(memory.memories(user_id=lone.user_id, limit=1000)) - 1
    assert memory.forget(id=each.id) == 1
    assert files_with(tmp_path, *lone.needles()[1:]) == []
    assert memory.get(each.id) is None
    assert memory.forget(id=each.id) == 0
    assert len(memory.memories(user_id=lone.user_id, limit=1000)) == kept


def test_a_forgotten_session_leaves_nothing_but_the_users_other_sessions(
    open_memory: OpenMemory, tmp_path: Path
) -> None:
    memory = open_memory(embeddings=Fingerprints())
    life = Life(memory, "ana", random.Random(7))
    said = {name: Life(memory, "ana", random.Random(name)) for name in ("monday", "tuesday")}
    life.live(10)
    for name, each in said.items():
        memory.remember(each.text(), user_id="ana", session_id=name)
        memory.chat_history(name, "ana").add_messages(
            [HumanMessage(each.text()), AIMessage(each.text())]
        )
    memory.flush()
    assert memory.forget(user_id="ana", session_id="monday") == 4
    assert files_with(tmp_path, "monday", *said["monday"].needles()[1:]) == []
    assert len(memory.chat_history("tuesday", "ana").messages) == 2
    assert memory.recall(said["tuesday"].words[0], user_id="ana", session_id="tuesday")


def test_clear_leaves_nothing_of_this_agent_and_all_of_others(
    open_memory: OpenMemory, tmp_path: Path
) -> None:
    luck = random.Random(8)
    mine = open_memory(agent_id="agent-mine", embeddings=Fingerprints())
    other = open_memory(agent_id="agent-other")
    my_lives, [kept] = _lives(mine, luck, 3), _lives(other, luck, 1)
    for life in (*my_lives, kept):
        life.live(25)
    shared = Life(mine, "", luck)
    mine.remember(shared.text())
    mine.flush()
    other.flush()
    before = kept.everything()
    assert mine.clear() > 0
    needles = [needle for life in (*my_lives, shared) for needle in life.needles() if needle]
    assert files_with(tmp_path, *needles) == []
    assert kept.everything() == before
    assert mine.stats().users == 0
    assert mine.clear() == 0


def test_a_cleared_history_leaves_no_message(open_memory: OpenMemory, tmp_path: Path) -> None:
    memory = open_memory()
    life = Life(memory, "ana", random.Random(9))
    life.live(20)
    secret = Life(memory, "ana", random.Random(90))
    history = memory.chat_history("secret", "ana")
    history.remember = False
    for _ in range(20):
        history.add_messages(
            [HumanMessage(secret.text()), AIMessage(secret.text(), id=secret.word())]
        )
    memory.flush()
    before = life.everything()[0]
    history.clear()
    assert history.messages == []
    assert files_with(tmp_path, *secret.needles()[1:]) == []
    assert life.everything()[0] == before


def test_a_cleared_history_keeps_the_memories(memory: KronvexMemory, tmp_path: Path) -> None:
    history = memory.chat_history("chat", "ana")
    history.add_messages([HumanMessage("I prefer tea", id="idofmessage"), AIMessage("Noted")])
    history.clear()
    assert files_with(tmp_path, "idofmessage") == []
    assert [m.content for m in memory.recall("tea", user_id="ana")] == [
        "User: I prefer tea\nAssistant: Noted"
    ]


@pytest.mark.parametrize("purged", [False, True])
def test_a_user_whose_memories_have_expired_can_still_be_forgotten(
    open_memory: OpenMemory, tmp_path: Path, purged: bool
) -> None:
    now = [datetime(2026, 1, 1, tzinfo=timezone.utc)]
    memory = open_memory(clock=lambda: now[0])
    memory.remember("zebrastripes", user_id="gonzales", ttl_days=1, metadata={"x": "okapi"})
    memory.remember("stays", user_id="ana")
    now[0] += timedelta(days=2)
    if purged:
        memory = open_memory(clock=lambda: now[0])
    memory.forget(user_id="gonzales")
    assert files_with(tmp_path, "zebrastripes", "gonzales", "okapi") == []
    assert [m.content for m in memory.memories(user_id="ana")] == ["stays"]


@pytest.fixture
def reader(store_url: str) -> Iterator[Callable[[], sqlite3.Connection]]:
    """Opens a reader of another program that stays at the present state until it commits."""
    opened: list[sqlite3.Connection] = []

    def open_() -> sqlite3.Connection:
        opened.append(sqlite3.connect(store_url.removeprefix("sqlite:///"), isolation_level=None))
        opened[-1].execute("BEGIN")
        opened[-1].execute("SELECT count(*) FROM records").fetchall()
        return opened[-1]

    yield open_
    for connection in opened:
        connection.close()


Reader = Callable[[], sqlite3.Connection]
DOINGS: dict[str, Callable[[KronvexMemory, str], object]] = {
    "a user": lambda memory, id_: memory.forget(user_id="gonzales"),
    "a memory": lambda memory, id_: memory.forget(id=id_),
    "everything": lambda memory, id_: memory.clear(),
    "a history": lambda memory, id_: memory.chat_history("chat", "gonzales").clear(),
    "a message": lambda memory, id_: memory.chat_history("chat", "gonzales").delete("aardwolf"),
}


@pytest.mark.parametrize("doing", DOINGS.values(), ids=DOINGS)
def test_an_erasure_that_a_reader_delays_says_so_and_is_finished_in_the_background(
    open_memory: OpenMemory, tmp_path: Path, reader: Reader, doing: Any
) -> None:
    memory = open_memory(timeout_seconds=0.2)
    history = memory.chat_history("chat", "gonzales")
    question = HumanMessage("okapi", id="aardwolf", additional_kwargs={"mood": "numbat"})
    history.add_messages([question, AIMessage("gnu")])
    [kept] = memory.memories(user_id="gonzales")
    held = reader()
    with pytest.raises(ErasurePending, match=r"still in .*memory\.db .*in the background"):
        doing(memory, kept.id)
    assert "okapi" not in [message.text for message in history.messages]
    assert memory.stats().pending == 1
    assert not memory.flush(1.5)
    others = open_memory(timeout_seconds=5)
    started = time.monotonic()
    others.remember("others can write", user_id="ben")
    assert time.monotonic() - started < 2
    assert files_with(tmp_path, "numbat") != []
    held.execute("COMMIT")
    assert memory.flush(30)
    assert files_with(tmp_path, "numbat") == []
    stats = memory.stats()
    assert (stats.pending, stats.failed, stats.last_error) == (0, 0, None)


def test_the_log_does_not_grow_while_an_erasure_waits(
    open_memory: OpenMemory, tmp_path: Path, reader: Reader
) -> None:
    memory = open_memory(timeout_seconds=0.1)
    memory.remember_many(MemoryDraft(f"{n} " + "x" * 9000, user_id="ana") for n in range(50))
    memory.remember("zebrastripes", user_id="gonzales")
    reader()
    with pytest.raises(ErasurePending):
        memory.forget(user_id="gonzales")
    size = memory.stats().size_bytes
    assert not memory.flush(2)
    assert memory.stats().size_bytes == size


def test_a_store_opens_while_an_earlier_erasure_waits_and_finishes_it(
    open_memory: OpenMemory, tmp_path: Path, reader: Reader
) -> None:
    memory = open_memory(timeout_seconds=0.2)
    memory.remember("zebrastripes", user_id="gonzales")
    held = reader()
    with pytest.raises(StoreBusy, match="flush"):
        memory.forget(user_id="gonzales")
    memory.engine.writer.discard(lambda lane: True)  # as if the process had been killed
    started = time.monotonic()
    following = open_memory(timeout_seconds=30)
    assert time.monotonic() - started < 5
    assert following.recall("zebrastripes", user_id="gonzales") == []
    held.execute("COMMIT")
    assert following.flush(30)
    assert files_with(tmp_path, "zebrastripes", "gonzales") == []


@pytest.mark.parametrize("count", [1, 40])
def test_no_byte_of_the_messages_of_a_forgotten_memory_is_left(
    open_memory: OpenMemory, tmp_path: Path, count: int
) -> None:
    memory = open_memory()
    history = memory.chat_history("chat", "ana")
    call = {"name": "save", "args": {"pin": "wolverine"}, "id": "c1"}
    for number in range(count):
        history.add_messages([HumanMessage(f"hello {number} " + "x" * 500), AIMessage("hi")])
    history.add_messages(
        [
            HumanMessage("zebrastripes"),
            AIMessage("", tool_calls=[call]),
            ToolMessage("aardwolf", tool_call_id="c1"),
            AIMessage("okapi"),
        ]
    )
    [chosen] = [m for m in memory.memories(user_id="ana", limit=99) if "zebra" in m.content]
    assert memory.forget(id=chosen.id) == 1
    assert files_with(tmp_path, "zebrastripes", "wolverine", "aardwolf", "okapi") == []
    assert len(history.messages) == 2 * count + 4
