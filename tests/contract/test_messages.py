"""Chat messages: exact, in order, separate for each conversation, and remembered."""

from __future__ import annotations

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from contract.drivers import Clock, Driver

CONVERSATION: list[BaseMessage] = [
    SystemMessage("Be kind."),
    HumanMessage("Where is the ladder?", id="h1", name="ana"),
    AIMessage(
        "",
        id="a1",
        tool_calls=[{"name": "find", "args": {"what": "ladder"}, "id": "t1", "type": "tool_call"}],
    ),
    ToolMessage("shed", tool_call_id="t1", artifact={"x": [1]}),
    AIMessage("In the shed.", response_metadata={"model": "m"}, additional_kwargs={"k": None}),
    HumanMessage([{"type": "text", "text": "Thanks ☕"}, {"type": "image_url", "image_url": "u"}]),
    AIMessage("\0 strange \ud800 text \u2028"),
]


def test_messages_come_back_exactly_and_in_order(memory: Driver) -> None:
    memory.save_messages(CONVERSATION, "s", user_id="ana")
    assert memory.load_messages("s", user_id="ana") == CONVERSATION
    memory.save_messages([HumanMessage("more")], "s", user_id="ana")
    assert memory.load_messages("s", user_id="ana") == [*CONVERSATION, HumanMessage("more")]


def test_the_same_message_twice_is_two_messages(memory: Driver) -> None:
    for _ in range(3):
        memory.save_messages([HumanMessage("hi", id="same")], "s", user_id="ana")
    assert [m.content for m in memory.load_messages("s", user_id="ana")] == ["hi"] * 3


def test_order_is_that_of_writing_whatever_the_clock_says(memory: Driver, clock: Clock) -> None:
    for n in range(5):
        memory.save_messages([HumanMessage(f"{n}")], "s", user_id="ana", remember=False)
        clock.advance(hours=-1)
    assert [m.content for m in memory.load_messages("s", user_id="ana")] == list("01234")


def test_saving_no_messages_stores_nothing(memory: Driver) -> None:
    assert memory.save_messages([], "s", user_id="ana") is None
    assert memory.load_messages("s", user_id="ana") == []
    assert memory.stats().users == 0


def test_a_chunk_is_kept_as_the_message_it_belongs_to(memory: Driver) -> None:
    memory.save_messages([AIMessageChunk("streamed")], "s", user_id="ana")
    loaded = memory.load_messages("s", user_id="ana")
    assert [type(m) for m in loaded] == [AIMessage]
    assert loaded[0].content == "streamed"


def test_a_window_starts_at_a_turn(memory: Driver) -> None:
    call = {"name": "f", "args": {}, "id": "t", "type": "tool_call"}
    messages = [
        HumanMessage("1"),
        AIMessage("2"),
        HumanMessage("3"),
        AIMessage("", tool_calls=[call]),
        ToolMessage("5", tool_call_id="t"),
        AIMessage("6"),
        HumanMessage("7"),
        AIMessage("8"),
    ]
    memory.save_messages(messages, "s", user_id="ana", remember=False)
    for most, kept in (
        (1, 2), (2, 2), (3, 2), (5, 2), (6, 6), (7, 6), (8, 8), (9, 8), (100, 8), (2**70, 8),
    ):  # fmt: skip
        loaded = memory.load_messages("s", user_id="ana", max_messages=most)
        assert loaded == messages[-kept:], most


def test_a_last_turn_longer_than_the_window_is_loaded_whole(memory: Driver) -> None:
    call = {"name": "f", "args": {}, "id": "t", "type": "tool_call"}
    turn = [
        HumanMessage("go"),
        *[AIMessage("", tool_calls=[call]), ToolMessage("x", tool_call_id="t")] * 40,
        AIMessage("done"),
    ]
    memory.save_messages([HumanMessage("before"), *turn], "s", user_id="ana", remember=False)
    assert memory.load_messages("s", user_id="ana", max_messages=2) == turn


