"""The user's `before_save`: sees each text before it is stored, and may change or refuse it.

Everything that stores texts asks here, before records are made, so the text that the function
returned is the one that is stored, indexed, sent and de-duplicated.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.messages import BaseMessage

from langchain_kronvex.core import validation as checks
from langchain_kronvex.core.errors import ConfigurationError, SaveRefused
from langchain_kronvex.core.messages import (
    NOT_SAVED,
    changed_block,
    changed_values,
    emptied,
    with_changed_texts,
)
from langchain_kronvex.core.records import Record

logger = logging.getLogger("langchain_kronvex")


@dataclass(frozen=True, slots=True)
class BeforeSave:
    """Asks the function about texts, values, memories and messages.

    Args:
        function: The user's; None stores everything as it is.
    """

    function: Callable[[str], str | None] | None

    def text(self, text: str) -> str:
        """Return the text to store.

        Raises:
            SaveRefused: the function refused the text.
        """
        if self.function is None:
            return text
        new = self.function(text)
        if new is None:
            raise SaveRefused()
        if not isinstance(new, str):
            raise ConfigurationError(
                "before_save must return the text to store, or None to refuse it, not "
                f"{type(new).__name__}."
            )
        return new

    def values(self, value: Any) -> Any:
        """Return a JSON value with each text in it as it is to be stored; keys stay.

        Raises:
            SaveRefused: the function refused one of the texts.
        """
        return value if self.function is None else changed_values(value, self.text)

    def memory(self, record: Record, base: Record | None = None) -> Record:
        """Return the record of a memory with its texts as they are to be stored.

        Args:
            record: A new memory, or a changed one.
            base: The memory before the change, whose texts have been asked about.

        Raises:
            SaveRefused: the function refused the content, or a text in the metadata.
            InvalidInput: the text that it returned cannot be stored.
        """
        if self.function is None:
            return record
        if base is None or record.metadata != base.metadata:
            record = replace(record, metadata=checks.check_metadata(self.values(record.metadata)))
        if base is not None and record.content == base.content:
            return record
        content = checks.check_content(self.text(record.content), "the text from before_save")
        search_text = record.search_text and self.text(record.search_text)
        if content == record.content and search_text == record.search_text:
            return record
        changed = replace(record, content=content, search_text=search_text)
        return replace(changed, key=changed.usual_key())

    def said(self, text: str) -> str:
        """Return someone's words as they are to be stored; "" if they are refused."""
        try:
            return self.text(text)
        except SaveRefused:
            log_refused(1)
            return ""

    def message(self, message: BaseMessage) -> BaseMessage:
        """Return a message as it is to be stored; one that is refused says `[not saved]`.

        A mark stays in its place, because models reject a history in which the result of a tool
        call, or every other turn, is missing.
        """
        if self.function is None:
            return message
        try:
            return with_changed_texts(message, self.text)
        except SaveRefused:
            return emptied(message, NOT_SAVED)

    def messages(self, messages: Sequence[BaseMessage]) -> list[BaseMessage]:
        """Return messages as they are to be stored, and log how many are refused."""
        stored = [self.message(message) for message in messages]
        pairs = zip(messages, stored, strict=True)
        log_refused(sum(new is not old and new.content == NOT_SAVED for old, new in pairs))
        return stored

    def encoded(self, text: str) -> str:
        """Return the JSON text of a message, as a client or a codec wrote it, with texts changed.

        Raises:
            SaveRefused: the function refused one of the texts.
        """
        if self.function is None:
            return text
        fields = json.loads(text)
        parts = {name: part for name, part in fields.items() if isinstance(part, dict)}
        new = {name: changed_block(part, self.text) for name, part in parts.items()}
        return text if new == parts else json.dumps({**fields, **new})

    def check_unchanged(self, record: Record) -> None:
        """Check that a record of a client, which compares it with its own copy, may be stored.

        Raises:
            SaveRefused: the function refuses a text, or changes one.
        """
        if record.kind == "message":
            is_same = self.encoded(record.content) == record.content
        else:
            is_same = self.memory(record) == record
        if not is_same:
            raise SaveRefused(
                "before_save of this server would change a text. Give before_save to the "
                "KronvexMemory of the client, so that it sends what is to be stored."
            )


def log_refused(count: int) -> None:
    """Log that messages of a chat were refused, without their text."""
    if count:
        logger.info("before_save refused %d message(s) of a chat; they are not stored", count)
