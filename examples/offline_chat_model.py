"""An offline stand-in for a chat model: it looks up the answer in its prompt.

It is not an AI model. It only quotes the statement in the prompt that shares the rarest words with
the question, so that the examples run without an API key and without a network.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

LABEL = {"model_name": "offline stand-in, not an AI model"}
MEMORY_LINE = re.compile(r"^\[\w+, (\d{4}-\d\d-\d\d)\] (.+)$", re.MULTILINE)
STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a about am an and any are as at be by can did do does for from had has have he her his "
        "how i in is it its me my of on one or our she should that the their them they this to "
        "was we were what when where which who why will with you your",
    )
)


class OfflineChatModel(BaseChatModel):
    """Quotes the remembered line closest to the last message; its label says it is not AI."""

    @property
    def _llm_type(self) -> str:
        return "offline-stand-in"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        message = AIMessage(answer(messages), response_metadata=LABEL)
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        # Metadata of chunks is concatenated, so only an empty first chunk has the label.
        yield ChatGenerationChunk(message=AIMessageChunk(content="", response_metadata=LABEL))
        for word in re.findall(r"\S+\s*", answer(messages)):
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))


def answer(messages: list[BaseMessage]) -> str:
    """Quote the user's statement that shares the rarest words with the last message."""
    question = stems(messages[-1].text)
    lines = [line for message in messages[:-1] for line in remembered(message)]
    lines_with = Counter(stem for _, line in lines for stem in stems(line))
    best, best_score = "I have nothing about that yet.", 0.0
    for date, line in lines:
        score = sum(1 / lines_with[stem] for stem in question & stems(line))
        statement = own_statements(line)
        if statement and score > best_score:
            best, best_score = f"From what you told me{date}: {statement}", score
    return best


def remembered(message: BaseMessage) -> list[tuple[str, str]]:
    """Return the user's remembered lines, each with its date in brackets if it is known."""
    if message.type == "system":
        return [(f" ({date})", line) for date, line in MEMORY_LINE.findall(message.text)]
    return [("", message.text)] if message.type == "human" else []


def own_statements(line: str) -> str:
    """Return the user's statements; earlier questions do not answer anything."""
    own_words = line.removeprefix("User: ").split(" Assistant: ")[0]
    sentences = re.split(r"(?<=[.!?])\s+", own_words)
    return " ".join(sentence for sentence in sentences if not sentence.endswith("?"))


def stems(text: str) -> set[str]:
    """Return the words without stop words, cut so that `allergic` matches `allergy`."""
    words = re.findall(r"\w+", text.lower().replace("'s", ""))
    return {word.rstrip("s")[:5] for word in words if word not in STOP_WORDS}
