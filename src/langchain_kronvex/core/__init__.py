"""The base of every part of the package: types, errors, limits, messages, background work."""

__version__ = "0.1.0"  # the only place; pyproject.toml reads it
