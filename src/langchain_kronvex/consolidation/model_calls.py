"""Calls of the language model: structured output, or JSON from models that have none."""

from __future__ import annotations

import contextvars
import inspect
import json
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.utils.json import parse_json_markdown
from tenacity import (
    Retrying,
    retry_if_not_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from langchain_kronvex.consolidation.schemas import JSONSchema
from langchain_kronvex.core.errors import ConsolidationRefused, InvalidInput, KronvexError
from langchain_kronvex.core.options import by_name

RUN_NAME = "kronvex_consolidation"
HOUR_SECONDS = 3600.0
UNUSABLE = "The answer is not one JSON object of the schema."
CUT_OFF = (
    "The answer was cut off at the model's limit of output tokens; write less, or raise the limit."
)
JSON_ONLY = (
    "Answer with one JSON object and nothing else. It must follow this JSON Schema:\n{schema}"
)
# The values with which providers say that an answer was cut off, and the error that the OpenAI
# client raises instead.
_CUT_OFF = ("length", "max_tokens")
_CUT_OFF_ERROR = "LengthFinishReasonError"


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a model as JSON values, and its cost, 0 if the provider does not say."""

    raw: dict[str, Any]
    input_tokens: int
    output_tokens: int


class OutOfCalls(KronvexError):
    """No call is left within this hour; `seconds` from now there is one."""

    def __init__(self, seconds: float) -> None:
        super().__init__("max_calls_per_hour is used up.")
        self.seconds = seconds


class ModelCaller:
    """Calls a model: again while its provider fails, and only so often within an hour.

    Args:
        model: The model.
        attempts: How often a call is tried.
        max_calls_per_hour: The most calls within any hour, tries included; None for any number.
        longest_pause_seconds: The longest pause between two tries.
    """

    def __init__(
        self,
        model: BaseChatModel,
        attempts: int,
        max_calls_per_hour: int | None,
        longest_pause_seconds: float = 30.0,
    ) -> None:
        self.model, self._max_calls = model, max_calls_per_hour
        self._called = deque[float]()  # in the last hour
        self._retrying = Retrying(
            stop=stop_after_attempt(attempts),
            wait=wait_random_exponential(max=longest_pause_seconds),
            retry=retry_if_not_exception_type((ConsolidationRefused, OutOfCalls)),
            reraise=True,
        )

    @property
    def model_name(self) -> str:
        """The name of the model, or else of its class."""
        named = (getattr(self.model, field, None) for field in ("model_name", "model"))
        return next((name for name in named if isinstance(name, str)), type(self.model).__name__)

    def ask(
        self, messages: Sequence[BaseMessage], schema: JSONSchema, counts: Counter[str]
    ) -> dict[str, Any]:
        """Return the answer of the model; add its calls and tokens to the counts.

        Raises:
            OutOfCalls: there were as many calls within an hour as are allowed.
            ConsolidationRefused: the answer cannot be used.
            Exception: the provider's, after the last try.
        """
        return self._retrying.copy()(self._once, messages, schema, counts)

    def _once(
        self, messages: Sequence[BaseMessage], schema: JSONSchema, counts: Counter[str]
    ) -> dict[str, Any]:
        now = time.monotonic()
        while self._called and self._called[0] <= now - HOUR_SECONDS:
            self._called.popleft()
        if self._max_calls is not None and len(self._called) >= self._max_calls:
            raise OutOfCalls(self._called[0] + HOUR_SECONDS - now)
        self._called.append(now)
        counts["calls"] += 1
        try:
            answer = ask(self.model, messages, schema)
        except ConsolidationRefused as refused:
            _add_cost(counts, refused)
            raise
        _add_cost(counts, answer)
        return answer.raw


def chat_model(model: BaseChatModel | str) -> BaseChatModel:
    """Return a chat model; names are resolved by LangChain's `init_chat_model`.

    Raises:
        InvalidInput: it is neither.
        ConfigurationError: the name is unknown, or its model cannot be created.
        MissingExtra: LangChain or the provider's package is not installed.
    """
    if isinstance(model, BaseChatModel):
        return model
    if not isinstance(model, str):
        raise InvalidInput(
            "model must be a LangChain chat model, or the name of one such as "
            f"'openai:gpt-4o-mini', not {type(model).__name__}."
        )
    example = "'provider:model', such as 'openai:gpt-4o-mini', or any LangChain chat model"
    with by_name("model", model, instead=example):
        from langchain.chat_models import init_chat_model

        return init_chat_model(model)


def _add_cost(counts: Counter[str], of: Answer | ConsolidationRefused) -> None:
    counts["input_tokens"] += of.input_tokens
    counts["output_tokens"] += of.output_tokens


def ask(model: BaseChatModel, messages: Sequence[BaseMessage], schema: JSONSchema) -> Answer:
    """Return the answer of a model that follows a JSON Schema of an object.

    Whatever runs around it neither sees this call nor its tokens: the callbacks of a chain or graph
    under way are not inherited. Those of the model itself are called.

    Raises:
        ConsolidationRefused: The model answered something else, was cut off, or refused to answer.
        Exception: Errors of the provider, as they are.
    """
    caller, given = _structured(model, schema), list(messages)
    if caller is None:
        caller, given = model, appended(given, JSON_ONLY.format(schema=json.dumps(schema)))
    config = RunnableConfig(run_name=RUN_NAME, tags=[RUN_NAME])
    try:
        answer = contextvars.Context().run(partial(caller.invoke, given, config))
    except OutputParserException:
        raise ConsolidationRefused(UNUSABLE) from None  # its message quotes the answer
    except Exception as error:
        if type(error).__name__ == _CUT_OFF_ERROR:
            raise ConsolidationRefused(CUT_OFF) from None
        raise
    return _read(answer if isinstance(answer, dict) else {"raw": answer}, schema)


def appended(messages: Sequence[BaseMessage], text: str) -> list[BaseMessage]:
    """Return messages with a text at the end of the last one, if that is of the user.

    Some models reject two messages of the user in a row.
    """
    *before, last = messages
    if isinstance(last, HumanMessage):
        return [*before, HumanMessage(f"{last.text}\n\n{text}")]
    return [*messages, HumanMessage(text)]


def correcting(messages: Sequence[BaseMessage], refused: ConsolidationRefused) -> list[BaseMessage]:
    """Return the messages of a second try, which say what was wrong with the first answer."""
    return appended(messages, f"Your last answer was refused. {refused} Answer again, in full.")


def _structured(model: BaseChatModel, schema: JSONSchema) -> Runnable[Any, Any] | None:
    """Return the model bound to the schema, or None if it can do neither tools nor schemas."""
    bind = model.with_structured_output
    # OpenAI guarantees the schema only when asked to. Others reject the option, or always do.
    options = {"strict": True} if "strict" in inspect.signature(bind).parameters else {}
    try:
        return bind(schema, include_raw=True, **options)
    except NotImplementedError:
        return None


def _read(answer: dict[str, Any], schema: JSONSchema) -> Answer:
    message, value = answer.get("raw"), answer.get("parsed")
    said = str(message.text) if isinstance(message, BaseMessage) else ""
    metadata = message.response_metadata if isinstance(message, BaseMessage) else {}
    usage = getattr(message, "usage_metadata", None) or {}
    cost = (usage.get("input_tokens") or 0, usage.get("output_tokens") or 0)
    why = UNUSABLE
    if any(str(reason).lower() in _CUT_OFF for reason in metadata.values()):
        why = CUT_OFF  # LangChain completes half an object, with half a fact
    elif isinstance(value := value if isinstance(value, dict) else _object_in(said, schema), dict):
        return Answer(value, *cost)
    refused = ConsolidationRefused(why)
    refused.input_tokens, refused.output_tokens = cost
    raise refused


def _object_in(text: str, schema: JSONSchema) -> Any:
    """Return the JSON object that a text is, or else the last one in it, or None.

    A model may think aloud first, and an object in its thoughts may be a draft. Parts of a broken
    object do not count: they have none of the keys of the whole.
    """
    decoder = json.JSONDecoder(strict=False)
    try:
        return parse_json_markdown(text, parser=decoder.decode)
    except (ValueError, RecursionError):
        found, start = None, text.find("{")
    while start >= 0:
        end = start + 1
        try:
            value, end = decoder.raw_decode(text, start)
            found = value if value.keys() & schema["properties"].keys() else found
        except (ValueError, RecursionError):
            pass
        start = text.find("{", end)
    return found
