"""Encodes LlamaIndex messages as text that is restored exactly and that LangChain can read.

The text is that of a LangChain message. If LangChain's form loses something (images, other roles,
additional fields, …), LlamaIndex's form is added under a name that LangChain ignores.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from io import IOBase
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
from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock
from pydantic import AnyUrl, BaseModel, TypeAdapter, ValidationError

from langchain_kronvex.core.errors import InvalidInput, StoreError
from langchain_kronvex.core.messages import jsonable

EXACT = "llama_index"
_LANGCHAIN_TYPE = {
    MessageRole.USER: "human",
    MessageRole.SYSTEM: "system",
    MessageRole.DEVELOPER: "system",
    MessageRole.TOOL: "tool",
    MessageRole.FUNCTION: "tool",
}
_CLASS_OF_TYPE: dict[str, type[BaseMessage]] = {
    "human": HumanMessage,
    "ai": AIMessage,
    "system": SystemMessage,
    "tool": ToolMessage,
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
_ToolCallBlock = _BLOCK_CLASSES.get("tool_call")  # None in older versions of llama-index-core


def as_langchain(message: ChatMessage) -> BaseMessage:
    """Return a message in the form of LangChain: its role, text and tool calls."""
    type_ = _LANGCHAIN_TYPE.get(message.role, "ai")
    return _CLASS_OF_TYPE[type_](**_langchain_fields(message, type_))


def encode(message: ChatMessage) -> str:
    """Return a message as ASCII text; other values than JSON are stored as pydantic's JSON.

    Raises:
        InvalidInput: the value is not a message, or is nested too deep.
    """
    if not isinstance(message, ChatMessage):
        raise InvalidInput(f"A message must be a ChatMessage, not {type(message).__name__}.")
    try:
        return json.dumps(_stored(message))
    except RecursionError as error:
        raise InvalidInput("The message contains values that are nested too deep.") from error


def _stored(message: ChatMessage) -> dict[str, Any]:
    type_ = _LANGCHAIN_TYPE.get(message.role, "ai")
    fields = _langchain_fields(message, type_)
    stored: dict[str, Any] = {"type": type_, "data": fields}
    if _from_langchain(_CLASS_OF_TYPE[type_](**fields)) != message:
        stored[EXACT] = {
            "role": message.role.value,
            "blocks": [_block_fields(block) for block in message.blocks],
            "additional_kwargs": _plain(message.additional_kwargs),
        }
    return stored


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


def _langchain_fields(message: ChatMessage, type_: str) -> dict[str, Any]:
    fields: dict[str, Any] = {"content": message.content or ""}
    if type_ == "ai" and (calls := _tool_calls(message)):
        fields["tool_calls"] = calls
    if type_ == "tool":
        fields["tool_call_id"] = str(message.additional_kwargs.get("tool_call_id", ""))
    return fields


def _tool_calls(message: ChatMessage) -> list[dict[str, Any]]:
    if _ToolCallBlock is None:
        return []
    return [
        {
            "name": block.tool_name,
            "args": _plain(block.tool_kwargs),
            "id": block.tool_call_id,
            "type": "tool_call",
        }
        for block in message.blocks
        if isinstance(block, _ToolCallBlock) and isinstance(block.tool_kwargs, dict)
    ]


def _from_langchain(message: BaseMessage) -> ChatMessage:
    text = str(message.text)
    blocks: list[Any] = [TextBlock(text=text)] if text else []
    if _ToolCallBlock is not None:
        blocks += [
            _ToolCallBlock(
                tool_call_id=call["id"], tool_name=call["name"], tool_kwargs=call["args"]
            )
            for call in getattr(message, "tool_calls", [])
        ]
    tool = {"tool_call_id": message.tool_call_id} if isinstance(message, ToolMessage) else {}
    role = _ROLE.get(message.type, MessageRole.USER)
    return ChatMessage(role=role, blocks=blocks, additional_kwargs=tool)


def _block_fields(block: BaseModel) -> dict[str, Any]:
    """Return the fields of a block as JSON values; streams are read now."""
    fields: dict[str, Any] = {}
    for name, value in block:
        if isinstance(value, BaseModel):
            fields[name] = _block_fields(value)
        elif isinstance(value, list) and all(isinstance(item, BaseModel) for item in value):
            fields[name] = [_block_fields(item) for item in value]
        elif name in _BYTES and isinstance(value, bytes | IOBase):
            fields[name] = _base64(value)
        else:
            fields[name] = _plain(value)
    return fields


def _base64(value: bytes | IOBase) -> str:
    if isinstance(value, bytes) and value.isascii():  # LlamaIndex has encoded it already
        return value.decode("ascii")
    if isinstance(value, IOBase):
        value.seek(0)
    content: bytes = value if isinstance(value, bytes) else value.read()
    return base64.b64encode(content).decode("ascii")


def _plain(value: Any) -> Any:
    """Return a value as JSON: a copy, or the form that LlamaIndex or pydantic writes."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(item) for item in value]
    if isinstance(value, Path | AnyUrl):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return jsonable(value)


def _block(fields: Mapping[str, Any]) -> Any:
    try:
        return _BLOCKS.validate_python(fields)
    except ValidationError as error:
        return _unchecked(fields, error)


def _unchecked(fields: Mapping[str, Any], error: ValidationError) -> Any:
    """Return a block that was valid when stored; for example, its file may be gone now."""
    known = _BLOCK_CLASSES.get(str(fields.get("block_type")))
    if known is None:
        raise StoreError(
            f"A message contains a block of type {fields.get('block_type')!r}, which this version "
            "of llama-index-core does not know; upgrade it."
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
