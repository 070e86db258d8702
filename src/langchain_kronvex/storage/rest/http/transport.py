"""HTTP: one request, one bounded answer. The API key is added here and nowhere else.

httpx does the work, with a pool of connections that are kept open.
"""

from __future__ import annotations

import contextlib
import random
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import httpx
from pydantic import SecretStr

from langchain_kronvex.core.errors import MemoryClosed, ServerMisbehaved, ServerUnavailable
from langchain_kronvex.core.fork_safety import ForkAware
from langchain_kronvex.storage.rest.http.api import Request
from langchain_kronvex.storage.rest.http.errors import refusal, retry_after

MAX_ANSWER_BYTES = 32 << 20
_TRIES = 3
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_RETRY_AFTER_SECONDS = 5.0  # a caller waits for the answer
_PASSING = (429, 500, 502, 503, 504)
_MOST_REDIRECTS = 3
# As many connections as there are threads; most of them stay open for the next request.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=64)
_AGENT = "langchain-kronvex"


_FAULTS = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError, RuntimeError)


class AnswerTooLarge(ServerMisbehaved):
    """The server's answer is larger than any that this package asks for."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def succeeded(self) -> bool:
        """Whether it is any 2xx."""
        return 200 <= self.status < 300


@dataclass(slots=True)
class _Body:
    """Gathers an answer, within its limits of size and time."""

    deadline: float
    chunks: list[bytes]
    size: int = 0

    def take(self, chunk: bytes) -> None:
        self.chunks.append(chunk)
        self.size += len(chunk)
        if self.size > MAX_ANSWER_BYTES:
            raise AnswerTooLarge(
                f"The server's answer is larger than {MAX_ANSWER_BYTES >> 20} MiB; the rest was "
                "not read."
            )
        if time.monotonic() > self.deadline:
            raise httpx.ReadTimeout("the answer came too slowly")


def _read(client: httpx.Client, request: httpx.Request, deadline: float) -> Reply:
    body = _Body(deadline, [])
    with contextlib.closing(client.send(request, stream=True, follow_redirects=False)) as answer:
        for chunk in answer.iter_bytes():
            body.take(chunk)
        return Reply(answer.status_code, _lower(answer.headers), b"".join(body.chunks))


class Transport(ForkAware):
    """Sends requests to one API.

    Args:
        base_url: Of the API, with `/api/v1`.
        api_key: Sent as `X-API-Key`, to this origin only.
        timeout: Seconds to wait for each step of an answer, and twice that for all of it.
        client: Used instead of a client of our own, and never closed.
    """

    def __init__(
        self,
        base_url: str,
        api_key: SecretStr | None,
        *,
        timeout: float,
        client: httpx.Client | None = None,
    ) -> None:
        self.base_url = base_url
        self._key = api_key
        self._timeout = httpx.Timeout(timeout, connect=min(timeout, 10.0))
        self._step_seconds = timeout
        self._longest = 2 * timeout
        self._given = client
        self._closed = False
        self.after_fork_in_child()
        self.watch_forks()

    def after_fork_in_child(self) -> None:
        """Open connections of our own: those of the parent are the parent's."""
        self._lock = threading.Lock()
        self._own: httpx.Client | None = None
        self._tls: ssl.SSLContext | bool | None = None

    # -- one request ---------------------------------------------------------------------------

    def exchange(self, request: Request) -> Reply:
        """Send a request, again when that is safe and the fault may pass; return any answer."""
        for attempt in range(1, _TRIES + 1):
            pause = _FIRST_PAUSE_SECONDS * 2**attempt * random.uniform(0.5, 1.0)  # noqa: S311
            over = request.deadline is not None and time.monotonic() + pause > request.deadline
            last = attempt == _TRIES or over
            try:
                reply: Reply = self.send(request)
            except ServerUnavailable as error:
                if last or not (error.unsent or request.repeatable):
                    raise
                if error.retry_after_seconds == 0:  # it has hung once: do not wait as long again
                    raise
            else:
                wait = retry_after(reply.headers) or 0.0
                if (
                    last
                    or reply.status not in _PASSING
                    or not request.repeatable
                    or wait > _LONGEST_RETRY_AFTER_SECONDS
                    or (reply.status == 429 and not wait)
                ):
                    return reply
                pause = max(pause, wait)
            self.pause(pause)
        raise AssertionError("unreachable")

    def succeed(self, request: Request) -> bytes:
        """Send a request and return the body of its success.

        Raises:
            ServiceError: the server refused it, or cannot be reached.
        """
        reply = self.exchange(request)
        if not reply.succeeded:
            raise refusal(reply.status, reply.headers, reply.body)
        return reply.body

    def send(self, request: Request) -> Reply:
        """Send a request once, and after redirects within the same origin."""
        client = self._client()
        url, deadline = self._url(request), self._deadline(request)
        for _ in range(_MOST_REDIRECTS):
            try:
                reply = _read(client, self._built(client, request, url), deadline)
            except _FAULTS as error:
                raise self._unavailable(error) from None
            following = self._redirected(url, reply)
            if following is None:
                return reply
            url = following
        return reply

    def pause(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def _deadline(self, request: Request) -> float:
        return request.deadline or time.monotonic() + self._longest

    def _url(self, request: Request) -> str:
        query = httpx.QueryParams(dict(request.query))
        return f"{self.base_url}{request.path}{'?' if request.query else ''}{query}"

    def _built(self, client: httpx.Client, request: Request, url: str) -> httpx.Request:
        headers = {"Accept": "application/json", "User-Agent": _AGENT}
        if self._key is not None:
            headers["X-API-Key"] = self._key.get_secret_value()
        return client.build_request(
            request.method,
            url,
            headers=headers,
            json=None if request.body is None else dict(request.body),
            timeout=self._timeout if request.deadline is None else self._step(request.deadline),
        )

    def _step(self, deadline: float) -> float:
        """Return the seconds until a deadline, at most those of one step of an answer."""
        return max(min(self._step_seconds, deadline - time.monotonic()), 0.001)

    def _redirected(self, url: str, reply: Reply) -> str | None:
        """Return where to go on, when that is the same origin and the method stays."""
        target = reply.headers.get("location")
        if reply.status not in (307, 308) or not target:
            return None
        try:
            following = urljoin(url, target)
            same = urlsplit(following)[:2] == urlsplit(self.base_url)[:2]
        except ValueError:
            return None
        return following if same else None

    def _unavailable(self, error: Exception) -> ServerUnavailable | MemoryClosed:
        if self._closed:
            return MemoryClosed()
        kind = type(error).__name__
        unavailable = ServerUnavailable(
            f"{self.base_url} cannot be reached, or broke off ({kind}); try again."
        )
        unavailable.unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
        if isinstance(error, httpx.TimeoutException):
            unavailable.retry_after_seconds = 0.0
        return unavailable

    # -- clients -------------------------------------------------------------------------------

    def _client(self) -> httpx.Client:
        if self._closed:
            raise MemoryClosed()
        if self._given is not None:
            return self._given
        with self._lock:
            if self._own is None:
                self._own = httpx.Client(
                    verify=self._verify(), timeout=self._timeout, limits=_LIMITS
                )
            return self._own

    def _verify(self) -> ssl.SSLContext | bool:
        if self._tls is None:  # reading the certificates takes longer than a request
            secure = self.base_url.startswith("https:")
            self._tls = httpx.create_ssl_context() if secure else False
        return self._tls

    def close(self) -> None:
        """Close our own connections."""
        self._closed = True
        with self._lock:
            own, self._own = self._own, None
        if own is not None:
            own.close()


def _lower(headers: httpx.Headers) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
