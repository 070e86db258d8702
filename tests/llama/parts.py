"""Shared by tests and child processes: a model that records its prompts, and short messages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseGen,
    LLMMetadata,
)
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from pydantic import Field

Answer = Callable[[Sequence[ChatMessage]], ChatMessage]


def user(text: str) -> ChatMessage:
    return ChatMessage(text)


def assistant(text: str) -> ChatMessage:
    return ChatMessage(text, role="assistant")


def texts(messages: Sequence[ChatMessage] | None) -> list[str]:
    """The texts of the messages, each with its role."""
    return [f"{message.role.value}: {message.content}" for message in messages or []]


def parrot(messages: Sequence[ChatMessage]) -> ChatMessage:
    return assistant(f"re {messages[-1].blocks[-1].text}")


class ScriptedModel(FunctionCallingLLM):
    """Answers with a function, and records its prompts as text."""

    answer: Answer = Field(default=parrot, exclude=True)
    shown: list[str] = Field(default_factory=list)

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(is_function_calling_model=True, is_chat_model=True)

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        self.shown.append("\n".join(texts(messages)))
        return ChatResponse(message=self.answer(messages))

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return self.chat(messages, **kwargs)

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        def chunks() -> ChatResponseGen:
            whole = self.chat(messages, **kwargs)
            yield ChatResponse(message=whole.message, delta=whole.message.content)

        return chunks()

    async def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        async def chunks() -> ChatResponseAsyncGen:
            for chunk in self.stream_chat(messages, **kwargs):
                yield chunk

        return chunks()

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return CompletionResponse(text=self.chat([user(prompt)]).message.content or "")

    async def acomplete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponse:
        return self.complete(prompt, formatted, **kwargs)

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        def chunks() -> CompletionResponseGen:
            yield self.complete(prompt, formatted, **kwargs)

        return chunks()

    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        raise NotImplementedError

    def _prepare_chat_with_tools(
        self, tools: Any, user_msg: Any = None, chat_history: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        return {"messages": [*(chat_history or []), *([user_msg] if user_msg else [])]}

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        return [
            ToolSelection(
                tool_id=block.tool_call_id or "",
                tool_name=block.tool_name,
                tool_kwargs=dict(block.tool_kwargs),
            )
            for block in response.message.blocks
            if block.block_type == "tool_call"
        ]


# -- ways to call a method of a store, sync or async --------------------------------------------

Call = Callable[..., Awaitable[Any]]


async def in_sync(target: Any, verb: str, *arguments: Any) -> Any:
    return getattr(target, verb)(*arguments)


async def in_async(target: Any, verb: str, *arguments: Any) -> Any:
    name = "async_add_message" if verb == "add_message" else f"a{verb}"
    return await getattr(target, name)(*arguments)


both_ways = pytest.mark.parametrize("call", [in_sync, in_async])


def finish(work: Awaitable[Any]) -> Any:
    """Run a coroutine to its end, for child processes."""

    async def waited() -> Any:
        return await work

    return asyncio.run(waited())
