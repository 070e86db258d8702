"""The contents of the old stores, and one way to read everything back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from langchain_kronvex import KronvexKeyValueStore, KronvexMemory, MemoryDraft
from langchain_kronvex.langgraph import KronvexStore

MADE_AT = datetime(2026, 11, 2, 9, 30, tzinfo=timezone.utc)
DAY = timedelta(days=1)
OWNERS: tuple[dict[str, str], ...] = (
    {"user_id": "ana"},
    {"user_id": "Ana"},
    {"user_id": "ben"},
    {"session_id": "visitor-7"},
    {},
)
CHATS = ({"session_id": "monday", "user_id": "ana"}, {"session_id": "visitor-7"})
QUESTIONS = ("What must Ana not eat?", "Which city does she live in?", "When was the deployment?")
MESSAGE_FIELDS = (
    "type",
    "content",
    "id",
    "name",
    "tool_calls",
    "tool_call_id",
    "response_metadata",
)
NAMESPACE = "settings of ana"
GRAPH_ITEMS = (("users", "ana"), "food"), (("users", "ben"), "log"), (("rules",), "tone")
REINDEXED = "reindexed"  # the agent whose reindexing was broken off
REINDEXED_COUNT = 100
REINDEXED_BATCH = 64  # what was done before it broke off
SERVER_URL = "https://memory.example"
API_KEY = "kv-of-the-old-outbox"
REFUSED = "The server refuses this text."


class Letters(Embeddings):
    """Vectors that count letters; the length of a vector is the number of letters counted."""

    def __init__(self, letters: str = "aeiou", most_calls: int | None = None) -> None:
        self.model = f"letters-{letters}"
        self.embedded: list[str] = []
        self._letters = letters
        self._calls_left = most_calls

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        if self._calls_left is not None:
            if not self._calls_left:
                raise ConnectionError
            self._calls_left -= 1
        self.embedded += texts
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return [1.0 + text.count(letter) for letter in self._letters]


def at(moment: datetime) -> dict[str, Any]:
    """Return the option that opens a memory at a moment."""
    return {"clock": lambda: moment}


def drafts() -> list[MemoryDraft]:
    """Return the memories of the agent `default`, written over two weeks."""

    def said(content: str, days_ago: float, **more: Any) -> MemoryDraft:
        return MemoryDraft(content, created_at=MADE_AT - days_ago * DAY, **more)

    ana = {"user_id": "ana", "session_id": "monday"}
    return [
        said("I am allergic to peanuts.", 14, **ana),
        said("Since when?", 13.99, **ana),
        said("Since I was four, in the summer of 1994.", 13.98, **ana),
        said("I moved to Lisbon last week.", 7, user_id="ana", session_id="friday"),
        said("Ana prefers concise answers.", 6, user_id="ana", memory_type="preference",
             pinned=True, ttl_days=1),
        said("Ana's flight leaves at nine.", 1, user_id="ana", memory_type="fact", ttl_days=30,
             metadata={"source": "mail", "parts": [1, 2.5, None, {"deep": True}]}),
        said("The last deployment was on March 10.", 3, user_id="ana", memory_type="semantic"),
        said("Drain a node before you update it.", 3, user_id="ana", memory_type="procedural"),
        said("I am allergic to cats.", 2, user_id="Ana"),
        said("I live in Porto. 葡萄牙 🇵🇹 \u202e\x07", 2, user_id="ben", session_id="monday"),
        said("I am only looking around.", 1, session_id="visitor-7"),
        said("The shop is closed on Sundays.", 9, memory_type="semantic"),
    ]  # fmt: skip


def fill(url: str) -> None:
    """Write everything into an empty store."""
    with KronvexMemory(url, **at(MADE_AT)) as memory:
        memory.remember_many(drafts())
        memory.save_exchange("Do I need a visa?", "No, you do not.", **CHATS[0])
        for question in QUESTIONS:  # they are counted as accesses
            memory.recall(question, user_id="ana", top_k=2)
        memory.save_messages(conversation(), **CHATS[0])
        memory.save_messages([HumanMessage("Hello?", id="h-1")], **CHATS[1])
        values = KronvexKeyValueStore(memory, NAMESPACE)
        values.set("tone", {"formal": False, "names": ["Ana", "Ána"]})
        values.set("promotion", "spring", ttl_days=7)
        with KronvexStore(memory) as store:
            for namespace, key in GRAPH_ITEMS:
                store.put(namespace, key, {"text": f"All about {key}.", "visits": len(key)})
    with KronvexMemory(url, agent_id="other", **at(MADE_AT)) as memory:
        memory.remember("The other agent knows that Ana is allergic to nuts.", user_id="ana")


def conversation() -> list[HumanMessage | AIMessage | ToolMessage]:
    """Return messages of every kind that a chat history keeps."""
    call = {"name": "search", "args": {"q": "visa"}, "id": "c-1", "type": "tool_call"}
    return [
        HumanMessage("Do I need a visa?", id="h-1", name="ana"),
        AIMessage("", id="a-1", tool_calls=[call]),
        ToolMessage("none needed", id="t-1", tool_call_id="c-1"),
        AIMessage([{"type": "text", "text": "No."}], id="a-2", response_metadata={"model": "m"}),
    ]


def everything(url: str, moment: datetime = MADE_AT + DAY) -> dict[str, Any]:
    """Read all that the store holds, as JSON values."""
    with KronvexMemory(url, **at(moment)) as memory:
        found = {
            "memories": [memories(memory, owner) for owner in OWNERS],
            "chats": [[_message(m) for m in memory.load_messages(**chat)] for chat in CHATS],
            "sessions": [_plain(asdict(session)) for session in memory.sessions()],
            "values": _values(memory),
            "items": _items(memory),
            "recalled": [_recalled(memory, question) for question in QUESTIONS],
        }
    with KronvexMemory(url, agent_id="other", **at(moment)) as memory:
        return {**found, "of the other agent": memories(memory, OWNERS[0])}


def memories(memory: KronvexMemory, owner: dict[str, str]) -> list[dict[str, Any]]:
    """Return all memories of an owner, as JSON values."""
    return [_plain(asdict(found)) for found in memory.memories(**owner, limit=100)]


def _message(message: BaseMessage) -> dict[str, Any]:
    return {field: _plain(getattr(message, field, None)) for field in MESSAGE_FIELDS}


def _values(memory: KronvexMemory) -> dict[str, Any]:
    store = KronvexKeyValueStore(memory, NAMESPACE)
    return {key: store.get(key) for key in store.list_keys()}


def _items(memory: KronvexMemory) -> list[dict[str, Any]]:
    with KronvexStore(memory) as store:
        items = [store.get(namespace, key) for namespace, key in GRAPH_ITEMS]
        return [_plain(item.dict()) for item in items if item is not None]


def _recalled(memory: KronvexMemory, question: str) -> list[dict[str, Any]]:
    found = memory.recall(question, user_id="ana", order_by="similarity")
    return [{"id": each.id, "similarity": round(each.similarity, 4)} for each in found]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return value
