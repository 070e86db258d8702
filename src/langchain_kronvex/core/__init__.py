"""What every part of the package knows: types, errors, limits, messages, background work."""
