"""Names of any length, as names short enough for the index of every store."""

from __future__ import annotations

import hashlib

from langchain_kronvex.core.validation import MAX_ID_CHARS

DIGESTED = "#blake2b:"


def short_name(name: str) -> str:
    """Return the name itself, or for a long one a digest of it; different names stay different.

    A short name that looks like a digest is digested as well, so that it cannot pose as another.
    """
    if len(name) <= MAX_ID_CHARS and not name.startswith(DIGESTED):
        return name
    return DIGESTED + hashlib.blake2b(name.encode(), digest_size=32).hexdigest()
