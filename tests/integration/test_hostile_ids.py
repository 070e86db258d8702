"""No operation under any id shows one user what is another's, and nothing acknowledged is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from .hostile_ids import WEIGHTS, Rounds

SOAK = [pytest.param(seed, 25_000, marks=pytest.mark.soak) for seed in range(1, 41)]  # a million


@pytest.mark.parametrize(("seed", "operations"), [(0, 3_000), *SOAK])
def test_each_user_sees_exactly_what_was_written_under_their_ids(
    seed: int, operations: int, tmp_path: Path
) -> None:
    done = Rounds(tmp_path, seed).run(operations, reopen_every=operations // 5)
    assert len(done) == len(WEIGHTS)
