"""`before_save` sees each text before it is stored anywhere, and may change or refuse it."""

from __future__ import annotations

import io
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage

from contract.conftest import OpenDriver
from contract.drivers import Driver
from langchain_kronvex import (
    ConfigurationError,
    KronvexKeyValueStore,
    KronvexMemory,
    MemoryDraft,
    SaveRefused,
)

CODE = "code 7391"
ANA: Any = {"user_id": "ana", "session_id": "monday"}


def no_codes(text: str) -> str | None:
    """Replace codes; refuse what is a secret."""
    return None if "secret" in text else re.sub(r"code \d+", "code XXXX", text)


@pytest.fixture
def memory(open_driver: OpenDriver) -> Driver:
    return open_driver(before_save=no_codes)


def contents(memory: Driver) -> list[str]:
    return sorted(found.content for found in memory.memories(user_id="ana"))


def test_what_is_returned_is_stored_and_the_rest_is_nowhere(memory: Driver, tmp_path: Path) -> None:
    metadata = {"where": {"door": [f"front {CODE}"], "floor": 2}}
    stored = memory.remember(f"The door has {CODE}.", metadata=metadata, **ANA)
    again = memory.remember("The door has code 1.", **ANA)

    assert stored.content == "The door has code XXXX."
    assert stored.metadata == {"where": {"door": ["front code XXXX"], "floor": 2}}
    assert again.id == stored.id
    assert again.deduplicated
    assert memory.recall("door", user_id="ana")[0].content == stored.content
    memory.flush()
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert not [file for file in files if b"7391" in file.read_bytes()]


def test_a_refused_text_stores_nothing(memory: Driver) -> None:
    with pytest.raises(SaveRefused, match="before_save refused"):
        memory.remember("It is a secret.", **ANA)
    with pytest.raises(SaveRefused):
        memory.remember("The sky is blue.", metadata={"why": "secret"}, **ANA)
    drafts = [MemoryDraft("The sky is blue.", **ANA), MemoryDraft("A secret.", **ANA)]
    with pytest.raises(SaveRefused):
        memory.remember_many(drafts)
    with pytest.raises(SaveRefused):
        memory.save_exchange("What is it?", "A secret.", **ANA)

    assert contents(memory) == []


def test_an_exchange_is_stored_and_found_by_the_changed_words(memory: Driver) -> None:
    [stored] = memory.save_exchange(f"Is it {CODE}?", f"Yes, {CODE}.", **ANA)

    assert stored.content == "User: Is it code XXXX?\nAssistant: Yes, code XXXX."


def test_an_error_of_the_function_stores_nothing(open_driver: OpenDriver) -> None:
    def fails(text: str) -> str:
        raise RuntimeError("the detector is down")

    memory = open_driver(before_save=fails)
    with pytest.raises(RuntimeError, match="detector"):
        memory.remember("Ana prefers tea.", **ANA)
    with pytest.raises(RuntimeError, match="detector"):
        memory.save_messages([HumanMessage("I prefer tea.")], "monday", user_id="ana")

    assert contents(memory) == []
    assert memory.load_messages("monday", user_id="ana") == []


def test_something_other_than_a_text_is_rejected(open_driver: OpenDriver) -> None:
    memory = open_driver(before_save=lambda text: True)
    with pytest.raises(ConfigurationError, match=r"return the text to store.*not bool"):
        memory.remember("Ana prefers tea.", **ANA)


def test_a_changed_property_is_seen_and_the_text_is_not_asked_about_again(
    memory: Driver, open_shared: OpenDriver
) -> None:
    before = open_shared().remember(f"The door has {CODE}.", **ANA)
    memory.flush()

    changed = memory.update(before.id, metadata={"door": CODE}, pinned=True)

    assert changed.metadata == {"door": "code XXXX"}
    assert changed.content == before.content
    with pytest.raises(SaveRefused):
        memory.update(before.id, metadata={"door": "secret"})


def test_a_corrected_text_is_seen(memory: Driver) -> None:
    stored = memory.remember("The door has no code.", **ANA)

    changed = memory.update(stored.id, content=f"The door has {CODE}.")

    assert changed.content == "The door has code XXXX."
    assert memory.remember("The door has code 2.", **ANA).id == stored.id
    with pytest.raises(SaveRefused):
        memory.update(stored.id, content="A secret.")
    assert contents(memory) == [changed.content]


