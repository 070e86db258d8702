"""The answer of a chain, read from its output or from the chunks of its stream. No I/O."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    BaseMessageChunk,
    RemoveMessage,
    SystemMessage,
    convert_to_messages,
)
from langchain_core.runnables import AddableDict
from pydantic import BaseModel

from langchain_kronvex.core.messages import is_notice, text_of

# What chains and graphs usually call their answer.
_KEYS = (
    "output", "answer", "messages", "result", "response", "output_text", "generation", "text",
)  # fmt: skip
_MODES = {"values", "updates", "messages", "custom", "tasks", "checkpoints", "debug"}
_INTERRUPT = "__interrupt__"


class Answer(BaseCallbackHandler):
    """What a chain says in one turn.

    An answer is text, a message, or chunks of them. In a dict it is the value of `key`, or of a
    usual key, or the only value that the input did not have. For a LangGraph graph it is in the
    last state; if the stream breaks off, it is the part that was streamed.

    Args:
        key: The key of the answer in a dict.
        given: The chain's input.
        is_graph: Whether the chain is a graph.

    Attributes:
        ended: Whether the chain has said everything.
        is_missing: Whether it has, but no answer was recognised.
    """

    run_inline = True  # else an async run would hand each event to a thread

    def __init__(self, key: str, given: Any, *, is_graph: bool) -> None:
        self._key, self._is_graph = key, is_graph
        self._given: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
        self._parts: list[Any] = []  # joined as far as they are of one kind
        self._unread = self._interrupted = False
        self.ended = self.is_missing = False

    def on_chain_end(self, outputs: Any, **_: Any) -> None:
        """Hear the last state of a graph, whatever its stream shows."""
        self.ended = True
        if self._is_graph:
            self._parts = [outputs]

    def hear(self, chunk: Any) -> None:
        """Hear a chunk of a stream, or the whole output of a chain."""
        space, mode, data = _part(chunk)
        self._interrupted |= isinstance(data, Mapping) and _INTERRUPT in data
        if mode == "messages":
            # Middleware also calls models, for example to summarise; so do agents used as tools.
            if "lc_source" not in data[1] and not any(s.startswith("tools:") for s in space):
                self._hear_part(data[0])
        elif mode == "values" and not space:
            self._parts = [data]
        elif mode in ("", "updates") and not space:
            self._hear_part(data)
        else:
            self._unread = True

    def messages(self, prompt: Sequence[BaseMessage]) -> list[BaseMessage]:
        """Return what was said, without the prompt that agents return in front of it."""
        found = [self._found_in(part) for part in self._parts]
        if found and set(map(type, found)) == {type(None)} and not self._is_inside(self._parts[-1]):
            found = [_as_text(self._parts[-1])]
        said: list[BaseMessage] = []
        for each in itertools.chain.from_iterable(filter(None, found)):
            _add(said, each)
        answer = without_prompt(said, prompt)
        heard = said or None in found or self._unread
        self.is_missing = self.ended and bool(heard) and not answer and not self._interrupted
        return [message for message in answer if not is_notice(message)]

    def _hear_part(self, chunk: Any) -> None:
        joined = _joined(self._parts[-1], chunk) if self._parts else None
        if joined is not None:
            self._parts[-1] = joined
        elif chunk is not None:
            self._parts.append(chunk)

    def _found_in(self, value: Any) -> list[BaseMessage] | None:
        """Return the messages that a value says; None if that is not known."""
        if isinstance(value, str):
            value = AIMessage(value) if value else None
        if value is None or isinstance(value, BaseMessage):
            return [value] if value else []
        if isinstance(value, list | tuple):
            return list(value) if all(isinstance(each, BaseMessage) for each in value) else None
        if not isinstance(value, Mapping):
            return None
        if "role" in value and "content" in value:
            return _converted([value])
        for key in (self._key, *_KEYS):
            # Agents return what they were given in front of what they say.
            if key in value and (key in (self._key, "messages") or key in self._new(value)):
                found = (_converted if key == "messages" else self._found_in)(value[key])
                return _as_text(value[key]) if found is None else found
        new = self._new(value)
        return self._found_in(value[new[0]]) if len(new) == 1 else None

    def _new(self, output: Mapping[str, Any]) -> list[str]:
        """Return the keys of a dict whose values were not given."""
        old = {
            key
            for key, given in self._given.items()
            if output.get(key) is given or (isinstance(given, str) and output.get(key) == given)
        }
        return [key for key in output if key not in old | {_INTERRUPT}]

    def _is_inside(self, value: Any) -> bool:
        """Return whether a structure is not an answer, but holds what was given."""
        return self._is_graph or (isinstance(value, Mapping) and len(self._new(value)) < len(value))


def without_prompt(said: Sequence[BaseMessage], prompt: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return an answer without the prompt that agents return in front of it, perhaps changed.

    System messages never belong to an answer. Ids are not compared, because agents set them.
    """
    answer, shown = without_system(said), without_system(prompt)
    asked = _gist(shown[-1]) if shown else None
    for place in reversed(range(len(answer))):
        if _gist(answer[place]) == asked:
            return answer[place + 1 :]
    redacted = [m.type for m in answer[: len(shown)]] == [m.type for m in shown]
    return answer[len(shown) :] if redacted else answer


