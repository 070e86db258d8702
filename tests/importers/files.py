"""Files as other projects write them, with made-up people."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MEM0 = {
    "results": [
        {
            "id": "6f1c", "memory": "Ana is allergic to peanuts.", "user_id": "ana",
            "agent_id": "cook", "run_id": None, "hash": "ab", "metadata": {"source": "chat"},
            "categories": ["health"], "created_at": "2025-03-01T09:00:00.123456-08:00",
            "updated_at": None,
        },
        {
            "id": "7a2d", "memory": "Bob plays the cello.", "userId": "bob", "runId": "r-1",
            "createdAt": "2025-03-02T10:00:00Z", "updatedAt": "2025-03-04T10:00:00Z",
        },
    ],
}  # fmt: skip
ZEP = {
    "user_id": "ana",
    "threads": [
        {
            "thread_id": "monday",
            "messages": [
                {"uuid": "m1", "role": "user", "name": "Ana", "content": "I moved to Porto.",
                 "created_at": "2025-03-01T09:00:00.123456789Z", "metadata": {"mood": "glad"}},
                {"uuid": "m2", "role": "assistant", "content": "How nice!",
                 "created_at": "2025-03-01T09:00:05Z"},
                {"uuid": "m3", "role": "tool", "content": "{}", "created_at": None},
            ],
        },
    ],
    "edges": [
        {"uuid": "e1", "name": "LIVES_IN", "fact": "Ana lives in Lisbon.",
         "source_node_uuid": "n1", "target_node_uuid": "n2", "created_at": "2024-01-02T00:00:00Z",
         "valid_at": "2024-01-01T00:00:00Z", "invalid_at": "2025-02-01T00:00:00Z",
         "expired_at": "2025-03-01T09:01:00Z"},
        {"uuid": "e2", "name": "LIVES_IN", "fact": "Ana lives in Porto.",
         "created_at": "2025-03-01T09:01:00Z", "valid_at": "2025-02-01T00:00:00Z",
         "invalid_at": None, "expired_at": None},
    ],
}  # fmt: skip
KRONVEX = {
    "agent_id": "9f2c", "total": 3,
    "memories": [
        {"id": "3", "content": "Ana lives in Porto.", "session_id": "ana", "user_id": None,
         "memory_type": "semantic", "metadata": {"a": 1}, "access_count": 4, "pinned": True,
         "created_at": "2026-02-05T10:00:00.000000Z", "expires_at": None, "superseded": False,
         "superseded_by": None},
        {"id": "2", "content": "Ana lives in Lisbon.", "session_id": "ana",
         "memory_type": "semantic", "created_at": "2026-01-05T10:00:00.000000Z",
         "superseded": True, "superseded_by": "3"},
        {"id": "1", "content": "Grind the beans first.", "session_id": "",
         "memory_type": "procedure", "created_at": "2026-01-01T10:00:00.000000Z"},
    ],
}  # fmt: skip


def message(
    id_: str, parent: str | None, role: str, *parts: Any, at: Any = None, **more: Any
) -> dict[str, Any]:
    """Return a node of a ChatGPT conversation."""
    kind = "text" if all(isinstance(part, str) for part in parts) else "multimodal_text"
    said = {
        "id": id_, "author": {"role": role}, "create_time": at, "recipient": "all",
        "content": {"content_type": kind, "parts": list(parts)}, **more,
    }  # fmt: skip
    return {"id": id_, "parent": parent, "children": [], "message": said}


def conversation(id_: str, *nodes: dict[str, Any], current: str = "") -> dict[str, Any]:
    """Return a ChatGPT conversation; its last message is the current one unless told otherwise."""
    root = {"id": "root", "parent": None, "children": [], "message": None}
    return {
        "conversation_id": id_, "title": "A talk", "create_time": 1741000000.5,
        "mapping": {node["id"]: node for node in (root, *nodes)},
        "current_node": current or nodes[-1]["id"],
    }  # fmt: skip


HIDDEN = {"is_visually_hidden_from_conversation": True}
CHATGPT = [
    conversation(
        "c1",
        message("s", "root", "system", ""),
        message("h", "s", "system", "hidden", metadata=HIDDEN),
        message("a", "h", "user", "I am allergic to peanuts.", at=1741000001.25),
        message("b1", "a", "assistant", "A draft of an answer."),
        message("n", "a", "assistant", "Has a peanut allergy.", recipient="bio"),
        message("t", "n", "tool", "Model set context updated."),
        message("b2", "t", "assistant", "Noted.", at=1741000003),
        message("d", "b2", "user", "What is this?", {"content_type": "image_asset_pointer"}),
        current="d",
    ),
    conversation("c2", message("a", "root", "user", "Bob is my dog.", at=1741000100)),
]  # fmt: skip

STORE = """
CREATE TABLE store (
    prefix text NOT NULL, key text NOT NULL, value text NOT NULL,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    expires_at TIMESTAMP, ttl_minutes REAL, PRIMARY KEY (prefix, key)
)
"""  # as langgraph-checkpoint-sqlite makes it
ITEMS = [
    ("users.ana", "food", '{"text": "Ana is allergic to peanuts."}', "2025-03-01 09:00:00",
     "2025-03-02 09:00:00", None, None),
    ("users.ana", "city", '{"text": "Porto", "since": {"year": 2025}}', "2025-03-01 09:00:00",
     "2025-03-01 09:00:00", "2999-01-01T00:00:00+00:00", 90.5),
    ("users.bob", "food", '{"text": "Bob likes figs."}', "2025-03-01 09:00:00",
     "2025-03-01 09:00:00", None, None),
]  # fmt: skip


def sqlite_store(path: Path, rows: Sequence[Sequence[Any]] = ITEMS) -> Path:
    """Write a store of LangGraph."""
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(STORE)
        connection.executemany("INSERT INTO store VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    connection.close()
    return path


def written(path: Path, value: Any) -> Path:
    """Write a value as a JSON file."""
    path.write_text(json.dumps(value), encoding="utf-8")
    return path
