"""Isolation: with any operations under any ids, no memory reaches another user or is lost."""

from __future__ import annotations

import tempfile
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from langchain_core.messages import AIMessage, HumanMessage

from contract.conftest import BACKENDS
from contract.drivers import Backend, Clock, Driver
from langchain_kronvex import InvalidInput, KronvexMemory, MemoryDraft

# Ids that a careless store would take for each other, or for part of a command.
GOOD_IDS = [
    "ana", "Ana", "ANA", " ana", "ana ", "ana\n", "an_", "an%", "%", "_", "*", "a\tna",
    "аna",  # a Cyrillic first letter
    "ａｎａ",  # full-width
    "ana\u200b", "\u200b",
    unicodedata.normalize("NFC", "josé"), unicodedata.normalize("NFD", "josé"),
    "john_doe", "john-doe", "john doe", "johnXdoe",
    "'", '"', "'; DROP TABLE records; --", "\\", "\\'", "a\nb", "{}", "[]", "null", "None", "0",
    "ß", "ss", "İ", "i̇", "ı", "😀", "👩‍👩‍👧", "x" * 255, "x" * 254, "x" * 254 + "y",
    "default", "session ana", "type episodic", "../ana", "ana/s1", "ana:s1", "s1",
]  # fmt: skip
BAD_IDS = ["", " ", "\n\t", "\u2003", "a\0b", "\0", "x" * 256, "x" * 10_000, "a\ud800", "\udfff"]
SHARED_TEXTS = ["The code is zebra.", "I am allergic to zebra?", "zebra"]
TYPES = ["episodic", "semantic", "preference"]
ALL = 10**6

Ids = tuple[str | None, str | None]
one_id = st.sampled_from(GOOD_IDS)
# Few ids often, so that scopes meet; all the others sometimes.
often = st.one_of(st.sampled_from(GOOD_IDS[:6]), one_id)
scopes = st.tuples(st.none() | often, st.none() | often)


@dataclass
class Known:
    """A memory as the model knows it."""

    content: str
    memory_type: str
    ids: Ids
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> tuple[str, str | None, str, str]:
        return (owner(self.ids), self.ids[1], self.memory_type, self.content)


def owner(ids: Ids) -> str:
    """Return the owner: the user, else the user named like the session, else the agent."""
    user_id, session_id = ids
    return user_id if user_id is not None else session_id if session_id is not None else ""


def reaches(reading: Ids, written: Ids) -> bool:
    if owner(reading) != owner(written):
        return False
    user_id, session_id = reading
    return user_id is None or session_id is None or session_id == written[1]


def named(ids: Ids) -> dict[str, str | None]:
    return {"user_id": ids[0], "session_id": ids[1]}


def texts_of(expected: dict[str, Known]) -> set[str]:
    return {known.content for known in expected.values()}


