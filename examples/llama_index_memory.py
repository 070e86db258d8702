"""LlamaIndex: a persistent `Memory` that also recalls from other sessions."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain_core.messages import HumanMessage, SystemMessage
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    CompletionResponseGen,
    LLMMetadata,
)
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import CustomLLM
from llama_index.core.memory import Memory

from langchain_kronvex import KronvexMemory
from langchain_kronvex.llama_index import (
    KronvexAsyncChatStore,
    KronvexMemoryBlock,
    KronvexRetriever,
)
from offline_chat_model import answer


class OfflineLLM(CustomLLM):
    """The stand-in of the other examples for LlamaIndex; it quotes the prompt, without any AI."""

    @property
    def metadata(self) -> LLMMetadata:
        """Return the description of the stand-in."""
        return LLMMetadata(model_name="offline stand-in, not an AI model", is_chat_model=True)

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Quote the messages."""
        shown = [
            (SystemMessage if message.role == "system" else HumanMessage)(message.content or "")
            for message in messages
            if message.role != "assistant"
        ]
        return ChatResponse(message=ChatMessage(answer(list(shown)), role="assistant"))

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Quote the prompt."""
        return CompletionResponse(text=answer([HumanMessage(prompt)]))

    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseGen:
        """Quote the prompt in one piece."""
        yield self.complete(prompt, formatted, **kwargs)


def chat(memory: KronvexMemory, user_id: str, session_id: str) -> SimpleChatEngine:
    long_term = Memory.from_defaults(
        session_id=session_id,
        chat_store=KronvexAsyncChatStore(memory=memory, user_id=user_id),
        memory_blocks=[KronvexMemoryBlock(memory=memory, user_id=user_id)],
    )
    return SimpleChatEngine.from_defaults(llm=OfflineLLM(), memory=long_term)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'memory.db'}"
        with KronvexMemory(url) as memory:
            chat(memory, "ana", "monday").chat("I am allergic to peanuts.")

        # Everything was closed. In another session, the history is empty, but the memory is not.
        with KronvexMemory(url) as memory:
            reply = chat(memory, "ana", "tuesday").chat("Which allergy do I have?")
            print(reply)
            assert "peanuts" in str(reply)
            assert "peanuts" not in str(chat(memory, "ben", "tuesday").chat("Which allergy?"))

            # The first session continues, and its exchanges are also available as nodes.
            history = chat(memory, "ana", "monday").chat_history
            print([str(message.content) for message in history])
            assert len(history) == 2
            nodes = KronvexRetriever(memory=memory, user_id="ana", k=1).retrieve("peanuts")
            print(nodes[0].score, nodes[0].text)


if __name__ == "__main__":
    main()