def test_every_text_of_a_message_is_seen_and_the_rest_stays(memory: Driver) -> None:
    call = {"name": "open code 1", "args": {"name": [CODE]}, "id": "code 1", "type": "tool_call"}
    raw = {"id": "code 1", "function": {"name": "open", "arguments": f'{{"name": ["{CODE}"]}}'}}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,code 12"}}
    said = [
        HumanMessage([{"type": "text", "text": f"Try {CODE}"}, image, f"or {CODE}"], id="code 2"),
        AIMessage(
            f"Trying {CODE}", tool_calls=[call], additional_kwargs={"tool_calls": [raw]},
            response_metadata={"model_name": "code 5", "logprobs": [CODE]},
        ),
        ToolMessage(f"{CODE} is wrong", tool_call_id="code 1", artifact={"tried": CODE}),
    ]  # fmt: skip
    memory.save_messages(said, "monday", user_id="ana")

    human, ai, tool = memory.load_messages("monday", user_id="ana")
    x = "code XXXX"
    assert human.content == [{"type": "text", "text": f"Try {x}"}, image, f"or {x}"]
    assert human.id == "code 2"
    assert ai.content == f"Trying {x}"
    assert ai.tool_calls == [{**call, "args": {"name": [x]}}]
    function = {"name": "open", "arguments": f'{{"name": ["{x}"]}}'}
    assert ai.additional_kwargs == {"tool_calls": [{**raw, "function": function}]}
    assert ai.response_metadata == {"model_name": "code 5"}
    assert (tool.content, tool.artifact) == (f"{x} is wrong", {"tried": x})
    assert tool.tool_call_id == "code 1"
    assert contents(memory) == [f"User: Try {x}or {x}\nAssistant: Trying {x}"]


def test_a_refused_message_leaves_a_mark_and_is_not_remembered(
    memory: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "langchain_kronvex")
    chunk: Any = {"name": "look", "args": '{"for": "secret"}', "id": "1", "index": 0}
    said = [
        HumanMessage("The sky?"), AIMessage("Blue."),
        HumanMessage("The secret?", id="q"), AIMessageChunk("Well.", tool_call_chunks=[chunk]),
        ToolMessage("a secret", tool_call_id="1"), AIMessage("I must not say."),
    ]  # fmt: skip
    for message in said:  # as a chat saves them
        memory.save_messages([message], "monday", user_id="ana")

    loaded = memory.load_messages("monday", user_id="ana")
    assert [m.content for m in loaded] == [
        "The sky?", "Blue.", "[not saved]", "[not saved]", "[not saved]", "I must not say.",
    ]  # fmt: skip
    assert loaded[2].id == "q"
    assert loaded[3].tool_calls == [{"name": "look", "args": {}, "id": "1", "type": "tool_call"}]
    assert loaded[4].tool_call_id == "1"
    assert contents(memory) == ["Assistant: I must not say.", "User: The sky?\nAssistant: Blue."]
    logged = [r.getMessage() for r in caplog.records if "refused" in r.getMessage()]
    assert len(logged) == 3
    assert "secret" not in "".join(logged)


def test_a_message_is_deleted_by_what_was_said(memory: Driver) -> None:
    history = memory.memory.chat_history
    said = HumanMessage(f"Try {CODE}")
    history("monday", "ana").add_messages([said])

    assert history("monday", "ana").delete(said) == 1


def test_an_import_restores_what_was_exported(
    memory: Driver, open_driver: OpenDriver, tmp_path: Path
) -> None:
    with KronvexMemory(f"sqlite:///{tmp_path / 'other.db'}") as other:
        other.remember(f"The door has {CODE}.", **ANA)
        file = io.BytesIO()
        other.export(file, progress=False)
    file.seek(0)
    memory.import_(file, progress=False)

    assert contents(memory) == [f"The door has {CODE}."]


def test_values_under_keys_are_seen(memory: Driver) -> None:
    values = KronvexKeyValueStore(memory.memory, "doors")
    values.set(CODE, {"front": [CODE, 1], CODE: None})
    values.mset([("back", CODE)])

    assert values.get(CODE) == {"front": ["code XXXX", 1], CODE: None}
    assert values.get("back") == "code XXXX"
    with pytest.raises(SaveRefused):
        values.set("side", ["secret"])


def test_values_are_compared_and_changed(memory: Driver) -> None:
    values = KronvexKeyValueStore(memory.memory, "doors")
    assert values.compare_and_set("front", None, CODE)
    assert values.compare_and_set("front", values.get("front"), [CODE])
    assert values.change("front", lambda codes: [*codes, CODE]) == ["code XXXX", "code XXXX"]
