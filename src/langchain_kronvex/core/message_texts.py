"""Changes every text in a message, and no name, id or encoded file in it. Pure functions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.messages import BaseMessage

from langchain_kronvex.core.messages import jsonable, whole

Change = Callable[[str], str]

# Written by programs, and compared with values elsewhere. Nobody's words are in them.
_FIELDS_AS_THEY_ARE = frozenset(
    "id name response_metadata role status tool_call_id type usage_metadata".split()
)
_NAMES = frozenset(
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
    if name in _NAMES:
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
