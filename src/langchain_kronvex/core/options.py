"""How the package is called: mistakes are reported at the call, by our own errors and warnings."""

from __future__ import annotations

import difflib
import functools
import inspect
import logging
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any, ParamSpec, TypeVar, cast

from pydantic import ValidationError

from langchain_kronvex.core.errors import InvalidInput

logger = logging.getLogger("langchain_kronvex")
P = ParamSpec("P")
T = TypeVar("T")

_NO_NUMBERS = ("True", "False", "nan")
_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {  # by annotation
    "bool": (lambda value: isinstance(value, bool), "True or False"),
    "bool | Unchanged": (lambda value: isinstance(value, bool), "True or False"),
    "bool | Progress": (lambda v: isinstance(v, bool) or callable(v), "True or False"),
    "float": (lambda v: isinstance(v, int | float) and str(v) not in _NO_NUMBERS, "a number"),
    "OnError": (callable, "a function"),
    "Callable[[], datetime]": (callable, "a function that returns the time"),
    "Collection[str]": (lambda v: isinstance(v, list | tuple | Set), "a list of texts"),
}


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


def checked_calls(cls: type[T]) -> type[T]:
    """Make the constructor and the public methods of a class check how they are called."""
    for name, method in list(vars(cls).items()):
        if callable(method) and (name == "__init__" or not name.startswith("_")):
            setattr(cls, name, checked_names(method))
    return cls


def checked_names(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function raise `InvalidInput` for unknown options and values of the wrong kind."""
    parameters = inspect.signature(function).parameters
    kinds = {name: str(p.annotation).removesuffix(" | None") for name, p in parameters.items()}
    known = {name: _KINDS.get(kind) for name, kind in kinds.items()}
    owner = function.__qualname__.removesuffix(".__init__")
    is_open = "changes" in parameters  # of the constructor

    def check(args: tuple[object, ...], options: Mapping[str, object]) -> None:
        if not is_open and not options.keys() <= known.keys():
            check_names(owner, options, known)
        for name, value in (*zip(known, args, strict=False), *options.items()):
            kind = known.get(name)
            if kind and value is not parameters[name].default and not kind[0](value):
                raise InvalidInput(f"{name} must be {kind[1]}, not {value!r:.99}.")

    @functools.wraps(function)
    def call(*args: P.args, **options: P.kwargs) -> T:
        check(args, options)
        return function(*args, **options)

    @functools.wraps(function)
    async def call_async(*args: P.args, **options: P.kwargs) -> Any:
        check(args, options)
        return await cast("Any", function)(*args, **options)

    return cast("Any", call_async) if inspect.iscoroutinefunction(function) else call


def check_names(owner: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raise `InvalidInput` if a name is unknown, with the name that was probably meant."""
    there = [name for name in known if name not in ("self", "args")]
    for name in names:
        if name not in there:
            alike = [each for each in there if name in each.split("_") or each in name.split("_")]
            meant = alike or difflib.get_close_matches(name, there, n=1)
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
