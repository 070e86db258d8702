"""How the package is called: mistakes are reported at the call, by our own errors and warnings."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError

from langchain_kronvex.core.errors import InvalidInput, MissingExtra
from langchain_kronvex.core.validation import check_names

logger = logging.getLogger("langchain_kronvex")


class CheckedOptions:
    """Makes the constructor of a pydantic model raise `InvalidInput`; must be the first base."""

    def __init__(self, *args: Any, **options: Any) -> None:
        try:
            super().__init__(*args, **options)
        except ValidationError as error:
            check_names(type(self).__name__, options, inspect.signature(type(self)).parameters)
            raise InvalidInput(explained(error)) from None
        self.check_options()

    def check_options(self) -> None:
        """Raise `InvalidInput` if a value does not fit, although it has the right type."""


@contextmanager
def needing(what: str, *, extra: str) -> Iterator[None]:
    """Surround imports; if one fails, raise `MissingExtra`, which says what to install.

    Args:
        what: What needs what, such as "The store needs LangGraph".
        extra: The extra of this package that installs it.
    """
    try:
        yield
    except ImportError as error:
        raise MissingExtra(f'{what}: pip install "langchain-kronvex[{extra}]"') from error


@functools.cache
def warn_once(text: str) -> None:
    """Log a warning about how the package is used; the same text once in a process."""
    logger.warning(text)


def explained(error: ValidationError) -> str:
    """Return which values do not fit, without quoting them."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return " ".join(
        f"{'.'.join(map(str, each['loc'])) or 'arguments'}: {each['msg']}." for each in found
    )
