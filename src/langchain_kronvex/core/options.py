"""How the package is called: mistakes are reported at the call, by our own errors and warnings."""

from __future__ import annotations

import difflib
import functools
import inspect
import logging
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar

from pydantic import ValidationError

from langchain_kronvex.core.errors import InvalidInput

logger = logging.getLogger("langchain_kronvex")
P = ParamSpec("P")
T = TypeVar("T")


class CheckedOptions:
    """First base of a pydantic model whose constructor raises `InvalidInput`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        try:
            super().__init__(*args, **options)
        except ValidationError as error:
            name = type(self).__name__
            check_names(name, options, inspect.signature(type(self)).parameters)
            raise InvalidInput(f"{name}: {explained(error)}") from None
        self.check_options()

    def check_options(self) -> None:
        """Raise `InvalidInput` if a value does not fit, although it has the right type."""


def checked_names(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function raise `InvalidInput` for an option that it does not have."""
    known = inspect.signature(function).parameters
    owner = function.__qualname__.removesuffix(".__init__")

    @functools.wraps(function)
    def call(*args: P.args, **options: P.kwargs) -> T:
        check_names(owner, options, known)
        return function(*args, **options)

    return call


def check_names(owner: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raise `InvalidInput` if a name is unknown, with the name that was probably meant."""
    there = [name for name in known if name not in ("self", "args")]
    for name in names:
        if name not in there:
            alike = [known for known in there if known.endswith(f"_{name}")]  # k, id
            meant = difflib.get_close_matches(name, there, n=1) or alike
            hint = f"did you mean {meant[0]!r}?" if meant else f"its options: {', '.join(there)}."
            raise InvalidInput(f"{owner} has no option {name!r}; {hint}")


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
