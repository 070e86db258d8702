"""What each format becomes: memories and chats with their times, users, ids and metadata."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langchain_kronvex import InvalidInput, KronvexMemory, redact_secrets
from langchain_kronvex.importers import import_from
from langchain_kronvex.langgraph import KronvexStore

from .files import CHATGPT, ITEMS, KRONVEX, MEM0, ZEP, conversation, message, sqlite_store, written

OpenMemory = Callable[..., KronvexMemory]


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=timezone.utc)  # type: ignore[misc,arg-type]


def test_mem0(memory: KronvexMemory, tmp_path: Path) -> None:
    report = import_from(memory, "mem0", written(tmp_path / "mem0.json", MEM0))

    assert (report.memories, report.stored, report.left_out) == (2, 2, 0)
    [ana] = memory.memories(user_id="ana")
    assert (ana.content, ana.memory_type) == ("Ana is allergic to peanuts.", "semantic")
    assert ana.created_at == utc(2025, 3, 1, 17, 0, 0, 123456)
    assert ana.metadata == {
        "source": "chat", "agent_id": "cook", "categories": ["health"], "imported_from": "mem0",
        "source_id": "6f1c",
    }  # fmt: skip
    [bob] = memory.memories(user_id="bob", session_id="r-1")
    assert (bob.created_at, bob.valid_from) == (utc(2025, 3, 4, 10), utc(2025, 3, 2, 10))
    assert memory.recall("What must Ana not eat?", user_id="ana")[0].id == ana.id


@pytest.mark.parametrize("form", ["list", "lines", "pages", "gzip", "stream"])
def test_the_same_memories_in_other_forms(memory: KronvexMemory, tmp_path: Path, form: str) -> None:
    results, file = MEM0["results"], tmp_path / "memories"
    lines = "".join(f"{json.dumps(each)}\n" for each in results)
    given: Any = file
    if form == "list":
        written(file, results)
    elif form == "pages":
        written(file, [{"results": [each]} for each in results])
    elif form == "gzip":
        file.write_bytes(gzip.compress(json.dumps(MEM0).encode()))
    elif form == "lines":
        file.write_text("\ufeff" + lines, encoding="utf-8")
    else:
        given = io.StringIO(lines)

    assert import_from(memory, "mem0", given).stored == 2


def test_zep(memory: KronvexMemory, tmp_path: Path) -> None:
    report = import_from(memory, "zep", written(tmp_path / "zep.json", ZEP))

    assert (report.memories, report.messages, report.stored) == (3, 2, 5)
    assert [misfit.where for misfit in report.first] == ["line 1: threads[0]: messages[2]"]
    history = memory.chat_history("monday", user_id="ana").messages
    assert history == [
        HumanMessage("I moved to Porto.", id="m1"), AIMessage("How nice!", id="m2"),
    ]  # fmt: skip
    [said] = memory.memories(user_id="ana", session_id="monday")
    assert said.content == "User: I moved to Porto.\nAssistant: How nice!"
    assert said.created_at == utc(2025, 3, 1, 9, 0, 0, 123456)
    [now] = memory.memories(user_id="ana", memory_type="semantic")
    assert (now.content, now.valid_from) == ("Ana lives in Porto.", utc(2025, 2, 1))
    [then] = memory.recall(
        "Where does Ana live?", user_id="ana", as_of=utc(2024, 6, 1), memory_type="semantic"
    )
    assert (then.content, then.valid_until) == ("Ana lives in Lisbon.", utc(2025, 2, 1))
    assert memory.restore(then.id).superseded_by is None


def test_a_thread_without_an_id_is_named_after_its_file(
    memory: KronvexMemory, tmp_path: Path
) -> None:
    messages = {"messages": [{"role_type": "user", "role": "Ana", "content": "Hi"}]}
    import_from(memory, "zep", written(tmp_path / "tuesday.json", messages), user_id="ana")

    assert memory.chat_history("tuesday", user_id="ana").messages == [HumanMessage("Hi")]


def test_kronvex(memory: KronvexMemory, tmp_path: Path) -> None:
    report = import_from(memory, "kronvex", written(tmp_path / "export.json", KRONVEX))

    assert (report.stored, report.left_out) == (3, 0)
    [now] = memory.memories(user_id="ana")
    assert (now.session_id, now.pinned, now.access_count) == ("ana", True, 4)
    older, newer = memory.history(now.id)
    assert (older.content, older.valid_until) == ("Ana lives in Lisbon.", newer.created_at)
    assert newer == now
    [shared] = memory.memories()
    assert shared.memory_type == "procedural"


@pytest.mark.parametrize("packed", ["json", "zip", "several"])
def test_chatgpt(memory: KronvexMemory, tmp_path: Path, packed: str) -> None:
    file = tmp_path / "export"
    if packed == "json":
        written(file, CHATGPT)
    else:
        parts = {"conversations.json": CHATGPT}
        if packed == "several":
            parts = {f"x/conversations-00{n}.json": [each] for n, each in enumerate(CHATGPT)}
        with zipfile.ZipFile(file, "w") as archive:
            for name, part in parts.items():
                archive.writestr(name, json.dumps(part))
            archive.writestr("chat.html", "not read")
    report = import_from(memory, "chatgpt", file, user_id="ana")

    assert (report.memories, report.messages) == (4, 4)
    assert report.reasons == {
        "only messages of the user, the assistant and the system are imported.": 1,
        "a part of it is not text.": 1,
    }  # fmt: skip
    assert memory.chat_history("c1", user_id="ana").messages == [
        HumanMessage("I am allergic to peanuts.", id="a"), AIMessage("Noted.", id="b2"),
        HumanMessage("What is this?", id="d"),
    ]  # fmt: skip
    [noted] = memory.memories(user_id="ana", memory_type="semantic")
    assert noted.content == "Has a peanut allergy."
    found = memory.recall("Which allergy was it?", user_id="ana", memory_type="episodic")[0]
    assert found.content == "User: I am allergic to peanuts.\nAssistant: Noted."
    assert (found.session_id, found.metadata["title"]) == ("c1", "A talk")
    assert found.created_at == utc(2025, 3, 3, 11, 6, 41, 250000)
    assert memory.forget(id=found.id, user_id="ana") == 1
    assert memory.chat_history("c1", user_id="ana").messages[0].text == "[forgotten]"


def test_a_chat_of_a_grown_export_is_continued(memory: KronvexMemory, tmp_path: Path) -> None:
    first = message("a", "root", "user", "One")
    then = message("b", "a", "assistant", "Two"), message("c", "b", "user", "Three")
    for nodes in ([first], [first, *then]):
        file = written(tmp_path / "c.json", [conversation("c1", *nodes)])
        import_from(memory, "chatgpt", file, user_id="ana")

    texts = [each.text for each in memory.chat_history("c1", user_id="ana").messages]
    assert texts == ["One", "Two", "Three"]


def test_langgraph_items_are_found_by_a_store(memory: KronvexMemory, tmp_path: Path) -> None:
    file = sqlite_store(tmp_path / "langgraph.db")
    report = import_from(memory, "langgraph", file)

    assert (report.items, report.memories, report.stored) == (3, 0, 3)
    assert not memory.memories(all_users=True)
    store = KronvexStore(memory)
    try:
        item = store.get(("users", "ana"), "food")
        assert item is not None
        assert item.value == {"text": "Ana is allergic to peanuts."}
        assert (item.created_at, item.updated_at) == (utc(2025, 3, 1, 9), utc(2025, 3, 2, 9))
        [best, *_] = store.search(("users",), query="an allergy to peanuts", limit=1)
        assert (best.namespace, best.key) == (("users", "ana"), "food")
        assert store.list_namespaces() == [("users", "ana"), ("users", "bob")]
        store.put(("users", "bob"), "food", {"text": "Bob likes plums."})
        assert import_from(memory, "langgraph", file).stored == 0
        mine = store.get(("users", "bob"), "food")
        assert mine is not None
        assert mine.value == {"text": "Bob likes plums."}
    finally:
        store.memory.close()


def test_a_later_value_of_an_item_takes_the_place_of_the_former(
    memory: KronvexMemory, tmp_path: Path
) -> None:
    import_from(memory, "langgraph", sqlite_store(tmp_path / "old.db"))
    prefix, key, _, created, *_ = ITEMS[0]
    row = (prefix, key, '{"text": "Nuts are fine."}', created, "2025-04-01 00:00:00", None, None)
    report = import_from(memory, "langgraph", sqlite_store(tmp_path / "new.db", [row]))

    assert report.stored == 1
    store = KronvexStore(memory)
    item = store.get(("users", "ana"), "food")
    store.memory.close()
    assert item is not None
    assert item.value == {"text": "Nuts are fine."}


def test_before_save_sees_everything(open_memory: OpenMemory, tmp_path: Path) -> None:
    card = "4111 1111 1111 1111"
    memory = open_memory(before_save=lambda text: None if "no!" in text else redact_secrets(text))
    said = [message("a", "root", "user", f"My card: {card}"), message("b", "a", "user", "no!")]
    import_from(
        memory, "chatgpt", written(tmp_path / "c", [conversation("c", *said)]), user_id="ana"
    )
    items = [("users", card, json.dumps({"text": card}), None, None, None, None)]
    import_from(memory, "langgraph", sqlite_store(tmp_path / "lg.db", items))

    texts = [each.text for each in memory.chat_history("c", user_id="ana").messages]
    assert card not in texts[0]
    assert texts[1] == "[not saved]"
    [kept] = memory.memories(user_id="ana")
    assert card not in kept.content
    store = KronvexStore(memory)
    item = store.get(("users",), card)  # keys and namespaces stay
    store.memory.close()
    assert item is not None
    assert card not in item.value["text"]


def test_what_does_not_name_a_user(memory: KronvexMemory, tmp_path: Path) -> None:
    file = written(tmp_path / "m.json", [{"id": "1", "memory": "Whose?"}])
    assert import_from(memory, "mem0", file).reasons == {
        "it names no user; say whose it is with user_id (--user).": 1
    }
    assert import_from(memory, "mem0", file, user_id="ana").stored == 1
    with pytest.raises(InvalidInput, match="--user"):
        import_from(memory, "chatgpt", written(tmp_path / "c.json", CHATGPT))
    with pytest.raises(InvalidInput, match="leave out user_id"):
        import_from(memory, "langgraph", sqlite_store(tmp_path / "lg.db"), user_id="ana")
