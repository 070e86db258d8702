"""The base of every part of the package: types, errors, limits, messages, background work."""
