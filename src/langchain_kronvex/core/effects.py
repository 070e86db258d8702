"""Sync and async written once: a verb is a plan, run in either colour.

A plan is a generator that holds the logic and does no I/O. Whenever it needs something done, it
yields a `Call` and is sent the result. `run` makes the calls; `arun` awaits the twins of the
same name with an `a` in front, as LangChain names them.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Generator
from typing import Any, NamedTuple, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Call(NamedTuple):
    """A method to be called, or its `a…` twin to be awaited."""

    target: Any
    verb: str
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]


Plan = Generator[Call, Any, T]


def call(target: Any, verb: str, *arguments: Any, **keywords: Any) -> Call:
    """Return the call `target.verb(*arguments, **keywords)`."""
    return Call(target, verb, arguments, keywords)


def run(plan: Plan[T]) -> T:
    """Run a plan, calling what it asks for."""
    step = functools.partial(next, plan)
    while True:
        try:
            wanted: Call = step()
        except StopIteration as stop:
            result: T = stop.value
            return result
        try:
            answer = getattr(wanted.target, wanted.verb)(*wanted.arguments, **wanted.keywords)
        except Exception as error:  # noqa: BLE001 - the plan decides
            step = functools.partial(plan.throw, error)
        except BaseException:
            plan.close()  # now: whoever keeps the traceback would keep what the plan has locked
            raise
        else:
            step = functools.partial(plan.send, answer)


async def arun(plan: Plan[T]) -> T:
    """Run a plan, awaiting the twins of what it asks for."""
    step = functools.partial(next, plan)
    while True:
        try:
            wanted: Call = step()
        except StopIteration as stop:
            result: T = stop.value
            return result
        try:
            twin = getattr(wanted.target, "a" + wanted.verb)
            answer = await twin(*wanted.arguments, **wanted.keywords)
        except Exception as error:  # noqa: BLE001 - the plan decides
            step = functools.partial(plan.throw, error)
        except BaseException:
            plan.close()
            raise
        else:
            step = functools.partial(plan.send, answer)


def both(plan: Callable[P, Plan[T]]) -> tuple[Callable[P, T], Callable[P, Awaitable[T]]]:
    """Return the sync and the async function of a plan, with its signature and docstring."""
    name = plan.__name__.lstrip("_")

    @functools.wraps(plan)
    def verb(*args: P.args, **kwargs: P.kwargs) -> T:
        return run(plan(*args, **kwargs))

    @functools.wraps(plan)
    async def averb(*args: P.args, **kwargs: P.kwargs) -> T:
        return await arun(plan(*args, **kwargs))

    _name(verb, plan, name)
    _name(averb, plan, "a" + name)
    averb.__doc__ = f"Twin of `{name}`, to be awaited.\n\n        {plan.__doc__}"
    return verb, averb


def _name(function: Any, plan: Callable[..., Any], name: str) -> None:
    """Make a function look as if it had been written out: its name, and what it returns."""
    signature = inspect.signature(plan)
    result = str(signature.return_annotation).removeprefix("Plan[").removesuffix("]")
    function.__name__ = name
    function.__qualname__ = plan.__qualname__.replace(plan.__name__, name)
    function.__signature__ = signature.replace(return_annotation=result)
