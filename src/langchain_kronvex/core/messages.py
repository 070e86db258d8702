"""LangChain messages: stored exactly, windowed at turns, and read as exchanges. Pure functions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    BaseMessageChunk,
    HumanMessage,
    message_chunk_to_message,
    message_to_dict,
    messages_from_dict,
)
from pydantic_core import to_jsonable_python

from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.core.validation import MAX_CONTENT_CHARS

FORGOTTEN = "[forgotten]"
NOT_SAVED = "[not saved]"  # in place of a message that must not be stored
_SAID = {"human", "ai", "tool", "chat", "function"}  # types of what users, models and tools say
_KEPT = ("id", "name", "role", "tool_call_id", "status")
_RESTORED = "restored"  # the key of fields that LangChain's classes would change on reading
_NOTICE = re.compile(
    r"Model call failed after \d+ attempts? with |Model call limits exceeded: |"
    r"('.+' tool|Tool) call limit(s exceeded| reached): "
)
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def check_messages(messages: Sequence[BaseMessage]) -> None:
    """Check that a value is a list of messages.

    Raises:
        InvalidInput: It is not, or holds something else.
    """
    if isinstance(messages, Sequence) and all(isinstance(m, BaseMessage) for m in messages):
        return
    raise InvalidInput(
        "messages must be a list of LangChain messages, such as HumanMessage(...) and "
        "AIMessage(...)."
    )


def encode_message(message: BaseMessage) -> str:
    """Return a message as JSON text; a chunk of a stream as the message it belongs to.

    Values that JSON cannot hold, for example a tool's artifact, are stored as pydantic writes
    them, or else as their `repr`.

    Raises:
        InvalidInput: The message could not be read again.
    """
    try:
        as_dict = message_to_dict(whole(message))
        if _is_plain(message):
            return json.dumps(as_dict)
        try:
            text = json.dumps(as_dict)
        except (TypeError, ValueError, RecursionError):
            as_dict["data"] = {name: jsonable(value) for name, value in as_dict["data"].items()}
            text = json.dumps(as_dict)
        # Reading may fill in what was emptied: `AIMessage` takes tool calls from
        # `additional_kwargs`.
        stored = json.loads(text)
        given, read = stored["data"], message_to_dict(messages_from_dict([stored])[0])["data"]
        changed = {name: given[name] for name in given.keys() & read if given[name] != read[name]}
        return json.dumps({**as_dict, _RESTORED: changed}) if changed else text
    except Exception as error:
        raise InvalidInput(
            f"A message of type {type(message).__name__} cannot be stored, because it could not be "
            f"read again ({type(error).__name__}). Use LangChain's own message classes, with "
            "values that JSON can hold."
        ) from error


def _is_plain(message: BaseMessage) -> bool:
    """Return whether a message holds only texts, which are read as they are."""
    if type(message) not in (HumanMessage, AIMessage) or message.model_extra:
        return False
    return all(not value or isinstance(value, str) for value in message.__dict__.values())


def whole(message: BaseMessage) -> BaseMessage:
    """Return a message; a chunk of a stream as the message it belongs to."""
    if not isinstance(message, BaseMessageChunk):
        return message
    joined = message_chunk_to_message(message)
    kept = {name: getattr(message, name) for name in type(joined).model_fields if name != "type"}
    return joined.model_copy(update=kept)


def jsonable(value: Any) -> Any:
    """Return a value that JSON can hold: as pydantic writes it, or else its `repr`."""
    try:
        return to_jsonable_python(value, fallback=repr, bytes_mode="base64")
    except (TypeError, ValueError, RecursionError):  # for example, it contains itself
        return repr(value)


def decode_message(text: str) -> BaseMessage:
    """Return the message that `encode_message` was given."""
    stored = json.loads(text)
    message = messages_from_dict([stored])[0]
    return message.model_copy(update=stored[_RESTORED]) if _RESTORED in stored else message


def forgotten(message: BaseMessage) -> BaseMessage:
    """Return a message that is emptied; system messages stay."""
    return emptied(message, FORGOTTEN) if message.type in _SAID else message


def emptied(message: BaseMessage, mark: str) -> BaseMessage:
    """Return a message of the same kind and id that says nothing but a mark.

    Tool calls keep their names and ids, so that the results that follow them still fit.
    """
    kept = {name: getattr(message, name) for name in _KEPT if getattr(message, name, None)}
    if isinstance(message, AIMessage):
        kept["tool_calls"] = [{**call, "args": {}} for call in message.tool_calls]
        kept["invalid_tool_calls"] = [
            {**call, "args": None, "error": None} for call in message.invalid_tool_calls
        ]
    return type(message)(content=mark, **kept)


def window(messages: Sequence[BaseMessage], max_messages: int) -> list[BaseMessage]:
    """Return the last whole turns that hold at most `max_messages` messages.

    A turn starts with a human message, so no tool message loses its call. The last turn is
    returned whole even if it alone is longer. Without any human message, the last messages are
    returned.
    """
    turns = [place for place, message in enumerate(messages) if isinstance(message, HumanMessage)]
    if len(messages) <= max_messages:
        return list(messages)
    fitting = [start for start in turns if len(messages) - start <= max_messages]
    start = fitting[0] if fitting else turns[-1] if turns else len(messages) - max_messages
    return list(messages[start:])


def text_of(message: BaseMessage) -> str:
    """Return the text of a message, without characters that cannot be stored; "" if it has none."""
    text = _UNSTORABLE.sub("", str(message.text)).strip()
    return "" if text == NOT_SAVED else text


def is_notice(message: BaseMessage) -> bool:
    """Return whether a message tells that a turn was broken off, instead of answering.

    LangChain's retry and limit middlewares write such messages, and mark them by nothing else. What
    a model says has the id of its run or of the provider's, and usually metadata.
    """
    of_model = message.response_metadata or str(message.id).startswith(("lc_run", "run-"))
    return not of_model and _NOTICE.match(text_of(message)) is not None


def exchange_content(user_text: str, assistant_text: str | None) -> str:
    """Return the content of a memory of an exchange; without an answer, of the user's words."""
    said = f"User: {user_text}"
    return f"{said}\n{answer_content(assistant_text)}" if assistant_text else said


