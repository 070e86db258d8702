"""The chat store of the buffers: order, indexes, keys, users, and remembered exchanges."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage
from llama_index.core.base.llms.types import ChatMessage, TextBlock, ToolCallBlock
from llama_index.core.memory import ChatMemoryBuffer, ChatSummaryMemoryBuffer

from inside import ChatLog, Page
from langchain_kronvex import InvalidInput, KronvexMemory, StoreError
from langchain_kronvex.llama_index import KronvexChatStore

from .parts import Call, ScriptedModel, assistant, both_ways, texts, user

TURNS = [user("a"), assistant("A"), user("b"), assistant("B")]


@pytest.fixture
def store(memory: KronvexMemory) -> KronvexChatStore:
    return KronvexChatStore(memory=memory, user_id="ana")


def remembered(memory: KronvexMemory, user_id: str = "ana") -> list[str]:
    return sorted(found.content for found in memory.memories(user_id=user_id))


@both_ways
async def test_messages_are_appended_in_order(store: KronvexChatStore, call: Call) -> None:
    for message in TURNS:
        await call(store, "add_message", "monday", message)

    assert await call(store, "get_messages", "monday") == TURNS
    assert await call(store, "get_messages", "tuesday") == []
    assert await call(store, "get_keys") == ["monday"]


@both_ways
async def test_a_message_is_erased_by_its_index(store: KronvexChatStore, call: Call) -> None:
    await call(store, "set_messages", "monday", TURNS)

    assert await call(store, "delete_message", "monday", 4) is None
    assert await call(store, "delete_message", "monday", -5) is None
    assert await call(store, "delete_message", "monday", 1) == TURNS[1]
    assert await call(store, "delete_message", "monday", -2) == TURNS[2]
    assert await call(store, "delete_last_message", "monday") == TURNS[3]
    assert await call(store, "get_messages", "monday") == TURNS[:1]
    assert await call(store, "delete_messages", "monday") == TURNS[:1]
    assert await call(store, "delete_messages", "monday") is None
    assert await call(store, "delete_last_message", "monday") is None
    assert await call(store, "get_keys") == []


@both_ways
async def test_setting_messages_keeps_the_unchanged_start(
    store: KronvexChatStore, call: Call
) -> None:
    await call(store, "set_messages", "monday", TURNS)
    first = [record.id for record in records(store)]
    changed = [*TURNS[:3], assistant("other"), user("c")]
    await call(store, "set_messages", "monday", changed)

    assert await call(store, "get_messages", "monday") == changed
    assert [record.id for record in records(store)][:3] == first[:3]
    await call(store, "set_messages", "monday", [])
    assert await call(store, "get_keys") == []


def records(store: KronvexChatStore) -> list[Any]:
    memory = store.memory
    at = ChatLog.of(memory.engine, "monday", store.user_id)
    return memory.engine.backend.find(at.select("message"), Page(), memory.engine.clock())


@given(
    before=st.lists(st.sampled_from("abcd"), max_size=5),
    after=st.lists(st.sampled_from("abcd"), max_size=5),
    status=st.booleans(),
)
@settings(deadline=None, max_examples=30)
def test_set_messages_are_returned_by_get_messages(
    before: list[str], after: list[str], status: bool
) -> None:
    def said(letters: list[str]) -> list[ChatMessage]:
        return [assistant(letter) if letter > "b" else user(letter) for letter in letters]

    with KronvexMemory("sqlite://") as memory:
        store = KronvexChatStore(memory=memory, user_id="ana", remember=status)
        store.set_messages("monday", said(before))
        store.set_messages("monday", said(after))

        assert store.get_messages("monday") == said(after)
        assert memory.stats().messages == len(after)


def test_replaced_text_is_gone_from_the_file(store: KronvexChatStore, tmp_path: Any) -> None:
    store.remember = False
    store.set_messages("monday", [user("xyzzy-1"), assistant("xyzzy-2")])
    store.set_messages("monday", [user("xyzzy-1"), assistant("fine")])
    store.add_message("monday", user("xyzzy-3"))
    store.delete_last_message("monday")
    held = b"".join(path.read_bytes() for path in tmp_path.glob("memory.db*"))

    assert b"xyzzy-1" in held
    assert b"xyzzy-2" not in held
    assert b"xyzzy-3" not in held


def test_a_failing_store_leaves_the_chat_as_it_was(
    store: KronvexChatStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.set_messages("monday", TURNS)
    backend = store.memory.engine.backend
    with monkeypatch.context() as patch:

        def failing(*_: Any, **__: Any) -> Any:
            raise StoreError("the disk is gone")

        patch.setattr(backend, "add", failing)
        with pytest.raises(StoreError):
            store.set_messages("monday", [user("new")])
    assert store.get_messages("monday") == TURNS
    with monkeypatch.context() as patch:
        patch.setattr(backend, "delete", failing)
        with pytest.raises(StoreError):
            store.set_messages("monday", [user("new")])
    # The old messages are not erased yet, but no reader sees them any more.
    assert store.get_messages("monday") == [user("new")]


def test_two_erasures_of_the_last_message_erase_two_messages(store: KronvexChatStore) -> None:
    store.set_messages("monday", [user(str(number)) for number in range(20)])
    with ThreadPoolExecutor(4) as pool:
        erased = list(pool.map(lambda _: store.delete_last_message("monday"), range(20)))

    assert sorted(int(str(m.content)) for m in erased if m) == list(range(20))
    assert store.get_messages("monday") == []


# -- users -------------------------------------------------------------------------------------


def test_users_agents_and_stores_without_a_user_are_kept_apart(memory: KronvexMemory) -> None:
    ana, ben, nobody = (
        KronvexChatStore(memory=memory, user_id=user_id) for user_id in ("ana", "ben", None)
    )
    with memory.for_agent("other agent") as other:
        stores = [ana, ben, nobody, KronvexChatStore(memory=other, user_id="ana")]
        for number, store in enumerate(stores):
            store.add_message("monday", user(f"secret {number}"))
        ben.delete_messages("monday")
        ben.add_message("of ben", user("secret"))

        assert [texts(store.get_messages("monday")) for store in stores] == [
            ["user: secret 0"], [], ["user: secret 2"], ["user: secret 3"],
        ]  # fmt: skip
        assert [store.get_keys() for store in stores] == [
            ["monday"], ["of ben"], ["monday"], ["monday"],
        ]  # fmt: skip


HOSTILE = [
    "%", "_", "a_b", "a-b", "A_B", " x ", "'; DROP TABLE records; --", "\u00e9", "e\u0301", "🐈",
    '{"a": 1}', "../x", "a" * 255, "\x01", "chat_history", "*", "key:1",
]  # fmt: skip


def test_any_text_is_an_ordinary_key(memory: KronvexMemory) -> None:
    store = KronvexChatStore(memory=memory, user_id="ana")
    for name in HOSTILE:
        store.add_message(name, user(f"of {name!r}"))

    assert sorted(store.get_keys()) == sorted(HOSTILE)
    assert [texts(store.get_messages(name)) for name in HOSTILE] == [
        [f"user: of {name!r}"] for name in HOSTILE
    ]
    store.delete_messages("%")
    assert len(store.get_keys()) == len(HOSTILE) - 1


@pytest.mark.parametrize("key", ["", " ", "\n", "a" * 256, "a\0b", "\ud800", 7, None])
@both_ways
async def test_an_invalid_key_is_rejected(store: KronvexChatStore, call: Call, key: Any) -> None:
    for verb, *rest in (
        ("add_message", user("x")), ("set_messages", [user("x")]), ("get_messages",),
        ("delete_messages",), ("delete_message", 0), ("delete_last_message",),
    ):  # fmt: skip
        with pytest.raises(InvalidInput, match="key"):
            await call(store, verb, key, *rest)
    assert store.memory.stats().messages == 0


@pytest.mark.parametrize("place", [True, 1.0, "1", None])
def test_an_invalid_index_is_rejected(store: KronvexChatStore, place: Any) -> None:
    store.add_message("monday", user("a"))
    with pytest.raises(InvalidInput, match="idx"):
        store.delete_message("monday", place)
    assert len(store.get_messages("monday")) == 1


def test_an_invalid_user_is_rejected(memory: KronvexMemory) -> None:
    store = KronvexChatStore(memory=memory, user_id=" ")
    with pytest.raises(InvalidInput, match="user_id"):
        store.add_message("monday", user("a"))


def test_forgetting_a_user_erases_the_conversations(store: KronvexChatStore) -> None:
    for key in ("monday", "tuesday"):
        store.set_messages(key, TURNS)
    store.memory.forget(user_id="ana", session_id="monday")
    assert store.get_keys() == ["tuesday"]
    store.memory.forget(user_id="ana")
    assert store.get_messages("tuesday") == []


# -- together with LangChain --------------------------------------------------------------------


def test_langchain_reads_and_continues_a_key_as_a_session(store: KronvexChatStore) -> None:
    store.set_messages("monday", TURNS[:2])
    history = store.memory.chat_history("monday", "ana")
    assert [(m.type, m.text) for m in history.messages] == [("human", "a"), ("ai", "A")]
    history.add_messages([HumanMessage("b"), AIMessage("B")])

    assert store.get_messages("monday") == TURNS
    # Setting unchanged messages rewrites nothing, so LangChain's form is kept.
    before = [record.id for record in records(store)]
    store.set_messages("monday", store.get_messages("monday"))
    assert [record.id for record in records(store)] == before


# -- remembering --------------------------------------------------------------------------------


@both_ways
async def test_exchanges_are_remembered(store: KronvexChatStore, call: Call) -> None:
    await call(store, "add_message", "monday", user("I am allergic to peanuts."))
    assert remembered(store.memory) == ["User: I am allergic to peanuts."]
    await call(store, "add_message", "monday", assistant("Noted."))
    assert remembered(store.memory) == ["User: I am allergic to peanuts.\nAssistant: Noted."]
    await call(store, "set_messages", "tuesday", [*TURNS, ChatMessage("S", role="system")])
    assert len(remembered(store.memory)) == 3


def test_a_replaced_answer_is_remembered_with_its_question(store: KronvexChatStore) -> None:
    store.set_messages("monday", TURNS)
    store.set_messages("monday", [*TURNS[:3], assistant("B2")])

    assert "User: b\nAssistant: B2" in remembered(store.memory)
    assert not [text for text in remembered(store.memory) if text.startswith("Assistant")]


def test_shortening_a_chat_remembers_nothing_again(store: KronvexChatStore) -> None:
    store.set_messages("monday", TURNS)
    before = remembered(store.memory)
    store.set_messages("monday", TURNS[:2])
    store.set_messages("monday", TURNS)
    assert remembered(store.memory) == before


def test_without_remember_nothing_is_remembered(memory: KronvexMemory) -> None:
    KronvexChatStore(memory=memory, user_id="ana", remember=False).set_messages("monday", TURNS)
    assert remembered(memory) == []


# -- in LlamaIndex's buffers ---------------------------------------------------------------------


def words(text: str) -> list[str]:
    return text.split()


def test_a_buffer_reads_its_window_and_all_messages_are_kept(store: KronvexChatStore) -> None:
    buffer = ChatMemoryBuffer.from_defaults(
        token_limit=3, tokenizer_fn=words, chat_store=store, chat_store_key="monday"
    )
    for message in TURNS:
        buffer.put(message)
    assert buffer.get() == TURNS[2:]
    assert buffer.get_all() == TURNS
    buffer.reset()
    assert store.get_keys() == []


def test_a_summary_buffer_works_on_the_store(store: KronvexChatStore) -> None:
    model = ScriptedModel(answer=lambda _: assistant("summary"))
    buffer = ChatSummaryMemoryBuffer.from_defaults(
        chat_store=store, chat_store_key="monday", llm=model, token_limit=2, tokenizer_fn=words
    )
    for message in TURNS:
        buffer.put(message)
    assert texts(buffer.get()) == ["system: summary", "user: b", "assistant: B"]
    assert texts(store.get_messages("monday")) == ["system: summary", "user: b", "assistant: B"]


def test_a_dump_contains_the_location_and_no_messages(store: KronvexChatStore) -> None:
    store.add_message("monday", user("xyzzy"))
    buffer = ChatMemoryBuffer.from_defaults(chat_store=store, chat_store_key="monday")
    dumped = json.loads(buffer.to_string())["chat_store"]

    assert dumped == {
        "class_name": "KronvexChatStore", "location": store.memory.location, "remember": True,
        "user_id": "ana",
    }  # fmt: skip
    again = KronvexChatStore.from_dict(dumped, memory=store.memory)
    assert texts(again.get_messages("monday")) == ["user: xyzzy"]


def test_forgetting_a_memory_empties_its_messages(
    store: KronvexChatStore, memory: KronvexMemory
) -> None:
    call = ToolCallBlock(tool_call_id="c1", tool_name="save", tool_kwargs={"pin": "4711"})
    answer = ChatMessage(role="assistant", blocks=[call, TextBlock(text="I will keep 4711")])
    kept = ChatMessage(role="user", content="And tea?", additional_kwargs={"mood": ["calm"]})
    store.set_messages("monday", [user("My PIN is 4711"), answer, kept, assistant("Green")])
    [chosen] = [found for found in memory.memories(user_id="ana") if "4711" in found.content]

    assert memory.forget(id=chosen.id) == 1
    question, answer, *others = store.get_messages("monday")
    assert (question.role, question.content) == (user("").role, "[forgotten]")
    assert "4711" not in repr(answer)
    assert [block.tool_call_id for block in answer.blocks if hasattr(block, "tool_call_id")] == [
        "c1"
    ]
    assert others == [kept, assistant("Green")]
