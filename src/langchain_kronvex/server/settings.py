"""What a server allows and bounds."""

from __future__ import annotations

from dataclasses import dataclass

MAX_BODY_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How `create_app` serves.

    Attributes:
        max_body_bytes: Larger requests are refused with 413. The default of 16 MiB takes the
            longest text (1,048,576 characters, of up to 12 bytes each where a client writes JSON
            in ASCII) with almost 4 MiB of metadata.
        requests_per_minute: How many requests each API key may make in any 60 seconds; None for
            no limit. Every request under /api/v1 counts.
        cors_origins: Web pages of these origins may call the API, for example
            `("https://app.example.com",)`; none by default.
        allowed_hosts: Names by which the server may be called (the Host header, without a port);
            None for any. Names keep web pages from reaching a server on this machine under a name
            of their own that leads here.
        all_sessions: What a recall without `session_id` and `user_id` looks at: False for the
            memories stored without either, True for those of every session of the agent, as
            the hosted service does. True makes every forgotten id a leak between users.
        open_memories: How many agents' memories stay open, with their indexes in RAM.
        cache_megabytes: Bound of the indexes kept in RAM, in MiB, for each open memory.
    """

    max_body_bytes: int = MAX_BODY_BYTES
    requests_per_minute: int | None = None
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] | None = None
    all_sessions: bool = False
    open_memories: int = 32
    cache_megabytes: int = 64