def answer_in(content: str, user_text: str) -> str:
    """Return the assistant's words in the memory of an exchange."""
    said = exchange_content(user_text, None)
    if content.startswith(said):
        return content[len(said) :].removeprefix(f"\n{answer_content('')}")
    # The exchange was too long for one memory: this one holds the user's words or the answer.
    return "" if said.startswith(content) or content == user_text else content


def answer_content(assistant_text: str) -> str:
    """Return the content of a memory of an answer to a turn without words."""
    return f"Assistant: {assistant_text}"


def exchanges(messages: Iterable[BaseMessage]) -> list[tuple[str, str]]:
    """Return (the user's text, the assistant's text) of each turn, "" for a missing one.

    Tool calls, tool messages and system messages are ignored.
    """
    found: list[tuple[str, str]] = []
    for message in messages:
        text = text_of(message)
        if isinstance(message, HumanMessage):
            found.append((text, ""))
        elif isinstance(message, AIMessage) and text:
            user, answer = found.pop() if found else ("", "")
            found.append((user, f"{answer} {text}".lstrip()))
    return [turn for turn in found if any(turn)]


def visible_texts(messages: Sequence[BaseMessage]) -> set[str]:
    """Return every content of a memory that would only repeat these messages."""
    texts = {text_of(message) for message in messages}
    return texts | {answer_content(text) for text in texts} | exchange_contents(messages)


def exchange_contents(messages: Iterable[BaseMessage]) -> set[str]:
    """Return the contents of the memories of these messages, with and without the answers."""
    return {
        exchange_content(user, said)[:MAX_CONTENT_CHARS]
        for user, answer in exchanges(messages)
        for said in (None, answer)
    }


def query_of(messages: Sequence[BaseMessage]) -> str:
    """Return the query: the text of the last human message, or else of the last message."""
    for message in reversed(messages):
        if isinstance(message, HumanMessage):
            return text_of(message)
    return text_of(messages[-1]) if messages else ""


# -- every text in a message, for `before_save` ---------------------------------------------------

Change = Callable[[str], str]

# Written by programs, and compared with values elsewhere. Nobody's words are in them.
_FIELDS_AS_THEY_ARE = frozenset(
    "id name response_metadata role status tool_call_id type usage_metadata".split()
)
_NAMED_VALUES = frozenset(
    """
    audio base64 block_type cache_control call_id data detail encrypted_content file_id format id
    image index media_type mime_type mimetype model name role signature source_type status
    thought_signature tool_call_id tool_name tool_use_id type video
    """.split()
)
_ENCODED_FILE = re.compile(r"data:[\w/+.-]*;base64,")  # as a URL
# Values that a tool takes or returns: there, a key such as "name" is an ordinary word.
_OF_TOOLS = frozenset("args arguments artifact input output partial_json tool_kwargs".split())


def with_changed_texts(message: BaseMessage, change: Change) -> BaseMessage:
    """Return a message with a function applied to each of its texts.

    These are the text of its content and of each block, the arguments of tool calls (also where a
    provider keeps them as JSON text), artifacts, and additional keywords. Names, ids, encoded files
    and a provider's metadata stay, so that models accept the message; token by token copies of the
    text in the metadata go if the text changes.
    """
    said = whole(message)
    changes: dict[str, Any] = {}
    for name, value in {**dict(said), **(said.model_extra or {})}.items():
        if name not in _FIELDS_AS_THEY_ARE and value:
            new, is_changed = _changed_field(name, value, change)
            changes |= {name: new} if is_changed else {}
    if changes and "logprobs" in said.response_metadata:
        metadata = said.response_metadata
        changes["response_metadata"] = {k: v for k, v in metadata.items() if k != "logprobs"}
    return said.model_copy(update=changes) if changes else message


def changed_values(value: Any, change: Change) -> Any:
    """Return a JSON value with each text in it changed, at every level; keys stay."""
    if isinstance(value, str):
        return change(value) if value.strip() else value
    if isinstance(value, Mapping):
        return {key: changed_values(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [changed_values(item, change) for item in value]
    return value


def _changed_field(name: str, value: Any, change: Change) -> tuple[Any, bool]:
    """Return a field with its texts changed, and whether one of them is another text now."""
    is_changed = False

    def noting(text: str) -> str:
        nonlocal is_changed
        new = change(text)
        is_changed = is_changed or new != text
        return new

    new = _of_field(name, jsonable(value), noting)  # as it would be stored
    return new, is_changed


def changed_block(value: Any, change: Change) -> Any:
    """Return a part of a message with its texts changed."""
    if isinstance(value, Mapping):
        return {key: _of_field(str(key), item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [changed_block(item, change) for item in value]
    if isinstance(value, str) and _ENCODED_FILE.match(value):
        return value
    return changed_values(value, change)


def _of_field(name: str, value: Any, change: Change) -> Any:
    if name in _NAMED_VALUES:
        return value
    if name not in _OF_TOOLS:
        return changed_block(value, change)
    if isinstance(value, str):
        return _of_json_text(value, change)
    return changed_values(value, change)


def _of_json_text(text: str, change: Change) -> str:
    """Return JSON text with its texts changed; any other text is changed as a whole."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict | list):
        return change(text) if text.strip() else text
    new = changed_values(value, change)
    return text if new == value else json.dumps(new)
