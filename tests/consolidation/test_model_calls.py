"""How a model is asked: structured output, JSON from a text, costs, and who listens."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableLambda
from langchain_openai import ChatOpenAI
from openai.lib._pydantic import _ensure_strict_json_schema

from inside import PROMPT, RUN_NAME, answer_schema, ask, correcting, read_answer, render
from langchain_kronvex import ConsolidationRefused
from langchain_kronvex.consolidation import Fact, Preference, Procedure

from .batches import batch, fact
from .models import TextModel, ToolModel, called, openai_server

SCHEMA = answer_schema([Fact, Preference, Procedure])
MESSAGES = [SystemMessage("Remember."), HumanMessage("user| I moved.")]
RAW = {"Fact": [fact("Ana lives in Porto.")], "confirmed": []}
USAGE = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}
SECRET = "zebra"


def openai(url: str, **options: Any) -> ChatOpenAI:
    return ChatOpenAI(model="gpt-5-mini", base_url=url, api_key="-", max_retries=0, **options)


def message(content: Any, **fields: Any) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": content, **fields}}


def test_openai_is_asked_for_strict_output() -> None:
    asked = list[dict[str, Any]]()

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        asked.append(body)
        return message(json.dumps(RAW))

    with openai_server(answer) as url:
        found = ask(openai(url), PROMPT.format_messages(**render(batch("I moved."))), SCHEMA)

    assert (found.raw, found.input_tokens, found.output_tokens) == (RAW, 120, 34)
    assert read_answer(found.raw, batch("I moved."), [Fact, Preference, Procedure]).added
    sent = asked[0]["response_format"]["json_schema"]
    assert sent["name"] == "consolidation"
    assert sent["strict"] is True
    schema = sent["schema"]
    # What the client of OpenAI makes of a schema for its strict mode changes nothing here.
    assert _ensure_strict_json_schema(json.loads(json.dumps(schema)), path=(), root={}) == schema
    assert "user| I moved." in asked[0]["messages"][-1]["content"]


def test_openai_by_a_tool() -> None:
    def answer(body: dict[str, Any]) -> dict[str, Any]:
        assert body["tools"][0]["function"]["strict"] is True
        function = {"name": "consolidation", "arguments": json.dumps(RAW)}
        return message(None, tool_calls=[{"id": "1", "type": "function", "function": function}])

    class Older(ChatOpenAI):
        def with_structured_output(
            self, schema: Any = None, *, strict: Any = None, **_: Any
        ) -> Any:
            return super().with_structured_output(
                schema, method="function_calling", strict=strict, include_raw=True
            )

    with openai_server(answer) as url:
        assert ask(Older(model="local", base_url=url, api_key="-"), MESSAGES, SCHEMA).raw == RAW


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (message(None, refusal=f"No {SECRET}"), "not one JSON object"),
        (message("I'd rather talk."), "not one JSON object"),
        (message("[1]"), "not one JSON object"),
        ({**message('{"Fact": [{"te'), "finish_reason": "length"}, "cut off"),
    ],
    ids=["refusal", "prose", "list", "length"],
)
def test_openai_answers_something_else(choice: dict[str, Any], said: str) -> None:
    with (
        openai_server(lambda body: choice) as url,
        pytest.raises(ConsolidationRefused, match=said) as raised,
    ):
        ask(openai(url), MESSAGES, SCHEMA)
    assert SECRET not in str(raised.value)


def test_errors_of_the_provider_pass_through() -> None:
    class Broken(ToolModel):
        def _generate(self, *args: Any, **kwargs: Any) -> Any:
            raise ConnectionError("provider is down")

    with pytest.raises(ConnectionError):
        ask(Broken(answer=called({})), MESSAGES, SCHEMA)


def test_a_model_with_tools() -> None:
    found = ask(ToolModel(answer=called(RAW, usage_metadata=USAGE)), MESSAGES, SCHEMA)
    assert (found.raw, found.input_tokens, found.output_tokens) == (RAW, 7, 3)


def test_a_model_with_tools_that_answers_in_text() -> None:
    assert ask(ToolModel(answer=AIMessage(json.dumps(RAW))), MESSAGES, SCHEMA).raw == RAW


@pytest.mark.parametrize(
    "metadata",
    [{"finish_reason": "length"}, {"stop_reason": "max_tokens"}, {"finish_reason": "MAX_TOKENS"}],
    ids=str,
)
def test_an_answer_cut_off_is_not_completed(metadata: dict[str, Any]) -> None:
    answer = called(RAW, response_metadata=metadata, usage_metadata=USAGE)
    with pytest.raises(ConsolidationRefused, match="cut off") as raised:
        ask(ToolModel(answer=answer), MESSAGES, SCHEMA)
    assert (raised.value.input_tokens, raised.value.output_tokens) == (7, 3)


DRAFT = json.dumps({"Fact": []})


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(RAW),
        f"Here it is:\n```json\n{json.dumps(RAW, indent=2)}\n```\nAnything else?",
        f"<think>First {DRAFT}? {{no}} ```{{}}``` no.</think>\n{json.dumps(RAW)}",
        f"Sure!{json.dumps(RAW)}",
    ],
    ids=["bare", "fenced", "reasoning", "prose"],
)
def test_json_from_a_model_that_only_writes_text(text: str) -> None:
    model = TextModel(answer=AIMessage(text, usage_metadata=USAGE))
    found = ask(model, MESSAGES, SCHEMA)
    assert (found.raw, found.input_tokens) == (RAW, 7)
    (shown,) = model.shown
    assert [each.type for each in shown] == ["system", "human"]
    assert shown[1].text.startswith("user| I moved.\n\nAnswer with one JSON object")
    assert json.dumps(SCHEMA) in shown[1].text
    assert ask(TextModel(answer=AIMessage("```json\n{}\n```")), MESSAGES, SCHEMA).raw == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I know nothing.",
        "[]",
        "null",
        '{"Fact": [{"text": "Ana {} lives", "sources": [1]}, {"text": "An',
        '{"a":' * 20_000,
        "{" * 20_000,
    ],
    ids=["blank", "prose", "list", "null", "broken", "deep", "braces"],
)
def test_texts_without_the_object_are_refused(text: str) -> None:
    with pytest.raises(ConsolidationRefused, match="not one JSON object"):
        ask(TextModel(answer=AIMessage(text, usage_metadata=USAGE)), MESSAGES, SCHEMA)


def test_costs_are_0_if_the_provider_does_not_say() -> None:
    found = ask(TextModel(answer=AIMessage(DRAFT)), MESSAGES, SCHEMA)
    assert (found.input_tokens, found.output_tokens) == (0, 0)


class Listener(BaseCallbackHandler):
    def __init__(self) -> None:
        self.heard: list[Any] = []

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        self.heard.append((kwargs.get("name"), kwargs["tags"]))

    def on_llm_new_token(self, token: str, **kwargs: Any) -> None:
        self.heard.append(token)


@pytest.mark.parametrize("kind", [TextModel, ToolModel], ids=["text", "tools"])
def test_a_turn_under_way_neither_hears_the_call_nor_its_tokens(kind: Any) -> None:
    around, own = Listener(), Listener()
    model = kind(answer=AIMessage(json.dumps(RAW)), callbacks=[own])

    def turn(_: str) -> Any:
        return ask(model, MESSAGES, SCHEMA).raw

    config: Any = {"callbacks": [around], "tags": ["turn"], "run_name": "turn"}
    events = list(RunnableLambda(turn).stream("hello", config))
    assert events == [RAW]
    assert around.heard == []
    ((_, tags),) = own.heard
    assert RUN_NAME in tags
    assert "turn" not in tags


async def test_events_of_a_stream_do_not_hold_the_call() -> None:
    model = ToolModel(answer=called(RAW))
    chain = RunnableLambda(lambda _: ask(model, MESSAGES, SCHEMA).raw)
    kinds = [event["event"] async for event in chain.astream_events("hello", version="v2")]
    assert "on_chain_end" in kinds
    assert not [kind for kind in kinds if "chat_model" in kind]


def test_the_second_try_says_what_was_wrong() -> None:
    again = correcting(MESSAGES, ConsolidationRefused("Fact 1 has no sources."))
    assert [each.type for each in again] == ["system", "human"]
    assert again[1].text.startswith("user| I moved.\n\nYour last answer was refused. Fact 1 has")
    assert MESSAGES[1].text == "user| I moved."
    assert [each.type for each in correcting(MESSAGES[:1], ConsolidationRefused())] == [
        "system", "human",
    ]  # fmt: skip
