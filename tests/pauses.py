"""Shorter pauses between the tries of background work."""

from __future__ import annotations

import pytest

from langchain_kronvex import BackgroundWriter


def limit_pauses(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Limit the pauses of every writer created from now on."""
    defaults = BackgroundWriter.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "longest_pause_seconds", seconds)
