"""Plans: the same logic in both colours."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest

from langchain_kronvex.core.effects import Plan, arun, both, call, run


class Target:
    """Answers in either colour and notes which was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def double(self, number: int, *, plus: int = 0) -> int:
        self.asked.append("double")
        return 2 * number + plus

    async def adouble(self, number: int, *, plus: int = 0) -> int:
        await asyncio.sleep(0)
        self.asked.append("adouble")
        return 2 * number + plus

    def fail(self) -> None:
        raise KeyError("fail")

    async def afail(self) -> None:
        raise KeyError("fail")

    def interrupt(self) -> None:
        raise KeyboardInterrupt

    async def ainterrupt(self) -> None:
        raise KeyboardInterrupt


@pytest.fixture(params=["sync", "async"])
def do(request: pytest.FixtureRequest):
    """Runs a plan in either colour."""
    return run if request.param == "sync" else lambda plan: asyncio.run(arun(plan))


def test_a_plan_is_sent_what_it_asked_for(do) -> None:
    target = Target()

    def plan() -> Plan[int]:
        first = yield call(target, "double", 2)
        second = yield call(target, "double", first, plus=1)
        return second

    assert do(plan()) == 9
    assert target.asked in (["double"] * 2, ["adouble"] * 2)


def test_a_plan_that_asks_nothing_returns_at_once(do) -> None:
    def plan() -> Plan[str]:
        return "done"
        yield

    assert do(plan()) == "done"


def test_errors_are_thrown_into_the_plan_which_may_go_on(do) -> None:
    def plan() -> Plan[Any]:
        try:
            yield call(Target(), "fail")
        except KeyError as error:
            answer = yield call(Target(), "double", 4)
            return (error.args, answer)

    assert do(plan()) == (("fail",), 8)


def test_errors_that_the_plan_does_not_take_reach_the_caller(do) -> None:
    cleaned: list[str] = []

    def plan() -> Plan[None]:
        try:
            yield call(Target(), "fail")
        finally:
            cleaned.append("up")

    with pytest.raises(KeyError, match="fail"):
        do(plan())
    assert cleaned == ["up"]


def test_a_plan_may_change_the_error(do) -> None:
    def plan() -> Plan[None]:
        try:
            yield call(Target(), "fail")
        except KeyError as error:
            raise ValueError("changed") from error

    with pytest.raises(ValueError, match="changed") as caught:
        do(plan())
    assert isinstance(caught.value.__cause__, KeyError)


def test_plans_nest(do) -> None:
    def inner(number: int) -> Plan[int]:
        return (yield call(Target(), "double", number))

    def outer() -> Plan[int]:
        one = yield from inner(1)
        return (yield from inner(one)) + 1

    assert do(outer()) == 5


def test_an_interrupt_is_not_for_the_plan_to_decide() -> None:
    def plan() -> Plan[str]:
        try:
            yield call(Target(), "interrupt")
        except Exception:
            return "swallowed"
        return "ignored"

    with pytest.raises(KeyboardInterrupt):
        run(plan())


def test_an_interrupted_plan_lets_go_at_once_of_what_it_holds(do) -> None:
    let_go: list[str] = []

    def plan() -> Plan[None]:
        try:
            yield call(Target(), "interrupt")
        finally:
            let_go.append("the lock")

    with pytest.raises(KeyboardInterrupt) as kept:
        do(plan())
    assert let_go == ["the lock"]
    assert kept.traceback  # which would have kept the plan, too


def test_a_missing_verb_is_an_error_the_caller_sees(do) -> None:
    def plan() -> Plan[None]:
        yield call(Target(), "unknown")

    with pytest.raises(AttributeError, match="unknown"):
        do(plan())


class Holder:
    def _verb(self, first: int, *, second: str = "x") -> Plan[list[int]]:
        """Say what it does."""
        answer = yield call(Target(), "double", first)
        return [answer, len(second)]

    def _maybe(self) -> Plan[int | None]:
        """Perhaps."""
        return None
        yield

    verb, averb = both(_verb)
    maybe, amaybe = both(_maybe)


def test_both_makes_functions_that_look_written_out() -> None:
    assert Holder.verb.__name__ == "verb"
    assert Holder.averb.__name__ == "averb"
    assert Holder.verb.__qualname__ == "Holder.verb"
    assert Holder.averb.__qualname__ == "Holder.averb"
    assert inspect.signature(Holder.verb) == inspect.signature(Holder.averb)
    assert list(inspect.signature(Holder.verb).parameters) == ["self", "first", "second"]
    assert inspect.signature(Holder.verb).return_annotation == "list[int]"
    assert inspect.signature(Holder.maybe).return_annotation == "int | None"
    assert inspect.iscoroutinefunction(Holder.averb)
    assert not inspect.iscoroutinefunction(Holder.verb)
    assert Holder.verb.__doc__ == "Say what it does."
    assert "verb" in Holder.averb.__doc__
    assert "Say what it does." in Holder.averb.__doc__


def test_both_makes_functions_that_work() -> None:
    assert Holder().verb(3, second="abc") == [6, 3]
    assert asyncio.run(Holder().averb(3)) == [6, 1]
    assert Holder().maybe() is None
    with pytest.raises(TypeError):
        Holder().verb()