def test_the_exchange_of_a_turn_is_remembered(memory: Driver) -> None:
    memory.save_messages(CONVERSATION[:5], "s", user_id="ana")
    listed = memory.memories(user_id="ana", session_id="s")
    assert [m.content for m in listed] == ["User: Where is the ladder?\nAssistant: In the shed."]
    assert memory.recall("ladder", user_id="ana")[0].id == listed[0].id


def test_a_question_is_remembered_at_once_and_completed_by_its_answer(memory: Driver) -> None:
    first = memory.save_messages([HumanMessage("Where is the ladder?")], "s", user_id="ana")
    assert memory.get(first).content == "User: Where is the ladder?"
    memory.recall("ladder", user_id="ana")
    second = memory.save_messages([AIMessage("In the shed.")], "s", user_id="ana")
    assert second == first
    full = "User: Where is the ladder?\nAssistant: In the shed."
    assert [m.content for m in memory.memories(user_id="ana")] == [full]
    assert [m.content for m in memory.recall("ladder", user_id="ana")] == [full]


def test_an_answer_completes_the_exchange_it_is_told_to(memory: Driver) -> None:
    one = memory.save_messages([HumanMessage("one?")], "s", user_id="ana")
    memory.save_messages([HumanMessage("two?")], "s", user_id="ana")
    memory.save_messages([AIMessage("one!")], "s", user_id="ana", reply_to=one)
    assert {m.content for m in memory.memories(user_id="ana")} == {
        "User: one?\nAssistant: one!",
        "User: two?",
    }


def test_an_exchange_of_another_user_cannot_be_completed(memory: Driver) -> None:
    of_bob = memory.save_messages([HumanMessage("bob?")], "s", user_id="bob")
    memory.save_messages([AIMessage("hello")], "s", user_id="ana", reply_to=of_bob)
    assert memory.get(of_bob).content == "User: bob?"
    assert all("bob" not in m.content for m in memory.memories(user_id="ana"))


def test_messages_can_be_kept_without_being_remembered(memory: Driver) -> None:
    assert memory.save_messages(CONVERSATION, "s", user_id="ana", remember=False) is None
    assert memory.memories(user_id="ana") == []
    assert memory.stats().messages == len(CONVERSATION)


def test_clearing_messages_keeps_the_memories(memory: Driver) -> None:
    memory.save_messages([HumanMessage("tea?"), AIMessage("yes")], "s", user_id="ana")
    memory.save_messages([HumanMessage("tea?")], "s2", user_id="ana")
    memory.save_messages([HumanMessage("tea?")], "s", user_id="bob")
    assert memory.clear_messages("s", user_id="ana") == 2
    assert memory.load_messages("s", user_id="ana") == []
    assert len(memory.load_messages("s2", user_id="ana")) == 1
    assert len(memory.load_messages("s", user_id="bob")) == 1
    assert len(memory.memories(user_id="ana")) == 2
    assert memory.clear_messages("s", user_id="ana") == 0


def test_messages_do_not_show_as_memories(memory: Driver) -> None:
    memory.save_messages([HumanMessage("tea")], "s", user_id="ana", remember=False)
    assert memory.recall("tea", user_id="ana") == []
    assert memory.inject_context("tea", user_id="ana").context == ""
    assert memory.memories(user_id="ana") == []


def test_a_message_longer_than_a_memory_may_be_is_kept_whole(memory: Driver) -> None:
    long = HumanMessage("tea " * 300_000)
    memory.save_messages([long, AIMessage("ok")], "s", user_id="ana")
    assert memory.load_messages("s", user_id="ana")[0] == long
    assert len(memory.memories(user_id="ana")[0].content) == 1_048_576
    assert memory.recall("tea", user_id="ana")[0].similarity > 0


def test_messages_survive_reopening(open_shared) -> None:
    first = open_shared()
    first.save_messages(CONVERSATION, "s", user_id="ana")
    first.close()
    assert open_shared().load_messages("s", user_id="ana") == CONVERSATION
