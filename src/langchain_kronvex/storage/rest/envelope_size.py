"""What is too large for a server is refused when it is stored, not when it is sent. Pure functions.

An API says nowhere how much it takes. The limit here is that of the server of this package, unless
it was told another one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.storage.backend import Record
from langchain_kronvex.storage.rest.envelope import Stored, storing

MAX_REQUEST_BYTES = 16 << 20
_ADDED_BYTES = 64 << 10  # at most, by the numbers of the envelope, which grow
_ALWAYS_FITS_CHARS = 1 << 20  # of text and metadata: 14 bytes for each are less than the limit
_NAMES = {"memory": "memory", "message": "message", "item": "value"}


def check_sizes(records: Iterable[Record]) -> None:
    """Refuse records that no server of this package takes in one request.

    Raises:
        InvalidInput: one is too large.
    """
    for record in records:
        size = _request_bytes(record)
        if size > MAX_REQUEST_BYTES - _ADDED_BYTES:
            raise InvalidInput(
                f"A {_NAMES[record.kind]} (id {record.id}) has {size:,} bytes as JSON; a Kronvex "
                f"server takes {MAX_REQUEST_BYTES >> 20} MiB. Keep what is so large elsewhere, "
                "for example a picture in a file, and store where it is."
            )


def _request_bytes(record: Record) -> int:
    """Return the size of a record's request; 0 when it is small enough anyway."""
    chars = len(record.content) + len(record.search_text or "")
    if chars < _ALWAYS_FITS_CHARS:
        chars += len(json.dumps(dict(record.metadata)))
    if chars < _ALWAYS_FITS_CHARS:
        return 0
    body = storing("", Stored(record, 0, 0)).body
    return len(json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass"))
