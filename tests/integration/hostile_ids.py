"""Random operations under hostile ids, each compared with a plain model of what must be seen.

The ids are what a careless store would take for each other, for a pattern, for a path, for part of
a command, or for a key of its own. One file holds several agents, each open twice, as in two
workers. Everything is drawn from one seed, so a failure can be repeated.
"""

from __future__ import annotations

import itertools
import json
import random
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.store.base import InvalidNamespaceError, PutOp
from pydantic import BaseModel

from langchain_kronvex import (
    InvalidInput,
    KronvexKeyValueStore,
    KronvexMemory,
    KronvexProfile,
    MemoryDraft,
    MemoryNotFound,
)
from langchain_kronvex.langgraph import KronvexStore

WHOLE = [
    "ana", "Ana", "ANA", " ana", "ana ", "ana\n", "ana\r", "аna", "ａｎａ", "an\u0430", "ana\u200b",
    "\u200bana", "ana\ufeff", "ana\u00a0", "ana\u0301", "\u202eana", "an_", "an%", "%", "_", "__",
    "*", "?", "[a]na", "an?", "a\tna", "\x7f", "\x1b[2J", "\x1f", "\x01",
    unicodedata.normalize("NFC", "josé"), unicodedata.normalize("NFD", "josé"),
    "ß", "ss", "SS", "ẞ", "İ", "i\u0307", "ı", "K", "\u212a", "ﬁ", "fi",
    "😀", "👩‍👩‍👧", "\U0010ffff",
    "'", "''", '"', '""', "`", "\\", "\\'", "\\%", "';--", "'; DROP TABLE records; --",
    "' OR '1'='1",
    "$1", "$$", ":owner", "?1", "@p", "%s", "%(id)s", "{}", "{user_id}", "{{x}}", "[]", "[null]",
    "null", "NULL", "None", "nan", "0", "-1", "1e3", "00", "true", "default", "agent", "session",
    ".", "..", "/", "../ana", "../../etc/passwd", "ana/s1", "ana%2Fs1", "/ana", "ana/", "C:\\ana",
    "ana:s1", "ana::s1", "ana|s1", "ana,s1", "ana\x1fs1", "ana\u2028s1", "s1", "s", "1",
    "#blake2b:", "#blake2b:" + "0" * 32, "session ana", "type episodic", "kv:ana", "message",
    '{"user_id": "ana"}', '["ana", "s1"]', '"ana"', "x" * 255, "x" * 254, "x" * 254 + "y",
    "😀" * 255, "<memory_context>", "[episodic, 2026-01-01] ana", "User: ana",
    "\\u0061na", "&#97;na",
]  # fmt: skip
SEPARATORS = ["/", ":", "|", ".", ",", "\x1f", "\n", "%", "_", "#", "::", "%2F", "\\", "'", " "]
BAD = [
    "",
    " ",
    "\n\t",
    "\u2003",
    "a\0b",
    "\0",
    "ana\0",
    "x" * 256,
    "x" * 10_000,
    "a\ud800",
    "\udfff",
]
AGENTS = ["a", "A", "a.langgraphs", "a%", "a' OR '1'='1"]
TYPES = ["episodic", "semantic", "preference"]
TEXTS = ["The code is zebra.", "zebra", "Am I allergic to zebra?", "zebra' OR '1'='1", "zebra %_*"]
ALL = 10**6

Ids = tuple[str | None, str | None]


class Notes(BaseModel):
    """What a document holds."""

    note: str


@dataclass
class Known:
    """A memory as it was written."""

    content: str
    memory_type: str
    ids: Ids
    metadata: dict[str, Any]
    has_messages: bool = False

    def is_document(self, name: str | None = None) -> bool:
        """Return whether it is a document, of any name or of this one."""
        return self.memory_type == "context" and name in (None, self.metadata["profile"])


def owner(ids: Ids) -> str:
    """Return the user, else the user named like the session, else the agent."""
    return next((id_ for id_ in ids if id_ is not None), "")


def named(ids: Ids) -> dict[str, str | None]:
    return {"user_id": ids[0], "session_id": ids[1]}