class Isolation(RuleBasedStateMachine):
    """A memory next to a plain model of what it should hold."""

    backend: Backend = BACKENDS[0]

    @initialize(colour=st.sampled_from(["sync", "sync", "sync", "async"]))
    def open(self, colour: str) -> None:
        self.folder = tempfile.TemporaryDirectory()
        url = self.backend.url(Path(self.folder.name))
        self.memory = Driver(KronvexMemory(url, clock=Clock()), colour)
        self.known: dict[str, Known] = {}
        self.messages: dict[tuple[str, str], list[str]] = {}
        self.gone: set[str] = set()
        self.count = 0

    def teardown(self) -> None:
        if hasattr(self, "memory"):
            self.memory.end()
            self.folder.cleanup()

    def new_text(self, ids: Ids) -> str:
        self.count += 1
        return f"zebra number {self.count} of {ids!r}"

    def visible(self, reading: Ids) -> dict[str, Known]:
        return {id_: known for id_, known in self.known.items() if reaches(reading, known.ids)}

    def check(self, found: Any, expected: dict[str, Known]) -> None:
        assert {m.id for m in found} == set(expected)
        assert len(found) == len(expected)
        for m in found:
            known = expected[m.id]
            assert m.content == known.content
            assert m.memory_type == known.memory_type
            assert (m.user_id, m.session_id) == known.ids
            assert m.metadata == known.metadata

    def check_each_text_once(self, found: Any, expected: dict[str, Known]) -> None:
        """Check a recall: the same words, said in several sessions or as several types."""
        shown = {m.id for m in found}
        self.check(found, {id_: k for id_, k in expected.items() if id_ in shown})
        assert sorted(m.content for m in found) == sorted(texts_of(expected))

    def keep(self, stored: Any, told: Known) -> None:
        """Take in what a write returned, which may be an older memory renewed."""
        same = [id_ for id_, known in self.known.items() if known.place == told.place]
        assert stored.deduplicated == bool(same)
        if same:
            assert stored.id == same[0]
            self.known[stored.id].metadata.update(told.metadata)
        else:
            assert stored.id not in self.known
            assert stored.id not in self.gone
            self.known[stored.id] = told

    # -- writing -----------------------------------------------------------------------------

    @rule(ids=scopes, memory_type=st.sampled_from(TYPES))
    def remember(self, ids: Ids, memory_type: str) -> None:
        text = self.new_text(ids)
        stored = self.memory.remember(text, memory_type=memory_type, **named(ids))
        self.keep(stored, Known(text, memory_type, ids))

    @rule(ids=scopes, text=st.sampled_from(SHARED_TEXTS), memory_type=st.sampled_from(TYPES[:2]))
    def remember_what_others_may_have_said(self, ids: Ids, text: str, memory_type: str) -> None:
        metadata = {f"n{self.count % 3}": repr(ids)}
        stored = self.memory.remember(
            text, memory_type=memory_type, metadata=metadata, **named(ids)
        )
        self.keep(stored, Known(text, memory_type, ids, metadata))

    @rule(many=st.lists(scopes, max_size=4))
    def remember_many(self, many: list[Ids]) -> None:
        texts = [self.new_text(ids) for ids in many]
        drafts = [
            MemoryDraft(content=text, **named(ids)) for text, ids in zip(texts, many, strict=True)
        ]
        stored = self.memory.remember_many(drafts)
        for told, text, ids in zip(stored, texts, many, strict=True):
            self.keep(told, Known(text, "episodic", ids))

    @rule(ids=scopes)
    def save_exchange(self, ids: Ids) -> None:
        text = self.new_text(ids)
        (stored,) = self.memory.save_exchange(text, "noted", **named(ids))
        self.keep(stored, Known(f"User: {text}\nAssistant: noted", "episodic", ids))

    @rule(user_id=st.none() | often, session_id=often, remember=st.booleans())
    def save_messages(self, user_id: str | None, session_id: str, remember: bool) -> None:
        ids = (user_id, session_id)
        text = self.new_text(ids)
        stored = self.memory.save_messages(
            [HumanMessage(text), AIMessage("noted")],
            session_id,
            user_id=user_id,
            remember=remember,
        )
        self.messages.setdefault((owner(ids), session_id), []).extend([text, "noted"])
        assert (stored is not None) == remember
        if stored:
            self.known[stored] = Known(f"User: {text}\nAssistant: noted", "episodic", ids)

    @precondition(lambda self: self.known)
    @rule(data=st.data(), n=st.integers(0, 3))
    def update(self, data: st.DataObject, n: int) -> None:
        id_ = data.draw(st.sampled_from(list(self.known)), "id")
        changed = self.memory.update(id_, metadata={"n": n}, pinned=bool(n % 2))
        self.known[id_].metadata = {"n": n}
        self.check([changed], {id_: self.known[id_]})

    # -- erasing -----------------------------------------------------------------------------

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def forget_one(self, data: st.DataObject) -> None:
        id_ = data.draw(st.sampled_from(list(self.known)), "id")
        other = data.draw(scopes, "other ids")
        if any(other) and not reaches(other, self.known[id_].ids):
            assert self.memory.forget(id=id_, **named(other)) == 0
            assert self.memory.get(id_) is not None
        assert self.memory.forget(id=id_) == 1
        known = self.known.pop(id_)
        said = self.messages.get((owner(known.ids), str(known.ids[1])), [])
        for place in range(0, len(said), 2):
            if known.content == f"User: {said[place]}\nAssistant: {said[place + 1]}":
                said[place : place + 2] = ["[forgotten]"] * 2
        self.gone.add(id_)

    @rule(ids=scopes)
    def forget_scope(self, ids: Ids) -> None:
        if not any(ids):
            with pytest.raises(InvalidInput):
                self.memory.forget(**named(ids))
            return
        gone = self.visible(ids)
        conversations = [key for key in self.messages if reaches(ids, key)]
        messages = sum(len(self.messages.pop(key)) for key in conversations)
        assert self.memory.forget(**named(ids)) == len(gone) + messages
        for id_ in gone:
            del self.known[id_]
        self.gone |= set(gone)

    @precondition(lambda self: self.messages)
    @rule(data=st.data())
    def clear_messages(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.messages)), "conversation")
        count = len(self.messages.pop(key))
        assert self.memory.clear_messages(key[1], user_id=key[0]) == count

    # -- reading -----------------------------------------------------------------------------

    @rule(ids=scopes, shared=st.booleans(), memory_type=st.sampled_from([None, *TYPES]))
    def recall(self, ids: Ids, shared: bool, memory_type: str | None) -> None:
        expected = self.visible(ids) | (self.visible((None, None)) if shared else {})
        expected = {
            id_: known
            for id_, known in expected.items()
            if memory_type in (None, known.memory_type)
        }
        options = {"memory_type": memory_type, "include_shared": shared, **named(ids)}
        found = self.memory.recall("number zebra?", top_k=ALL, **options)
        self.check_each_text_once(found, expected)
        self.check(self.memory.memories(limit=ALL, **options), expected)
        best = self.memory.recall("zebra", top_k=2, **options)
        assert len(best) == min(2, len(texts_of(expected)))

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def recall_as_it_was_written(self, data: st.DataObject) -> None:
        id_ = data.draw(st.sampled_from(list(self.known)), "id")
        ids = self.known[id_].ids
        found = self.memory.recall("number zebra?", top_k=ALL, **named(ids))
        self.check_each_text_once(found, self.visible(ids))

    @rule(ids=scopes)
    def inject_context(self, ids: Ids) -> None:
        context = self.memory.inject_context("zebra", top_k=ALL, **named(ids))
        self.check_each_text_once(context.memories, self.visible(ids))
        assert len(context.context.splitlines()) == len(texts_of(self.visible(ids)))

    @rule(user_id=st.none() | often, session_id=often)
    def load_messages(self, user_id: str | None, session_id: str) -> None:
        loaded = self.memory.load_messages(session_id, user_id=user_id)
        key = (owner((user_id, session_id)), session_id)
        assert [m.content for m in loaded] == self.messages.get(key, [])

    @rule(user_id=st.none() | often)
    def sessions(self, user_id: str | None) -> None:
        found = self.memory.sessions(user_id=user_id)
        memories: dict[tuple[str, str | None], int] = {}
        for known in self.known.values():
            key = (owner(known.ids), known.ids[1])
            memories[key] = memories.get(key, 0) + 1
        told: dict[tuple[str, str | None], tuple[int, int]] = {}
        for summary in found:
            key = (owner((summary.user_id, summary.session_id)), summary.session_id)
            so_far = told.get(key, (0, 0))
            told[key] = (so_far[0] + summary.memories, so_far[1] + summary.messages)
        expected = {
            key: (memories.get(key, 0), len(self.messages.get(key, [])))
            for key in {*memories, *self.messages}
            if user_id is None or key[0] == user_id
        }
        assert told == expected

    @rule(
        verb=st.sampled_from(
            ["remember", "save_exchange", "recall", "inject_context", "memories", "forget"]
        ),
        bad=st.sampled_from(BAD_IDS),
        good=st.none() | often,
        as_user=st.booleans(),
    )
    def an_id_that_does_not_fit(self, verb: str, bad: str, good: str | None, as_user: bool) -> None:
        ids = (bad, good) if as_user else (good, bad)
        arguments = {"save_exchange": ["a", "b"], "memories": [], "forget": []}
        with pytest.raises(InvalidInput) as caught:
            getattr(self.memory, verb)(*arguments.get(verb, ["zebra"]), **named(ids))
        assert isinstance(caught.value, ValueError)
        with pytest.raises(InvalidInput):
            self.memory.save_messages([HumanMessage("zebra")], ids[1] or bad, user_id=ids[0])

    @invariant()
    def nothing_is_lost_and_what_was_forgotten_is_gone(self) -> None:
        if not hasattr(self, "memory"):
            return
        stats = self.memory.stats()
        assert stats.memories == len(self.known)
        assert stats.messages == sum(map(len, self.messages.values()))
        assert stats.failed == 0
        for id_ in list(self.gone)[-1:]:  # over HTTP each is a reading of all memories
            assert self.memory.get(id_) is None


MODERATE = settings(
    max_examples=25,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
BRIEF = settings(MODERATE, max_examples=5, stateful_step_count=30)
LONG = settings(MODERATE, max_examples=200, stateful_step_count=120)
LONG_OVER_HTTP = settings(LONG, max_examples=60)  # each step asks for all memories


def _case(backend: Backend, name: str, chosen: settings) -> type:
    machine = type(f"{name}{backend.name}", (Isolation,), {"backend": backend})
    case = machine.TestCase
    case.settings = chosen
    case.__name__ = case.__qualname__ = f"Test{name}[{backend.name}]"
    return case


for _backend in BACKENDS:
    _words = _backend.name.title().replace("-", "")
    _chosen = MODERATE if _backend.name in ("sqlite-file", "postgres") else BRIEF
    globals()[f"TestIsolation{_words}"] = pytest.mark.slow(_case(_backend, "Isolation", _chosen))
    globals()[f"TestIsolationSoak{_words}"] = pytest.mark.soak(
        _case(_backend, "IsolationSoak", LONG_OVER_HTTP if _backend.name == "kronvex-api" else LONG)
    )
