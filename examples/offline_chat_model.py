"""An offline stand-in for a chat model: it looks up the answer in its prompt.

It is not an AI model. It sees nothing but its prompt, and quotes the statement there that has most
words of the question, so that the examples run without an API key and without a network.
"""

import re
from collections.abc import Iterator
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

LABEL = {"model_name": "offline stand-in, not an AI model"}
MEMORY_LINE = re.compile(r"^\[\w+, (\d{4}-\d\d-\d\d)\] (.+)$", re.MULTILINE)
NAME = re.compile(r"(?<!^)(?<![.!?] )\b[A-Z]\w+")  # not the first word of a sentence
ENDING = re.compile(r"(ing|ed|es|ic|s|e|y|(?<=\d)(st|nd|rd|th))$")
STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a about am an and any are as at be by can did do does for from had has have he her his "
        "how i in is it its me my of on one or our she should that the their them they this to "
        "was we were what when where which who why will with you your",
    )
)


class OfflineChatModel(BaseChatModel):
    """Quotes the remembered statement that answers the last message; it is labelled as no AI."""

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
    """Quote the user's statement that has most words of the question; of equals, the newest.

    A statement answers nothing if it lacks a name in the question, or most of the question's words.
    """
    question = messages[-1].text
    if not question.rstrip().endswith("?"):
        return "I will remember that."
    asked, names = stems(question), stems(" ".join(NAME.findall(question)))
    best, best_rank = "I have nothing about that yet.", (0, "")
    for date, line in (found for message in messages[:-1] for found in remembered(message)):
        statement = own_statements(line)
        shared = asked & stems(line)
        if not statement or not names <= shared or 2 * len(shared) < len(asked):
            continue
        # The user's own words count twice, those of the assistant's reply once.
        rank = (len(shared) + len(asked & stems(statement)), date)
        if rank > best_rank:
            when = f" ({date})" if date < "now" else ""
            best, best_rank = f"From what you told me{when}: {statement}", rank
    return best


def remembered(message: BaseMessage) -> list[tuple[str, str]]:
    """Return the user's remembered lines, each with its date; "now" is the session under way."""
    if message.type == "system":
        return MEMORY_LINE.findall(message.text)
    return [("now", message.text)] if message.type == "human" else []


def own_statements(line: str) -> str:
    """Return the user's statements; earlier questions do not answer anything."""
    own_words = line.removeprefix("User: ").split(" Assistant: ")[0]
    sentences = re.split(r"(?<=[.!?])\s+", own_words)
    return " ".join(sentence for sentence in sentences if not sentence.endswith("?"))


def stems(text: str) -> set[str]:
    """Return the words without stop words, cut so that `allergic` matches `allergy`."""
    words = re.findall(r"\w+", text.lower().replace("'s", ""))
    return {ENDING.sub("", word)[:4] for word in words if word not in STOP_WORDS}