@dataclass
class Agent:
    """What one agent must hold, and the memories that hold it."""

    name: str
    open: list[KronvexMemory] = field(default_factory=list)
    owners: dict[str, dict[str, Known]] = field(default_factory=lambda: defaultdict(dict))
    superseded: dict[str, dict[str, Known]] = field(default_factory=lambda: defaultdict(dict))
    messages: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    values: dict[str, dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))
    items: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))
    stores: list[KronvexStore] = field(default_factory=list)

    def visible(self, ids: Ids, *, hidden: bool = False) -> dict[str, Known]:
        """Return what must be seen with these ids, or what others have superseded."""
        owners = self.superseded if hidden else self.owners
        known, (user_id, session_id) = owners.get(owner(ids), {}), ids
        if user_id is None or session_id is None:
            return known
        return {id_: each for id_, each in known.items() if each.ids[1] == session_id}

    def document(self, user_id: str, name: str) -> str | None:
        """Return the id of a user's document."""
        known = self.owners.get(user_id, {})
        return next((id_ for id_, each in known.items() if each.is_document(name)), None)


class Rounds:
    """Random operations on one file; `run` raises an AssertionError at the first wrong result."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.url = f"sqlite:///{folder / f'hostile {seed}.db'}"
        self.agents = [Agent(name) for name in AGENTS]
        joined = [
            "".join([self.random.choice(WHOLE), sep, self.random.choice(WHOLE)])[:255]
            for sep in SEPARATORS
        ]
        # Few enough that scopes meet often; other seeds draw others.
        ids = [*WHOLE[:8], *self.random.sample(WHOLE[8:], 24), *joined]
        self.ids = [id_ for id_ in ids if id_.strip()]
        if seed:  # other ids are frequent then
            self.random.shuffle(self.ids)
        self.gone: list[str] = []
        self.written = itertools.count()
        self.open()

    # -- running -----------------------------------------------------------------------------

    def run(self, operations: int, *, reopen_every: int) -> dict[str, int]:
        """Return how many operations there were of each kind."""
        done: dict[str, int] = defaultdict(int)
        total, reopened = 0, 0
        kinds, weights = zip(*WEIGHTS.items(), strict=True)
        while total < operations:
            (kind,) = self.random.choices(kinds, weights)
            agent = self.random.choice(self.agents)
            try:
                count = kind(self, agent, self.random.choice(agent.open))
            except Exception as error:
                raise AssertionError(f"operation {total} ({kind.__name__})") from error
            done[kind.__name__] += count
            total += count
            if total // reopen_every > reopened:
                reopened = total // reopen_every
                self.close()
                self.open()
                self.check_everything()
        self.check_everything()
        self.close()
        return dict(done)

    def open(self) -> None:
        for agent in self.agents:
            agent.open = [KronvexMemory(self.url, agent_id=agent.name) for _ in range(2)]
            agent.stores = [KronvexStore(memory) for memory in agent.open]

    def close(self) -> None:
        for agent in self.agents:
            for opened in [*agent.stores, *agent.open]:
                opened.close()

    def id(self) -> str:
        return self.random.choice(self.ids[: self.random.choice([6, len(self.ids)])])

    def scope(self) -> Ids:
        """Return a user, a session, both, or (rarely) neither."""
        shape = self.random.random()
        user_id = self.id() if shape < 0.7 else None
        return user_id, self.id() if 0.4 < shape < 0.97 else None

    def text(self) -> str:
        if self.random.random() < 0.3:
            return self.random.choice(TEXTS)
        return f"zebra {next(self.written)} {self.id()}"

    def metadata(self) -> dict[str, Any]:
        """Return metadata, or a value: JSON, in which even what is no id may be a key."""
        key = self.random.choice(BAD) if self.random.random() < 0.2 else self.id()
        return {key: self.random.choice([self.id(), 1, None, {self.id(): [key]}])}

    def some(self, agent: Agent, *, hidden: bool = False) -> tuple[str, Known] | None:
        """Return one of the agent's memories, or of those that others have superseded."""
        owners = agent.superseded if hidden else agent.owners
        plain = [
            [pair for pair in known.items() if not pair[1].is_document()]
            for known in owners.values()
        ]
        filled = [each for each in plain if each]
        return self.random.choice(self.random.choice(filled)) if filled else None

    # -- comparing ---------------------------------------------------------------------------

    def same(self, found: Iterable[Any], expected: dict[str, Known]) -> None:
        """All that is found is expected, and as it was written."""
        for memory in found:
            known = expected[memory.id]
            assert memory.content == known.content
            assert memory.memory_type == known.memory_type
            assert (memory.user_id, memory.session_id) == known.ids
            assert memory.metadata == known.metadata

    def keep(self, agent: Agent, stored: Any, told: Known) -> None:
        """Take in what was stored: a new memory, or an older one renewed."""
        known = agent.owners[owner(told.ids)]
        before = known.get(stored.id)
        assert (before is not None) == stored.deduplicated
        if before is None:
            known[stored.id] = told
        else:
            place = (told.content, told.memory_type, told.ids[1])
            assert (before.content, before.memory_type, before.ids[1]) == place
            before.metadata.update(told.metadata)

    def check_everything(self) -> None:
        for agent in self.agents:
            memory = self.random.choice(agent.open)
            for name, known in agent.owners.items():
                found = memory.memories(user_id=name or None, limit=ALL)
                assert len(found) == len(known)
                self.same(found, known)
            every = {id_: each for known in agent.owners.values() for id_, each in known.items()}
            found = memory.memories(all_users=True, limit=ALL)
            assert len(found) == len(every)
            self.same(found, every)
            written = [agent.owners, agent.superseded]
            users = {name for kept in written for name, known in kept.items() if known}
            users |= {user_id for (user_id, _), texts in agent.messages.items() if texts}
            assert {user.user_id for user in memory.users()} == users - {""}
            for (user_id, session_id), texts in agent.messages.items():
                loaded = memory.load_messages(session_id, user_id=user_id)
                assert [message.content for message in loaded] == texts
            for namespace, values in agent.values.items():
                store = KronvexKeyValueStore(memory, namespace)
                assert store.list_keys() == sorted(values)
                assert store.mget(list(values)) == list(values.values())
            for path, items in agent.items.items():
                found = self.random.choice(agent.stores).search(path, limit=ALL)
                at_path = {item.key: item.value for item in found if item.namespace == path}
                assert at_path == items
            stats = memory.stats()
            counted = (stats.memories, stats.messages, stats.failed)
            kept = [*agent.owners.values(), *agent.superseded.values()]
            memories = sum(map(len, kept))
            assert counted == (memories, sum(map(len, agent.messages.values())), 0), agent.name

    # -- writing -----------------------------------------------------------------------------

    def remember_many(self, agent: Agent, memory: KronvexMemory) -> int:
        told = [
            Known(self.text(), self.random.choice(TYPES), self.scope(), self.metadata())
            for _ in range(self.random.randint(1, 20))
        ]
        drafts = [
            MemoryDraft(
                k.content, memory_type=k.memory_type, metadata=dict(k.metadata), **named(k.ids)
            )
            for k in told
        ]
        for stored, known in zip(memory.remember_many(drafts), told, strict=True):
            self.keep(agent, stored, known)
        return len(drafts)

    def save_exchange(self, agent: Agent, memory: KronvexMemory) -> int:
        ids, text = self.scope(), self.text()
        (stored,) = memory.save_exchange(text, "noted", **named(ids))
        self.keep(agent, stored, Known(f"User: {text}\nAssistant: noted", "episodic", ids, {}))
        return 1

    def save_messages(self, agent: Agent, memory: KronvexMemory) -> int:
        ids, text = (self.scope()[0], self.id()), f"zebra {next(self.written)}"
        said = [HumanMessage(text), AIMessage("noted")]
        stored = memory.save_messages(said, ids[1], user_id=ids[0])
        agent.messages[owner(ids), ids[1]] += [text, "noted"]
        content = f"User: {text}\nAssistant: noted"
        agent.owners[owner(ids)][stored] = Known(content, "episodic", ids, {}, has_messages=True)
        return 1

    def update(self, agent: Agent, memory: KronvexMemory) -> int:
        if some := self.some(agent):
            id_, known = some
            known.metadata = self.metadata()
            changed = memory.update(id_, metadata=known.metadata, pinned=True)
            self.same([changed], {id_: known})
        return 1

    def correct(self, agent: Agent, memory: KronvexMemory) -> int:
        if some := self.some(agent, hidden=self.random.random() < 0.2):
            id_, known = some
            known.content = f"zebra {next(self.written)} corrected"
            self.same([memory.update(id_, content=known.content)], {id_: known})
        return 1

    def supersede(self, agent: Agent, memory: KronvexMemory) -> int:
        if some := self.some(agent):
            id_, known = some
            content = f"zebra {next(self.written)} {self.id()}"
            stranger = self.scope()
            if owner(stranger) != owner(known.ids):
                with pytest.raises(MemoryNotFound):
                    memory.remember(content, supersedes=id_, **named(stranger))
            told = Known(content, self.random.choice(TYPES), known.ids, self.metadata())
            stored = memory.remember(
                content, memory_type=told.memory_type, metadata=dict(told.metadata),
                supersedes=id_, **named(known.ids),
            )  # fmt: skip
            self.keep(agent, stored, told)
            name = owner(known.ids)
            agent.superseded[name][id_] = agent.owners[name].pop(id_)
        return 1

    def restore(self, agent: Agent, memory: KronvexMemory) -> int:
        if some := self.some(agent, hidden=True):
            id_, known = some
            assert id_ in {each.id for each in memory.history(id_)}
            others = agent.owners[owner(known.ids)].values()
            place = (known.content, known.memory_type, known.ids[1])
            if place in [(each.content, each.memory_type, each.ids[1]) for each in others]:
                with pytest.raises(InvalidInput):
                    memory.restore(id_)
                return 1
            self.same([memory.restore(id_)], {id_: known})
            name = owner(known.ids)
            agent.owners[name][id_] = agent.superseded[name].pop(id_)
        return 1

    def set_values(self, agent: Agent, memory: KronvexMemory) -> int:
        namespace = self.id()
        new = {self.id(): self.metadata() for _ in range(self.random.randint(1, 16))}
        KronvexKeyValueStore(memory, namespace).mset(list(new.items()))
        agent.values[namespace].update(new)
        return len(new)

    def path(self) -> tuple[str, ...]:
        """Return a namespace of the LangGraph store, which allows no period."""
        labels = [self.id().replace(".", "") or "x" for _ in range(self.random.randint(1, 3))]
        return tuple(labels)

    def put_items(self, agent: Agent, memory: KronvexMemory) -> int:
        store = agent.stores[agent.open.index(memory)]
        puts = [PutOp(self.path(), self.id(), self.metadata()) for _ in range(12)]
        store.batch(puts)
        for put in puts:
            agent.items[put.namespace][put.key] = put.value
        return len(puts)

    def set_profile(self, agent: Agent, memory: KronvexMemory) -> int:
        user, name, note = self.id(), self.id(), self.id()
        KronvexProfile(memory, Notes, name=name).set(user, Notes(note=note))
        before, about = agent.document(user, name), {"profile": name}
        if before:
            del agent.owners[user][before]
            self.gone.append(before)
        (stored,) = memory.memories(user_id=user, memory_type="context", filter=about)
        content = json.dumps({"note": note}, ensure_ascii=False)
        agent.owners[user][stored.id] = Known(content, "context", (user, None), about)
        return 1

    # -- erasing -----------------------------------------------------------------------------

    def forget_one(self, agent: Agent, memory: KronvexMemory) -> int:
        some = self.some(agent)
        if some is None or some[1].has_messages:
            return 0
        id_, known = some
        assert memory.forget(id=id_) == 1
        del agent.owners[owner(known.ids)][id_]
        self.gone.append(id_)
        return 1

    def forget_scope(self, agent: Agent, memory: KronvexMemory) -> int:
        ids = self.scope()
        if not any(ids):
            return 0
        gone = [*agent.visible(ids), *agent.visible(ids, hidden=True)]
        chats = [
            key for key in agent.messages
            if key[0] == owner(ids) and (None in ids or key[1] == ids[1])
        ]  # fmt: skip
        messages = sum(len(agent.messages.pop(key)) for key in chats)
        assert memory.forget(**named(ids)) == len(gone) + messages
        for id_ in gone:
            for owners in (agent.owners, agent.superseded):
                owners[owner(ids)].pop(id_, None)
        self.gone += gone
        return 1

    def forget_what_is_not_theirs(self, agent: Agent, memory: KronvexMemory) -> int:
        if some := self.some(agent):
            stranger, other = self.scope(), self.random.choice(self.agents)
            if any(stranger) and some[0] not in agent.visible(stranger):
                assert memory.forget(id=some[0], **named(stranger)) == 0
            if other is not agent:
                assert other.open[0].forget(id=some[0]) == 0
            self.same([memory.get(some[0])], dict([some]))
        return 1

    def delete_values(self, agent: Agent, memory: KronvexMemory) -> int:
        namespace, keys = self.id(), [self.id() for _ in range(8)]
        KronvexKeyValueStore(memory, namespace).mdelete(keys)
        for key in keys:
            agent.values[namespace].pop(key, None)
        return len(keys)

    # -- reading -----------------------------------------------------------------------------

    def recall(self, agent: Agent, memory: KronvexMemory) -> int:
        ids, shared = self.scope(), self.random.random() < 0.2
        expected = agent.visible(ids) | (agent.visible((None, None)) if shared else {})
        found = memory.recall(self.text(), top_k=ALL, include_shared=shared, **named(ids))
        self.same(found, expected)
        assert {m.content for m in found} == {known.content for known in expected.values()}
        return 1

    def recall_few(self, agent: Agent, memory: KronvexMemory) -> int:
        ids = self.scope()
        found = memory.recall(self.text(), **named(ids))
        self.same(found, agent.visible(ids))
        assert bool(found) == bool(agent.visible(ids))
        return 1

    def explain(self, agent: Agent, memory: KronvexMemory) -> int:
        ids, some = self.scope(), self.some(agent, hidden=self.random.random() < 0.2)
        id_, known = some or (self.id(), Known("", "", ids, {}))
        if some and owner(known.ids) == owner(ids):
            why = memory.explain(self.text(), id_, top_k=ALL, **named(ids))
            is_other = None not in ids and known.ids[1] != ids[1]
            assert ("session" in why.kept_out) == is_other
            assert ("superseded" in why.kept_out) == (id_ not in agent.owners[owner(ids)])
        else:
            with pytest.raises(MemoryNotFound):
                memory.explain(self.text(), id_, **named(ids))
        return 1

    def inject_context(self, agent: Agent, memory: KronvexMemory) -> int:
        ids = self.scope()
        self.same(memory.inject_context(self.text(), **named(ids)).memories, agent.visible(ids))
        return 1

    def profile(self, agent: Agent, memory: KronvexMemory) -> int:
        user, name = self.id(), self.id()
        known, document = agent.visible((user, None)), agent.document(user, name)
        found = memory.profile(user, max_tokens=ALL).memories
        self.same(found, known)
        assert {m.content for m in found} == {each.content for each in known.values()}
        value = KronvexProfile(memory, Notes, name=name).get(user)
        assert (value is None) == (document is None)
        assert value is None or json.loads(known[document or ""].content) == value.model_dump()
        return 2

    def retrieve(self, agent: Agent, memory: KronvexMemory) -> int:
        user_id, config = self.id(), {"configurable": {"user_id": self.id()}}
        for retriever, whose in (
            (memory.as_retriever(user_id=user_id), user_id),
            (memory.as_retriever(), config["configurable"]["user_id"]),
        ):
            known = agent.owners.get(whose, {})
            for document in retriever.invoke(self.text(), config):
                assert known[document.id].content == document.page_content
        return 2

    def memories(self, agent: Agent, memory: KronvexMemory) -> int:
        ids = self.scope()
        found = memory.memories(limit=ALL, **named(ids))
        assert len(found) == len(agent.visible(ids))
        self.same(found, agent.visible(ids))
        every = agent.visible(ids) | agent.visible(ids, hidden=True)
        found = memory.memories(limit=ALL, include_superseded=True, **named(ids))
        assert len(found) == len(every)
        self.same(found, every)
        return 1

    def get(self, agent: Agent, memory: KronvexMemory) -> int:
        if some := self.some(agent):
            self.same([memory.get(some[0])], dict([some]))
        for id_ in self.random.sample(self.gone, min(2, len(self.gone))):
            assert memory.get(id_) is None
        assert memory.get(self.id()) is None
        return 2

    def load_messages(self, agent: Agent, memory: KronvexMemory) -> int:
        ids = (self.scope()[0], self.id())
        loaded = memory.load_messages(ids[1], user_id=ids[0])
        assert [m.content for m in loaded] == agent.messages.get((owner(ids), ids[1]), [])
        return 1

    def sessions(self, agent: Agent, memory: KronvexMemory) -> int:
        user_id = self.id()
        told: dict[str | None, int] = defaultdict(int)
        for summary in memory.sessions(user_id=user_id):
            assert owner((summary.user_id, summary.session_id)) == user_id
            told[summary.session_id] += summary.memories
        expected: dict[str | None, int] = defaultdict(int)
        kept = [*agent.owners.get(user_id, {}).values(), *agent.superseded[user_id].values()]
        for known in kept:
            expected[known.ids[1]] += 1
        assert {k: n for k, n in told.items() if n} == expected
        return 1

    def get_values(self, agent: Agent, memory: KronvexMemory) -> int:
        namespace, keys, prefix = self.id(), [self.id() for _ in range(12)], self.id()[:2]
        store, values = KronvexKeyValueStore(memory, namespace), agent.values.get(namespace, {})
        assert store.mget(keys) == [values.get(key) for key in keys]
        assert store.list_keys(prefix) == sorted(key for key in values if key.startswith(prefix))
        return len(keys) + 1

    def get_items(self, agent: Agent, memory: KronvexMemory) -> int:
        store, path = agent.stores[agent.open.index(memory)], self.path()
        for key in [self.id(), *list(agent.items.get(path, {}))[:2]]:
            item, expected = store.get(path, key), agent.items.get(path, {}).get(key)
            assert (item and item.value) == expected
        under = {
            (name, key): value
            for name, items in agent.items.items() if name[: len(path)] == path
            for key, value in items.items()
        }  # fmt: skip
        found = store.search(path, limit=ALL)
        assert {(item.namespace, item.key): item.value for item in found} == under
        return 2

    def bad_id(self, agent: Agent, memory: KronvexMemory) -> int:
        bad = self.random.choice(BAD)
        ids = self.random.choice([(bad, None), (None, bad), (bad, self.id()), (self.id(), bad)])
        calls: list[Callable[[], object]] = [
            lambda: memory.remember("zebra", **named(ids)),
            lambda: memory.recall("zebra", **named(ids)),
            lambda: memory.forget(**named(ids)),
            lambda: memory.save_messages([HumanMessage("zebra")], bad, user_id=ids[0]),
            lambda: memory.forget(id=bad),
            lambda: KronvexKeyValueStore(memory, bad),
        ]
        if not bad.startswith("x"):  # keys may be longer than ids
            calls.append(lambda: KronvexKeyValueStore(memory, "ana").set(bad, "zebra"))
        if "a" in bad:
            calls.append(lambda: agent.stores[0].put((bad,), "ana", {"zebra": 1}))
            calls.append(lambda: agent.stores[0].put(("ana",), bad, {"zebra": 1}))
        with pytest.raises((InvalidInput, InvalidNamespaceError)):
            self.random.choice(calls)()
        return 1


WEIGHTS: dict[Callable[[Rounds, Agent, KronvexMemory], int], float] = {
    Rounds.remember_many: 6, Rounds.save_exchange: 3, Rounds.save_messages: 5, Rounds.update: 4,
    Rounds.correct: 1, Rounds.supersede: 3, Rounds.restore: 1,
    Rounds.set_profile: 3, Rounds.profile: 6,
    Rounds.set_values: 3, Rounds.put_items: 2, Rounds.forget_one: 0.3, Rounds.forget_scope: 1,
    Rounds.forget_what_is_not_theirs: 3, Rounds.delete_values: 0.3, Rounds.recall: 12,
    Rounds.explain: 2,
    Rounds.recall_few: 12, Rounds.inject_context: 5, Rounds.retrieve: 3, Rounds.memories: 12,
    Rounds.get: 10, Rounds.load_messages: 8, Rounds.sessions: 2, Rounds.get_values: 5,
    Rounds.get_items: 2, Rounds.bad_id: 4,
}  # fmt: skip
