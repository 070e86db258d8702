"""Messages are restored exactly: every role, every type of block, every additional field."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from llama_index.core.base.llms.types import (
    AudioBlock,
    CacheControl,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)

from inside import decode, decode_message, encode
from langchain_kronvex import InvalidInput, KronvexMemory, StoreError
from langchain_kronvex.llama_index import KronvexChatStore

from .parts import assistant, user

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(40))

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.dictionaries(TEXT.filter(lambda name: name != "images"), JSON, max_size=3)
DATA = st.binary(min_size=1, max_size=40)
URL = st.sampled_from(["https://example.org/a.png", "data:image/png;base64,iVBORw0KGgo="])
TEXT_BLOCK = st.builds(TextBlock, text=TEXT)
IMAGE = st.builds(ImageBlock, image=DATA, detail=st.none() | TEXT) | st.builds(ImageBlock, url=URL)
DOCUMENT = st.builds(DocumentBlock, data=DATA, title=TEXT | st.none())
BLOCK = st.one_of(
    TEXT_BLOCK,
    IMAGE,
    st.builds(AudioBlock, audio=DATA, format=st.none() | st.just("mp3")),
    st.builds(VideoBlock, video=DATA),
    DOCUMENT,
    st.builds(CachePoint, cache_control=st.builds(CacheControl, type=TEXT)),
    st.builds(
        CitableBlock,
        title=TEXT,
        source=TEXT,
        content=st.lists(TEXT_BLOCK | IMAGE | DOCUMENT, max_size=2),
    ),
    st.builds(
        CitationBlock,
        cited_content=TEXT_BLOCK | IMAGE,
        source=TEXT,
        title=TEXT,
        additional_location_info=st.dictionaries(TEXT, st.integers(), max_size=2),
    ),
    st.builds(ThinkingBlock, content=TEXT | st.none(), additional_information=FIELDS),
    st.builds(
        ToolCallBlock, tool_call_id=TEXT | st.none(), tool_name=TEXT, tool_kwargs=FIELDS | TEXT
    ),
)
MESSAGE = st.builds(
    ChatMessage,
    role=st.sampled_from(MessageRole),
    blocks=st.lists(BLOCK, max_size=3),
    additional_kwargs=FIELDS,
)


@pytest.mark.slow
@given(message=MESSAGE)
@settings(deadline=None, max_examples=120)
def test_any_message_is_restored_exactly(message: ChatMessage) -> None:
    kept = encode(message)

    assert decode(kept) == message
    assert encode(decode(kept)) == kept
    assert kept.isascii()  # stores need not accept other characters


@given(message=MESSAGE)
@settings(deadline=None, max_examples=50)
def test_langchain_reads_the_text_of_any_message(message: ChatMessage) -> None:
    assert decode_message(encode(message)).text == (message.content or "")


def test_a_plain_message_is_stored_once() -> None:
    assert json.loads(encode(user("hi"))) == {"type": "human", "data": {"content": "hi"}}


def test_messages_are_restored_from_a_store(memory: KronvexMemory) -> None:
    said = [
        ChatMessage("Be brief.", role="system"),
        ChatMessage(role="user", blocks=[TextBlock(text="What is this?"), ImageBlock(image=PNG)]),
        ChatMessage(
            role="assistant",
            blocks=[ToolCallBlock(tool_call_id="c1", tool_name="look", tool_kwargs={"at": [1, 2]})],
        ),
        ChatMessage("a cat", role="tool", additional_kwargs={"tool_call_id": "c1", "name": "look"}),
        assistant("A cat \U0001f431\0."),
    ]
    store = KronvexChatStore(memory=memory, user_id="ana")
    store.set_messages("monday", said)

    assert store.get_messages("monday") == said


def test_a_picture_of_two_megabytes_is_restored(store_url: str) -> None:
    said = [ChatMessage(role="user", blocks=[ImageBlock(image=PNG * 40_000)]), assistant("A cat.")]
    with KronvexMemory(store_url) as memory:
        KronvexChatStore(memory=memory, user_id="ana").set_messages("monday", said)
        assert memory.flush(30)
        assert memory.stats().failed == 0
    with KronvexMemory(store_url) as memory:
        assert KronvexChatStore(memory=memory, user_id="ana").get_messages("monday") == said


def test_a_picture_from_a_stream_is_read_when_it_is_stored() -> None:
    shown = ChatMessage(role="user", blocks=[ImageBlock(image=io.BytesIO(PNG))])
    back: Any = decode(encode(shown)).blocks[0]

    assert back.resolve_image().read() == PNG


def test_a_missing_file_does_not_make_the_chat_unreadable(tmp_path: Path) -> None:
    picture = tmp_path / "cat.png"
    picture.write_bytes(PNG)
    nested = CitableBlock(title="t", source="s", content=[ImageBlock(path=picture)])
    shown = ChatMessage(role="user", blocks=[ImageBlock(path=picture), nested])
    kept = encode(shown)
    picture.unlink()

    assert decode(kept) == shown


def test_older_forms_of_pictures_are_not_duplicated() -> None:
    shown = user("look")
    shown.additional_kwargs = {"images": [{"text": "a picture"}]}

    assert decode(encode(shown)) == shown


def test_objects_of_a_provider_become_json() -> None:
    called = user("x")
    called.additional_kwargs = {
        "tool_calls": [TextBlock(text="call")],
        "at": Path("/tmp/x"),
        "pair": (1, 2),
    }

    assert decode(encode(called)).additional_kwargs == {
        "tool_calls": [{"block_type": "text", "text": "call"}],
        "at": "/tmp/x",
        "pair": [1, 2],
    }


def test_a_message_of_langchain_is_read() -> None:
    call = {"name": "look", "args": {"at": 1}, "id": "c1", "type": "tool_call"}
    from_langchain = [
        HumanMessage([{"type": "text", "text": "hi"}, {"type": "image", "url": "https://x"}]),
        AIMessage("", tool_calls=[call]),
        ToolMessage("a cat", tool_call_id="c1"),
        SystemMessage("Be brief."),
    ]
    memory = KronvexMemory("sqlite://")
    memory.chat_history("monday", "ana").add_messages(from_langchain)
    read = KronvexChatStore(memory=memory, user_id="ana").get_messages("monday")
    memory.close()

    assert read == [
        user("hi"),
        ChatMessage(
            role="assistant",
            blocks=[ToolCallBlock(tool_call_id="c1", tool_name="look", tool_kwargs={"at": 1})],
        ),
        ChatMessage("a cat", role="tool", additional_kwargs={"tool_call_id": "c1"}),
        ChatMessage("Be brief.", role="system"),
    ]


def test_langchain_reads_tool_calls_and_their_results() -> None:
    call = ToolCallBlock(tool_call_id="c1", tool_name="look", tool_kwargs={"at": 1})
    said = decode_message(encode(ChatMessage(role="assistant", blocks=[call])))
    result = decode_message(
        encode(ChatMessage("a cat", role="tool", additional_kwargs={"tool_call_id": "c1"}))
    )

    assert isinstance(said, AIMessage)
    assert said.tool_calls[0]["args"] == {"at": 1}
    assert isinstance(result, ToolMessage)
    assert result.tool_call_id == "c1"


def test_the_error_names_a_block_of_a_later_version() -> None:
    shown = json.loads(encode(ChatMessage(role="user", blocks=[ImageBlock(image=PNG)])))
    shown["llama_index"]["blocks"][0]["block_type"] = "hologram"

    with pytest.raises(StoreError, match=r"'hologram'.*upgrade"):
        decode(json.dumps(shown))


@pytest.mark.parametrize("wrong", ["hi", None, HumanMessage("hi")])
def test_a_value_that_is_not_a_message_is_rejected(memory: KronvexMemory, wrong: Any) -> None:
    store = KronvexChatStore(memory=memory, user_id="ana")
    with pytest.raises(InvalidInput, match="must be a ChatMessage"):
        store.set_messages("monday", [user("fine"), wrong])

    assert store.get_messages("monday") == []


def test_a_message_that_contains_itself_is_rejected(memory: KronvexMemory) -> None:
    endless = user("x")
    endless.additional_kwargs["self"] = endless.additional_kwargs
    store = KronvexChatStore(memory=memory, user_id="ana")
    with pytest.raises(InvalidInput, match="nested too deep"):
        store.add_message("monday", endless)

    assert store.get_messages("monday") == []
