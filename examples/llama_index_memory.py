"""LlamaIndex: a `Memory` that survives the process, and recalls what was said in other sessions."""

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
    """The stand-in of the other examples, for LlamaIndex: it quotes the prompt; no AI model."""

    @property
    def metadata(self) -> LLMMetadata:
        """Say what it is."""
        return LLMMetadata(model_name="offline stand-in, not an AI model", is_chat_model=True)

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Quote what the messages hold."""
        shown = [
            (SystemMessage if message.role == "system" else HumanMessage)(message.content or "")
            for message in messages
            if message.role != "assistant"
        ]
        return ChatResponse(message=ChatMessage(answer(list(shown)), role="assistant"))

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Quote what the prompt holds."""
        return CompletionResponse(text=answer([HumanMessage(prompt)]))

    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseGen:
        """Quote it in one piece."""
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

        # Everything was closed. Another session: its history is empty, the memory is not.
        with KronvexMemory(url) as memory:
            reply = chat(memory, "ana", "tuesday").chat("Which allergy do I have?")
            print(reply)
            assert "peanuts" in str(reply)
            assert "peanuts" not in str(chat(memory, "ben", "tuesday").chat("Which allergy?"))

            # The first session goes on where it was, and its turns are nodes as well.
            history = chat(memory, "ana", "monday").chat_history
            print([str(message.content) for message in history])
            assert len(history) == 2
            nodes = KronvexRetriever(memory=memory, user_id="ana", k=1).retrieve("peanuts")
            print(nodes[0].score, nodes[0].text)


if __name__ == "__main__":
    main()
