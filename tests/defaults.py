"""Other defaults for the keyword arguments of classes that users do not construct themselves."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_kronvex import BackgroundWriter


def set_default(monkeypatch: pytest.MonkeyPatch, kind: type[Any], name: str, value: object) -> None:
    """Change the default of a keyword argument of the constructor of a class."""
    monkeypatch.setitem(kind.__init__.__kwdefaults__, name, value)


def limit_pauses(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Limit the pauses of every background writer created from now on."""
    set_default(monkeypatch, BackgroundWriter, "longest_pause_seconds", seconds)
