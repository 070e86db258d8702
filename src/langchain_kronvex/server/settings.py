"""The settings of a server."""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_BODY_BYTES = 16 << 20
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How `create_app` serves.

    Attributes:
        max_body_bytes: Larger requests are rejected with 413. The default of 16 MiB fits the
            longest text (1,048,576 characters, of up to 12 bytes each in ASCII JSON) with almost
            4 MiB of metadata.
        body_timeout_seconds: A request whose body takes longer to arrive is rejected with 408.
        requests_per_minute: How many requests each API key may make in any 60 seconds; None for
            no limit. Requests under /api/v1, /auth and /inspector/api count, in each process by
            itself.
        cors_origins: Web pages of these origins may call the API, for example
            `("https://app.example.com",)`; none by default.
        allowed_hosts: The host names that requests may use (the Host header, without a port);
            None for any. This keeps web pages from reaching a server on this machine by pointing
            a name of their own at it.
        all_sessions: What a recall without `session_id` and `user_id` searches: False for the
            memories stored without either, True for all sessions of the agent, as the hosted
            service does. With True, a missing id reveals other users' memories.
        open_memories: How many agents' memories stay open, with their indexes in RAM.
        cache_megabytes: Bound of the indexes kept in RAM, in MiB, for each open memory.
        metrics_token: What `/metrics` wants as `Authorization: Bearer …`; None to answer callers
            on this machine alone.
    """

    max_body_bytes: int = MAX_BODY_BYTES
    body_timeout_seconds: float = 60.0
    requests_per_minute: int | None = None
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] | None = None
    all_sessions: bool = False
    open_memories: int = 32
    cache_megabytes: int = 64
    metrics_token: str | None = field(default=None, repr=False)
