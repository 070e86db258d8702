"""Encodes LlamaIndex messages as text that is restored exactly and that LangChain can read.

The text is that of a LangChain message. If LangChain's form loses something (images, other roles,
additional fields, …), LlamaIndex's form is added under a name that LangChain ignores.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    messages_from_dict,
)
from llama_index.core.base.llms import types
from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock, ToolCallBlock
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from langchain_kronvex.core.errors import InvalidInput, StoreError
from langchain_kronvex.core.messages import jsonable

EXACT = "llama_index"
_CLASS_OF_ROLE: dict[MessageRole, type[BaseMessage]] = {
    MessageRole.USER: HumanMessage,
    MessageRole.SYSTEM: SystemMessage,
    MessageRole.DEVELOPER: SystemMessage,
    MessageRole.TOOL: ToolMessage,
    MessageRole.FUNCTION: ToolMessage,
}
_ROLE = {
    "human": MessageRole.USER,
    "ai": MessageRole.ASSISTANT,
    "system": MessageRole.SYSTEM,
    "tool": MessageRole.TOOL,
    "function": MessageRole.FUNCTION,
}
_BYTES = ("image", "audio", "video", "data")  # fields of blocks with base64
_BLOCKS: TypeAdapter[Any] = TypeAdapter(types.ContentBlock)
_BLOCK_CLASSES = {
    block.model_fields["block_type"].default: block
    for block in get_args(get_args(types.ContentBlock)[0])
}


def as_langchain(message: ChatMessage) -> BaseMessage:
    """Return a message in the form of LangChain: its role, text and tool calls."""
    class_ = _CLASS_OF_ROLE.get(message.role, AIMessage)
    fields: dict[str, Any] = {"content": message.content or ""}
    if class_ is AIMessage:
        fields["tool_calls"] = [
            {
                "name": block.tool_name,
                "args": to_jsonable_python(block.tool_kwargs, fallback=repr, bytes_mode="base64"),
                "id": block.tool_call_id,
                "type": "tool_call",
            }
            for block in message.blocks
            if isinstance(block, ToolCallBlock) and isinstance(block.tool_kwargs, dict)
        ]
    if class_ is ToolMessage:
        fields["tool_call_id"] = str(message.additional_kwargs.get("tool_call_id", ""))
    return class_(**fields)


def encode(message: ChatMessage) -> str:
    """Return a message as ASCII text; other values than JSON are stored as pydantic's JSON.

    Raises:
        InvalidInput: the value is not a message, or is nested too deep.
    """
    if not isinstance(message, ChatMessage):
        raise InvalidInput(f"A message must be a ChatMessage, not {type(message).__name__}.")
    try:
        same = as_langchain(message)
        stored = {"type": same.type, "data": same.model_dump(exclude_defaults=True)}
        if _from_langchain(same) != message:
            stored[EXACT] = message.model_dump(warnings=False)
        return json.dumps(stored, default=_as_json)
    except (RecursionError, ValueError) as error:
        raise InvalidInput("The message contains values that are nested too deep.") from error


def _as_json(value: Any) -> Any:
    """Return a value that JSON does not have: bytes as base64, others as pydantic writes them."""
    if not isinstance(value, bytes):
        return jsonable(value)
    encoded = value if value.isascii() else base64.b64encode(value)  # LlamaIndex encodes most
    return encoded.decode("ascii")


def decode(text: str) -> ChatMessage:
    """Return the message that `encode`, or LangChain's `encode_message`, has encoded.

    Raises:
        StoreError: the message contains a block that the installed LlamaIndex does not know.
    """
    stored = json.loads(text)
    exact = stored.get(EXACT)
    if exact is None:
        return _from_langchain(messages_from_dict([stored])[0])
    # Set afterwards, because the constructor turns some additional fields into blocks.
    message = ChatMessage(role=MessageRole(exact["role"]))
    message.blocks = [_block(fields) for fields in exact["blocks"]]
    message.additional_kwargs = exact["additional_kwargs"]
    return message


def _from_langchain(message: BaseMessage) -> ChatMessage:
    text = str(message.text)
    blocks: list[Any] = [TextBlock(text=text)] if text else []
    blocks += [
        ToolCallBlock(tool_call_id=call["id"], tool_name=call["name"], tool_kwargs=call["args"])
        for call in getattr(message, "tool_calls", [])
    ]
    tool = {"tool_call_id": message.tool_call_id} if isinstance(message, ToolMessage) else {}
    role = _ROLE.get(message.type, MessageRole.USER)
    return ChatMessage(role=role, blocks=blocks, additional_kwargs=tool)


def _block(fields: Mapping[str, Any]) -> Any:
    try:
        return _BLOCKS.validate_python(fields)
    except ValidationError as error:  # it was valid when stored, but its file may be gone now
        known = _BLOCK_CLASSES.get(str(fields.get("block_type")))
        if known is None:
            raise StoreError(
                f"A message contains a block of type {fields.get('block_type')!r}, which this "
                "version of llama-index-core does not know; upgrade it."
            ) from error
        return known.model_construct(**{name: _value(name, fields[name]) for name in fields})


def _value(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_value(name, item) for item in value]
    if isinstance(value, Mapping) and "block_type" in value:
        return _block(value)
    if isinstance(value, str) and name in ("path", *_BYTES):
        return Path(value) if name == "path" else value.encode()
    return value
