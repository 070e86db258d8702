"""`before_save` of the memory sees the messages of LlamaIndex's chat stores and memory block."""

from __future__ import annotations

import pytest
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock, ToolCallBlock

from conftest import OpenMemory
from langchain_kronvex import KronvexMemory
from langchain_kronvex.llama_index import KronvexChatStore, KronvexMemoryBlock

from .parts import assistant, texts, user


def no_codes(text: str) -> str | None:
    return None if "secret" in text else text.replace("7391", "XXXX")


@pytest.fixture
def memory(open_memory: OpenMemory) -> KronvexMemory:
    return open_memory(before_save=no_codes)


def remembered(memory: KronvexMemory) -> list[str]:
    return sorted(found.content for found in memory.memories(user_id="ana"))


def test_each_block_is_seen_and_the_rest_stays(memory: KronvexMemory) -> None:
    store = KronvexChatStore(memory=memory, user_id="ana")
    image = ImageBlock(image=b"7391", image_mimetype="image/png")
    call = ToolCallBlock(tool_call_id="7391", tool_name="open", tool_kwargs={"name": ["7391"]})
    said = [
        ChatMessage(role="user", blocks=[TextBlock(text="Try 7391"), image]),
        ChatMessage(role="assistant", blocks=[TextBlock(text="I do"), call]),
        ChatMessage("7391 is wrong", role="tool", additional_kwargs={"tool_call_id": "7391"}),
    ]
    store.set_messages("monday", said)
    store.set_messages("monday", [*store.get_messages("monday"), assistant("Not 7391.")])

    human, ai, tool, answer = store.get_messages("monday")
    assert human.blocks == [TextBlock(text="Try XXXX"), image]
    assert ai.blocks == [
        said[1].blocks[0],
        call.model_copy(update={"tool_kwargs": {"name": ["XXXX"]}}),
    ]
    assert (tool.content, tool.additional_kwargs) == ("XXXX is wrong", {"tool_call_id": "7391"})
    assert answer.content == "Not XXXX."
    assert remembered(memory) == ["User: Try XXXX\nAssistant: I do Not XXXX."]


def test_a_refused_message_leaves_a_mark(memory: KronvexMemory) -> None:
    store = KronvexChatStore(memory=memory, user_id="ana")
    for message in (user("Good morning."), assistant("Hi."), user("A secret."), assistant("Oh.")):
        store.add_message("monday", message)

    assert texts(store.get_messages("monday"))[2:] == ["user: [not saved]", "assistant: Oh."]
    assert remembered(memory) == ["Assistant: Oh.", "User: Good morning.\nAssistant: Hi."]


async def test_a_memory_block_remembers_what_it_may(memory: KronvexMemory) -> None:
    block = KronvexMemoryBlock(memory=memory, user_id="ana", session_id="monday")
    said = [user("It is 7391."), assistant("Noted."), user("A secret."), assistant("Oh.")]
    for number in range(1, len(said) + 1):
        await block.aget(said[:number])
    await block.aget([*said, user("Good night.")])
    assert memory.flush(10)

    assert remembered(memory) == [
        "Assistant: Oh.", "User: Good night.", "User: It is XXXX.\nAssistant: Noted.",
    ]  # fmt: skip
