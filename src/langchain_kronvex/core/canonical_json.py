"""JSON values as text: values that are equal have one and the same text."""

from __future__ import annotations

import json
from typing import Any

from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.core.validation import check_json

MAX_JSON_CHARS = 16 * 1024 * 1024
MAX_JSON_LEVELS = 128


def to_text(value: Any, name: str) -> str:
    """Return the text of a JSON value.

    Args:
        value: Tuples become lists.
        name: What to call it in an error.

    Raises:
        InvalidInput: it is no JSON value, or too large.
    """
    copy = check_json(value, name, MAX_JSON_LEVELS)
    text = json.dumps(copy, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    try:
        text.encode()
    except UnicodeEncodeError:  # lone surrogates, which survive as escapes only
        text = json.dumps(copy, separators=(",", ":"), sort_keys=True)
    if len(text) > MAX_JSON_CHARS:
        raise InvalidInput(
            f"{name} has {len(text)} characters as JSON; at most {MAX_JSON_CHARS} are allowed."
        )
    return text


def from_text(text: str) -> Any:
    """Return the value of a text that `to_text` made."""
    return json.loads(text)