def without_system(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return the messages that are not system messages."""
    return [message for message in messages if not isinstance(message, SystemMessage)]


def _gist(message: BaseMessage) -> tuple[Any, ...]:
    fields = ("type", "content", "tool_calls", "tool_call_id")
    return tuple(getattr(message, name, None) for name in fields)


def _as_text(value: Any) -> list[BaseMessage] | None:
    """Return a structured answer as JSON text; None if JSON cannot hold it."""
    try:
        if isinstance(value, BaseModel):
            return [AIMessage(value.model_dump_json())]
        return [AIMessage(json.dumps(value, ensure_ascii=False))]
    except (TypeError, ValueError, RecursionError):
        return None


def _converted(messages: Any) -> list[BaseMessage] | None:
    """Return messages in any form that LangGraph takes; None if they are something else."""
    try:
        several = messages if isinstance(messages, list) else [messages]
        return convert_to_messages(several) if messages else []
    except (TypeError, ValueError, NotImplementedError):
        return None


def _part(chunk: Any) -> tuple[Sequence[str], str, Any]:
    """Return the namespace, the mode and the data of a chunk of a graph's stream.

    The mode is "" if the chunk does not tell.
    """
    if isinstance(chunk, Mapping) and {"type", "ns", "data"} <= chunk.keys():  # `version="v2"`
        return chunk["ns"], chunk["type"], chunk["data"]
    space: Sequence[str] = ()
    if isinstance(chunk, tuple) and chunk and isinstance(chunk[0], tuple):  # `subgraphs=True`
        space, chunk = chunk[0], chunk[1] if len(chunk) == 2 else chunk[1:]
    if isinstance(chunk, tuple) and len(chunk) == 2:
        if isinstance(chunk[0], BaseMessage):
            return space, "messages", chunk
        if isinstance(chunk[0], str) and chunk[0] in _MODES:
            return space, *chunk
    return space, "", chunk


def _add(said: list[BaseMessage], message: BaseMessage) -> None:
    """Add a message; it may replace or remove one with its id, or repeat the last one."""
    if isinstance(message, RemoveMessage):
        said[:] = [each for each in said if each.id != message.id]
        return
    known: list[Any] = [each for each in said if message.id and each.id == message.id]
    if known:
        more = isinstance(message, BaseMessageChunk) and type(message) is type(known[0])
        said[said.index(known[0])] = known[0] + message if more else message
    elif said and _repeats(said[-1], message):
        said[-1] = message
    else:
        said.append(message)


def _repeats(before: BaseMessage, message: BaseMessage) -> bool:
    """Return whether a message says what the one before says, or more."""
    if not (isinstance(before, AIMessage) and isinstance(message, AIMessage)):
        return False
    same = not (before.id and message.id) and not before.tool_calls
    return same and text_of(message).startswith(text_of(before))


def _joined(before: Any, chunk: Any) -> Any:
    """Return a part of a stream with its next chunk; None if that is another part."""
    if chunk is None:
        return before
    if isinstance(before, str):
        return before + chunk if isinstance(chunk, str) else None
    if isinstance(before, BaseMessageChunk):
        return before + chunk if type(before) is type(chunk) and _are_one(before, chunk) else None
    if isinstance(before, AddableDict) and isinstance(chunk, Mapping):
        return before + chunk  # type: ignore[operator]
    if _extends(before, chunk):
        return chunk  # a newer version
    if isinstance(before, dict) and isinstance(chunk, dict) and before.keys() == chunk.keys():
        return {
            key: new if _extends(before[key], new) else _joined(before[key], new) or new
            for key, new in chunk.items()
        }
    return before + chunk if isinstance(before, list) and isinstance(chunk, list) else None


def _are_one(before: BaseMessageChunk, chunk: BaseMessageChunk) -> bool:
    """Return whether two chunks can be of one message."""
    ids = {each.id for each in (before, chunk) if each.id}
    # An id of LangChain's is replaced by the provider's as soon as that one is known.
    return len(ids) < 2 or sum(id_.startswith("lc_") for id_ in ids) == 1


def _extends(before: Any, after: Any) -> bool:
    """Return whether a structure is another one with more at the ends of its texts and lists."""
    if isinstance(before, str) and isinstance(after, str):
        return after.startswith(before)
    if isinstance(before, list) and isinstance(after, list):
        return len(before) <= len(after) and all(map(_extends, before, after))
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return all(key in after and _extends(each, after[key]) for key, each in before.items())
    return before is None or before is after
