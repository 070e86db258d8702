"""Opens the backend of a Kronvex API from a URL, a key and an agent; refuses unsafe settings."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from langchain_kronvex.core.config.settings import Settings
from langchain_kronvex.core.config.urls import is_loopback
from langchain_kronvex.core.errors import ConfigurationError
from langchain_kronvex.storage.backend import MemoryBackend
from langchain_kronvex.storage.rest.backend import KronvexBackend
from langchain_kronvex.storage.rest.http.transport import Transport
from langchain_kronvex.storage.rest.outbox import files
from langchain_kronvex.storage.rest.remote_agent import RemoteAgent

_API = "/api/v1"


def open_service(url: str, agent_id: str, options: Settings) -> MemoryBackend:
    """Open the backend of a Kronvex API. Nothing is sent yet.

    Raises:
        ConfigurationError: the URL, the key or the client cannot be used.
        StoreError: the outbox cannot be opened.
    """
    base_url = checked_base_url(url, allow_http=options.allow_http)
    key = checked_key(options.api_key)
    if key is None and not is_loopback(urlsplit(base_url).hostname or ""):
        raise ConfigurationError(
            f"{base_url} needs an API key: set KRONVEX_API_KEY, or pass api_key."
        )
    client = options.http_client
    if client is not None and not isinstance(client, httpx.Client):
        raise ConfigurationError(
            f"http_client must be an httpx.Client, not {type(client).__name__}."
        )
    transport = Transport(base_url, key, options)
    identity = files.OutboxIdentity.of(base_url, agent_id, key)
    read_only = options.read_only
    outbox = files.open_outbox(
        identity, options.outbox, options.timeout_seconds, read_only=read_only
    )
    if not read_only:
        files.warn_of_other_keys(identity, options.outbox)
    return KronvexBackend(RemoteAgent(transport, agent_id, outbox))


def checked_base_url(url: str, *, allow_http: bool) -> str:
    """Return the URL of the API with `/api/v1`, given with or without it and a slash at the end.

    Raises:
        ConfigurationError: it is not a plain URL, or not encrypted.
    """
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ConfigurationError("The URL of the Kronvex API is not well-formed.") from None
    if not host or parts.query or parts.fragment or parts.username or parts.password:
        raise ConfigurationError(
            "The URL of the Kronvex API must be like https://host, without a user, a password or "
            "parameters. The key goes into KRONVEX_API_KEY or api_key."
        )
    place = f"{parts.scheme.lower()}://{parts.netloc.lower()}"
    path = parts.path.rstrip("/").removesuffix(_API).rstrip("/")
    if parts.scheme.lower() == "http" and not allow_http and not is_loopback(host):
        raise ConfigurationError(
            f"{place} is not encrypted: others could read the memories and the API key. Use "
            "https, or pass allow_http=True if the network is safe."
        )
    return f"{place}{path}{_API}"


def checked_key(api_key: str | SecretStr | None) -> SecretStr | None:
    """Return the key: the argument, else KRONVEX_API_KEY, else None.

    Raises:
        ConfigurationError: it cannot be sent in a header; the message does not quote it.
    """
    if api_key is None:
        api_key = os.environ.get("KRONVEX_API_KEY") or None
    if api_key is None:
        return None
    if not isinstance(api_key, str | SecretStr):
        raise ConfigurationError(f"api_key must be a string, not {type(api_key).__name__}.")
    secret = api_key.get_secret_value() if isinstance(api_key, SecretStr) else api_key
    secret = secret.strip()
    if not secret or not secret.isascii() or not secret.isprintable() or " " in secret:
        raise ConfigurationError(
            "The API key is blank, or has characters that no key contains. Copy it again."
        )
    return SecretStr(secret)
