"""HTTP: one request, one bounded answer. The API key is added here and nowhere else.

httpx does the work, with a pool of connections that are kept open; tenacity repeats what failed.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from typing import Any

import httpx
from pydantic import SecretStr
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt

from langchain_kronvex.core import __version__, errors
from langchain_kronvex.core.config.settings import Settings
from langchain_kronvex.core.fork_safety import ForkAware
from langchain_kronvex.storage.rest.http.api import Request, read_json
from langchain_kronvex.storage.rest.http.errors import refusal

MAX_ANSWER_BYTES = 32 << 20
_ATTEMPTS = 3
_MAX_RETRY_AFTER_SECONDS = 5.0  # a caller waits for the answer
# As many connections as there are threads; most of them stay open for the next request.
_USER_AGENT = f"langchain-kronvex/{__version__}"
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=64)
_FAULTS = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError, RuntimeError)


class AnswerTooLarge(errors.ServerMisbehaved):
    """The server's answer is larger than any that this package asks for."""


class Transport(ForkAware):
    """Sends requests to one API.

    Args:
        base_url: The URL of the API, with `/api/v1`.
        key: The API key, sent as `X-API-Key`, to this origin only.
        options: With the seconds for each step of an answer, and twice that for all of it, and
            perhaps a client to use instead of one of our own; it is never closed.
        first_pause: About how many seconds pass before the second attempt; the pauses double.

    Attributes:
        is_admitted: Whether the server has accepted the API key.
    """

    def __init__(
        self, base_url: str, key: SecretStr | None, options: Settings, *, first_pause: float = 0.1
    ) -> None:
        self.base_url, self._key, self._given = base_url, key, options.http_client
        self._timeout, self._first_pause = options.timeout_seconds, first_pause
        self._closed = self.is_admitted = False
        self.after_fork_in_child()
        self.watch_forks()

    def after_fork_in_child(self) -> None:
        """Open new connections: those of the parent process belong to it."""
        self._lock = threading.Lock()
        self._own: httpx.Client | None = None

    def exchange(self, request: Request) -> Any:
        """Send a request, again when that is safe and the fault may pass; return the JSON answer.

        Returns:
            None for an empty answer, and for the answer to a deletion.

        Raises:
            ServiceError: the server refused the request, or cannot be reached.
            MemoryNotFound: the request names a memory that does not exist.
        """
        again = retry_if_exception(lambda error: _may_repeat(error, request))
        stop = stop_after_attempt(_ATTEMPTS)
        retrying = Retrying(retry=again, stop=stop, wait=self._pause, reraise=True)
        body: bytes = retrying(self._send, request)
        return read_json(body) if body.strip() and request.method != "DELETE" else None

    def _send(self, request: Request) -> bytes:
        """Send a request once. Redirects are not followed: the API key stays with this origin."""
        client = self._client()
        deadline = request.deadline or time.monotonic() + 2 * self._timeout
        try:
            built = self._built(client, request, deadline)
            answer = client.send(built, stream=True, follow_redirects=False)
            with contextlib.closing(answer):
                body = _read(answer, deadline)
        except _FAULTS as error:
            raise self._unavailable(error) from None
        if not answer.is_success:
            raise refusal(answer.status_code, answer.headers, body)
        self.is_admitted = True
        return body

    def close(self) -> None:
        """Close our own connections."""
        self._closed = True
        with self._lock:
            own, self._own = self._own, None
        if own is not None:
            own.close()

    def _client(self) -> httpx.Client:
        if self._closed:
            raise errors.MemoryClosed()
        if self._given is not None:
            return self._given
        with self._lock:
            if self._own is None:
                secure = self.base_url.startswith("https:")  # else no certificates are read
                self._own = httpx.Client(verify=secure, limits=_LIMITS)
            return self._own

    def _built(self, client: httpx.Client, request: Request, deadline: float) -> httpx.Request:
        headers = {"Accept": "application/json", "User-Agent": _USER_AGENT}
        if self._key is not None:
            headers["X-API-Key"] = self._key.get_secret_value()
        step = max(min(self._timeout, deadline - time.monotonic()), 0.001)
        timeout = httpx.Timeout(step, connect=min(step, 10.0))
        url, query, body = f"{self.base_url}{request.path}", dict(request.query), dict(request.body)
        sent: Any = {"params": query or None, "json": body or None, "headers": headers}
        return client.build_request(request.method, url, timeout=timeout, **sent)

    def _unavailable(self, error: Exception) -> errors.ServerUnavailable | errors.MemoryClosed:
        if self._closed:
            return errors.MemoryClosed()
        unavailable = errors.ServerUnavailable(
            f"{self.base_url} cannot be reached, or the connection broke "
            f"({type(error).__name__}); try again."
        )
        unavailable.unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
        if isinstance(error, httpx.TimeoutException):
            unavailable.retry_after_seconds = 0.0
        return unavailable

    def _pause(self, retry_state: RetryCallState) -> float:
        """Return the seconds before the next attempt: growing ones, or what the server asks."""
        error = None if retry_state.outcome is None else retry_state.outcome.exception()
        pause: float = self._first_pause * 2**retry_state.attempt_number
        asked: float = getattr(error, "retry_after_seconds", None) or 0.0
        return max(pause * random.uniform(0.5, 1.0), asked)  # noqa: S311 - not a secret


def _read(answer: httpx.Response, deadline: float) -> bytes:
    """Read an answer, within its limits of size and time."""
    chunks, size = [], 0
    for chunk in answer.iter_bytes():
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            raise AnswerTooLarge(
                f"The server's answer is larger than {MAX_ANSWER_BYTES >> 20} MiB; the rest was "
                "not read."
            )
        if time.monotonic() > deadline:
            raise httpx.ReadTimeout("the answer came too slowly")
    return b"".join(chunks)


def _may_repeat(error: BaseException, request: Request) -> bool:
    """Return whether a request that failed may be sent again, and soon.

    After a timeout it is not sent again: the caller would wait as long once more.
    """
    if not isinstance(error, errors.ServerUnavailable | errors.RateLimited):
        return False
    wait = error.retry_after_seconds
    is_late = request.deadline is not None and time.monotonic() >= request.deadline
    if is_late or wait == 0 or (wait or 0.0) > _MAX_RETRY_AFTER_SECONDS:
        return False
    return request.repeatable or (isinstance(error, errors.ServerUnavailable) and error.unsent)
