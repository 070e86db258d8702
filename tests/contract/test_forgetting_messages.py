"""Forgetting one memory also empties the messages it was made of; the history stays valid."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from contract.drivers import Driver
from langchain_kronvex import InvalidInput

FORGOTTEN = "[forgotten]"


def say(memory: Driver, *texts: str, session: str = "chat", **options: Any) -> None:
    """Save texts of the user and the assistant in turn, each in a call of its own."""
    for number, text in enumerate(texts):
        message = AIMessage(text) if number % 2 else HumanMessage(text)
        memory.save_messages([message], session, user_id="ana", **options)


def said(memory: Driver, session: str = "chat") -> list[str]:
    return [message.text for message in memory.load_messages(session, user_id="ana")]


def named(memory: Driver, part: str, **scope: Any) -> str:
    """The id of the one memory that holds a text."""
    [found] = [m for m in memory.memories(user_id="ana", **scope) if part in m.content]
    return str(found.id)


def raw_messages(memory: Driver) -> str:
    """The stored messages of all sessions, as they are written."""
    engine = memory.memory.engine
    sessions = {s.session_id for s in memory.sessions(user_id="ana")}
    logs = [memory.load_messages(session, user_id="ana") for session in sessions]
    assert engine.flush(30)
    return "".join(repr(message) for log in logs for message in log)


def test_both_sides_of_an_exchange_are_emptied(memory: Driver) -> None:
    say(memory, "My PIN is 4711", "I will keep 4711", "And tea?", "Green")
    assert memory.forget(id=named(memory, "4711")) == 1
    assert said(memory) == [FORGOTTEN, FORGOTTEN, "And tea?", "Green"]
    assert [m.content for m in memory.memories(user_id="ana")] == [
        "User: And tea?\nAssistant: Green"
    ]
    assert all("4711" not in m.content for m in memory.recall("4711", user_id="ana"))
    say(memory, "Next", "Fine")
    assert said(memory)[-2:] == ["Next", "Fine"]


def test_keep_messages_leaves_the_history(memory: Driver) -> None:
    say(memory, "My PIN is 4711", "Noted")
    assert memory.forget(id=named(memory, "4711"), keep_messages=True) == 1
    assert said(memory) == ["My PIN is 4711", "Noted"]
    with pytest.raises(InvalidInput, match="keep_messages must be True or False"):
        memory.forget(user_id="ana", keep_messages="yes")
    assert said(memory) == ["My PIN is 4711", "Noted"]


def test_tool_calls_keep_their_ids_and_models_accept_the_history(memory: Driver) -> None:
    call = {"name": "save_pin", "args": {"pin": "4711"}, "id": "call-1", "type": "tool_call"}
    extra = {"tool_calls": [{"id": "call-1", "function": {"arguments": "4711"}}]}
    turn: list[BaseMessage] = [
        SystemMessage("Be brief."),
        HumanMessage("My PIN is 4711", id="question"),
        AIMessage("", tool_calls=[call], additional_kwargs=extra, id="calling"),
        ToolMessage("saved 4711", tool_call_id="call-1", artifact={"pin": "4711"}, name="save_pin"),
        AIMessage([{"type": "text", "text": "Saved 4711"}], response_metadata={"x": "4711"}),
    ]
    memory.save_messages(turn, "chat", user_id="ana")
    assert memory.forget(id=named(memory, "4711")) == 1
    system, question, calling, result, answer = memory.load_messages("chat", user_id="ana")
    assert (system.text, question.id, calling.id) == ("Be brief.", "question", "calling")
    assert calling.tool_calls == [{**call, "args": {}}]
    assert (result.tool_call_id, result.name, result.status) == ("call-1", "save_pin", "success")
    assert [m.text for m in (question, result, answer)] == [FORGOTTEN] * 3
    assert "4711" not in raw_messages(memory)


def test_a_call_that_stored_the_memory_and_results_that_showed_it_are_emptied(
    memory: Driver,
) -> None:
    kept = memory.remember("Ana likes tea.", user_id="ana", session_id="chat")
    calls = [
        {"name": "remember", "args": {"content": "Ana likes tea."}, "id": "c1"},
        {"name": "recall", "args": {"query": "drinks"}, "id": "c2"},
    ]
    turn: list[BaseMessage] = [
        HumanMessage("Please note what I drink"),
        AIMessage("", tool_calls=calls),
        ToolMessage(f"Remembered: {kept.id} [semantic] Ana likes tea.", tool_call_id="c1"),
        ToolMessage("nothing else", tool_call_id="c2"),
        AIMessage("Done"),
    ]
    memory.save_messages(turn, "chat", user_id="ana")
    memory.save_messages([HumanMessage("Ana likes tea.")], "chat", user_id="ana")
    assert memory.forget(id=kept.id, user_id="ana") == 1
    texts = ["Please note what I drink", FORGOTTEN, FORGOTTEN, "nothing else", "Done", FORGOTTEN]
    assert said(memory) == texts


@pytest.mark.parametrize("answers", [["A1"], ["A1", "A2"], []], ids=["one", "two", "none"])
def test_every_message_of_a_memory_goes(memory: Driver, answers: list[str]) -> None:
    say(memory, "zebra?")
    for answer in answers:
        memory.save_messages([AIMessage(answer)], "chat", user_id="ana")
    memory.forget(id=named(memory, "zebra"))
    assert said(memory) == [FORGOTTEN] * (1 + len(answers))


def test_an_exchange_that_was_said_twice_is_one_memory_and_goes_twice(memory: Driver) -> None:
    say(memory, "zebra?", "yes", "other", "thing", "zebra?", "yes")
    memory.forget(id=named(memory, "zebra"))
    assert said(memory) == [FORGOTTEN, FORGOTTEN, "other", "thing", FORGOTTEN, FORGOTTEN]


def test_a_question_that_had_no_answer_goes_with_the_one_that_had(memory: Driver) -> None:
    say(memory, "My PIN is 4711")
    say(memory, "My PIN is 4711", "Noted")
    memory.forget(id=named(memory, "4711"))
    assert said(memory) == [FORGOTTEN] * 3


def test_the_same_question_with_another_answer_stays(memory: Driver) -> None:
    say(memory, "zebra?", "yes", "zebra?", "no")
    memory.forget(id=named(memory, "yes"))
    assert said(memory) == [FORGOTTEN, FORGOTTEN, "zebra?", "no"]


def test_two_memories_of_one_message_are_forgotten_one_by_one(memory: Driver) -> None:
    say(memory, "zebra", "tea")
    exchange = memory.save_exchange("zebra", "tea", user_id="ana", session_id="chat")[0]
    fact = memory.remember("zebra", user_id="ana", session_id="chat", memory_type="fact")
    assert memory.forget(id=fact.id) == 1
    assert said(memory) == [FORGOTTEN, "tea"]
    assert memory.forget(id=exchange.id) == 1
    assert memory.memories(user_id="ana") == []


def test_answers_without_a_question_and_answers_that_are_not_remembered(memory: Driver) -> None:
    memory.save_messages([AIMessage("Welcome, zebra")], "chat", user_id="ana")
    memory.save_messages([AIMessage("Welcome again")], "chat", user_id="ana")
    say(memory, "okapi?")
    memory.save_messages([AIMessage("unsaid okapi")], "chat", user_id="ana", remember=False)
    memory.forget(id=named(memory, "zebra"))
    assert said(memory) == [FORGOTTEN, "Welcome again", "okapi?", "unsaid okapi"]
    memory.forget(id=named(memory, "okapi"))
    assert said(memory) == [FORGOTTEN, "Welcome again", FORGOTTEN, FORGOTTEN]


def test_other_sessions_users_and_ids_are_left_alone(memory: Driver) -> None:
    for session in ("chat", "other"):
        say(memory, "zebra?", "yes", session=session)
    memory.save_messages([HumanMessage("zebra?"), AIMessage("yes")], "chat", user_id="bob")
    chosen = named(memory, "zebra", session_id="chat")
    assert memory.forget(id=chosen, user_id="bob") == 0
    assert memory.forget(id="unknown") == 0
    assert said(memory) == ["zebra?", "yes"]
    assert memory.forget(id=chosen, user_id="ana") == 1
    assert (said(memory), said(memory, "other")) == ([FORGOTTEN] * 2, ["zebra?", "yes"])
    assert len(memory.recall("zebra", user_id="bob")) == 1
    assert [m.text for m in memory.load_messages("chat", user_id="bob")] == ["zebra?", "yes"]


def test_an_answer_to_a_forgotten_question_is_not_remembered(memory: Driver) -> None:
    question = HumanMessage("My PIN is 4711")
    exchange = memory.save_messages([question], "chat", user_id="ana")
    memory.forget(id=exchange)
    memory.save_messages([AIMessage("Gone")], "chat", user_id="ana", reply_to=exchange)
    assert (said(memory), memory.memories(user_id="ana")) == ([FORGOTTEN, "Gone"], [])


def test_answers_that_arrive_meanwhile_go_too(memory: Driver, monkeypatch: Any) -> None:
    exchange = memory.save_messages([HumanMessage("My PIN is 4711")], "chat", user_id="ana")
    backend = memory.memory.engine.backend
    find, late = backend.find, threading.Lock()

    def answered_at_the_last_moment(selection: Any, *rest: Any) -> Any:
        found = find(selection, *rest)
        if selection.kind == "message" and late.acquire(blocking=False):
            answer = AIMessage("I will keep 4711")
            memory.memory.save_messages([answer], "chat", user_id="ana", reply_to=exchange)
        return found

    monkeypatch.setattr(backend, "find", answered_at_the_last_moment)
    assert memory.forget(id=exchange) == 1
    assert (said(memory), memory.memories(user_id="ana")) == ([FORGOTTEN] * 2, [])


# -- single messages ---------------------------------------------------------------------------


def test_a_message_is_deleted_by_its_id_or_by_itself(memory: Driver) -> None:
    history = memory.memory.chat_history("chat", "ana")
    history.add_messages([HumanMessage("one", id="m1"), AIMessage("two"), HumanMessage("three")])
    assert (history.delete("m1"), history.delete("m1"), history.delete("two")) == (1, 0, 0)
    assert history.delete(AIMessage("two")) == 1
    assert said(memory) == ["three"]
    assert len(memory.memories(user_id="ana")) == 2
    other = memory.memory.chat_history("chat", "bob")
    assert other.delete(HumanMessage("three")) == 0
    for wrong in ("", None, 7, ["m1"]):
        with pytest.raises(InvalidInput, match="message_id"):
            history.delete(wrong)  # type: ignore[arg-type]
    assert said(memory) == ["three"]


def test_results_go_with_the_call(memory: Driver) -> None:
    history = memory.memory.chat_history("chat", "ana")
    call = {"name": "look", "args": {}, "id": "c1"}
    result = ToolMessage("seen", tool_call_id="c1")
    history.add_messages([HumanMessage("a"), AIMessage("", tool_calls=[call], id="x"), result])
    assert history.delete("x") == 2
    assert said(memory) == ["a"]
