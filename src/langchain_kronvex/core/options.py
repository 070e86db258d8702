"""How the package is called: mistakes are reported at the call, by our own errors and warnings."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError

from langchain_kronvex.core.errors import ConfigurationError, InvalidInput, MissingExtra
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


@contextmanager
def by_name(option: str, name: str, *, instead: str) -> Iterator[None]:
    """Surround what imports LangChain and makes the model of a name.

    Args:
        option: The option that names the model.
        name: The name.
        instead: What else to pass, for the error.

    Raises:
        ConfigurationError: the name is unknown, or its model cannot be created.
        MissingExtra: LangChain or the provider's package is not installed.
    """
    try:
        yield
    except ImportError as error:
        why = f": {error}"
        if (error.name or "").partition(".")[0] == "langchain":
            why = " needs LangChain: pip install langchain, or for OpenAI "
            why += 'pip install "langchain-kronvex[openai]"'
        raise MissingExtra(f"{option}={name!r}{why}") from error
    except Exception as error:
        raise ConfigurationError(
            f"{option}={name!r} cannot be used: {type(error).__name__}: {error}. Pass {instead}."
        ) from error


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
