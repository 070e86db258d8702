"""The command `doctor`: why memories do not persist, or are not found, and what to do about it."""
