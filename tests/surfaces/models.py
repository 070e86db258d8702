"""Fake language models that answer from a script and record their prompts."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import Field, PrivateAttr

Prompt = list[BaseMessage]
Reply = str | AIMessage | Exception | Callable[[Prompt], "str | AIMessage"]


class ModelDown(Exception):
    """The provider does not answer."""


class FakeModel(BaseChatModel):
    """Gives its replies in order, repeating the last one; streams them word by word.

    Attributes:
        replies: Texts, messages, errors to raise, or functions of the prompt.
        prompts: The prompt of each call.
        breaks_after: A stream raises `ModelDown` after this many words.
        before_word: Called with the number of each word before it is streamed.
    """

    replies: list[Any] = Field(default_factory=lambda: ["Fine."])
    prompts: list[Prompt] = Field(default_factory=list)
    breaks_after: int | None = None
    before_word: Callable[[int], None] | None = None
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    @property
    def _llm_type(self) -> str:
        return "fake-model"

    @property
    def shown(self) -> str:
        """The last prompt as one text."""
        return "\n".join(f"{message.type}: {message.text}" for message in self.prompts[-1])

    def _next(self, messages: Prompt) -> AIMessage:
        with self._lock:
            reply: Reply = self.replies[min(len(self.prompts), len(self.replies) - 1)]
            self.prompts.append(list(messages))
        if isinstance(reply, Exception):
            raise reply
        said = reply(messages) if callable(reply) else reply
        return AIMessage(said) if isinstance(said, str) else said.model_copy()

    def _generate(
        self, messages: Prompt, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._next(messages))])

    def _stream(
        self, messages: Prompt, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        message = self._next(messages)
        words = re.findall(r"\S+\s*", message.text)
        for place, word in enumerate(words):
            if self.before_word:
                self.before_word(place)
            if place == self.breaks_after:
                raise ModelDown("in the middle of a word")
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=word, id=message.id))
            if run_manager:
                run_manager.on_llm_new_token(word, chunk=chunk)
            yield chunk
        if message.tool_calls:
            calls = [
                {"name": call["name"], "args": str(call["args"]).replace("'", '"'),
                 "id": call["id"], "index": place, "type": "tool_call_chunk"}
                for place, call in enumerate(message.tool_calls)
            ]  # fmt: skip
            yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=calls))


def echo(prompt: Prompt) -> str:
    """Answer with the user's last message."""
    return f"You said: {prompt[-1].text}"
