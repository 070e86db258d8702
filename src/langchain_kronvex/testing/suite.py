"""What the contract tests share: failures that are expected, and ids that stores mix up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import ClassVar

import pytest

# A store mixes them up if it ignores case, normalizes, trims, matches patterns or splits paths.
HOSTILE_IDS = (
    "ana", "Ana", " ana", "ana ", "ana\n", "an_", "an%", "a*", "%", "_", "ana/s1", "ana:s1",
    "../ana", "jos\u00e9", "jose\u0301", "\u0430na", "\u202eana", "😀", "'", '"', "\\",
    "'; DROP TABLE messages; --", "{}", "null", "0", "x" * 200, "x" * 199,
)  # fmt: skip
_THREADS = 6


class ContractTests:
    """Base of the suites.

    Attributes:
        expected_failures: Tests that the implementation cannot pass, with the reason of each. A key
            is the name of a test, or `name[case]` for one of its cases. They are strict: a listed
            test that passes is reported as a failure.
    """

    expected_failures: ClassVar[Mapping[str, str]] = {}

    @pytest.fixture(autouse=True)
    def _expect_failures(self, request: pytest.FixtureRequest) -> None:
        unknown = [n for n in self.expected_failures if not hasattr(self, n.partition("[")[0])]
        assert not unknown, "expected_failures names tests that do not exist"
        for name in (request.node.name, request.node.name.partition("[")[0]):
            if reason := self.expected_failures.get(name):
                request.applymarker(pytest.mark.xfail(reason=reason, strict=True))

    @pytest.fixture
    def reopen(self) -> Callable[[], None]:
        """Override it if connections or caches have to be closed as at the end of a process.

        Returns:
            A function that closes everything which is open; what is opened afterwards reads what
            was stored.
        """
        return lambda: None


def in_threads(work: Callable[[int], None]) -> int:
    """Call a function with 0, 1, … in as many threads at once; return how many there were."""
    start = Barrier(_THREADS)

    def begin(number: int) -> None:
        start.wait(30)
        work(number)

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(begin, range(_THREADS)))
    return _THREADS
