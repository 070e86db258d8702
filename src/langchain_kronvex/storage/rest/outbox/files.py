"""The file of the outbox of a server, an agent and an API key.

Entries stored with one key are sent with another one only on request: the keys may belong to two
customers. After a key was replaced, a warning counts the entries of the old one, and a command
hands them over (`cli/outbox.py`).
"""

from __future__ import annotations

import hashlib
import logging
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import SecretStr

from langchain_kronvex.core.errors import StoreError, StoreUnavailable
from langchain_kronvex.storage.rest.outbox.outbox import Outbox

_OTHER_KEY = (
    "%d entries for this server and agent wait in the outbox of another API key, and are not sent "
    "with this one. If the key was replaced: langchain-kronvex outbox hand-over --outbox %s"
)
logger = logging.getLogger("langchain_kronvex")
_DIGEST = "[0-9a-f]{32}"
_NO_KEY = "0" * 32  # in the name of a file beside one that is taken
_OTHERS_TIMEOUT_SECONDS = 1.0  # for an outbox that is not ours


@dataclass(frozen=True, slots=True)
class OutboxIdentity:
    """The server, agent and API key that an outbox belongs to.

    Attributes:
        base_url: The URL of the API, with `/api/v1`.
        agent_id: As the user gave it.
        key: A digest of the API key, never the key; "" for none.
    """

    base_url: str
    agent_id: str
    key: str = ""

    @classmethod
    def of(cls, base_url: str, agent_id: str, api_key: SecretStr | None) -> OutboxIdentity:
        """Return the identity with the digest of a key."""
        if api_key is None:
            return cls(base_url, agent_id)
        secret = api_key.get_secret_value().encode()
        digest = hashlib.blake2b(secret, digest_size=16, person=b"kronvex outbox")
        return cls(base_url, agent_id, digest.hexdigest())

    @classmethod
    def read(cls, text: str | None) -> OutboxIdentity:
        """Read an identity from its text."""
        base_url, _, rest = (text or "").partition("\n")
        agent_id, _, key = rest.partition("\0")  # ids hold no NUL
        return cls(base_url, agent_id, key)

    @property
    def text(self) -> str:
        """The identity as one text, which the outbox keeps."""
        return f"{self.base_url}\n{self.agent_id}" + (f"\0{self.key}" if self.key else "")

    def is_of_other_key(self, other: OutboxIdentity) -> bool:
        """Return whether only the key differs."""
        return self != other and replace(self, key=other.key) == other


def open_outbox(
    identity: OutboxIdentity, chosen: str | Path | None, timeout: float, *, read_only: bool = False
) -> Outbox:
    """Open an outbox: the chosen file, or a file in the chosen folder or the user's data folder.

    If the chosen file belongs to another key, the outbox is a file beside it. With `read_only`, no
    file is made: the outbox that is not there is an empty one in RAM.

    Raises:
        StoreUnavailable: the file is the outbox of another server or agent.
    """
    first = _path(identity, chosen)
    for path in (first, first.with_name(f"{first.name}-{identity.key or _NO_KEY}")):
        if read_only and not path.is_file():
            return Outbox(None, timeout, read_only=True)
        outbox = Outbox(path, timeout, read_only=read_only)
        noted = None if read_only else identity.text
        held = OutboxIdentity.read(outbox.setting("identity", noted))
        if held == identity:
            return outbox
        outbox.close()
        if not held.is_of_other_key(identity):
            break
    raise StoreUnavailable(
        f"{path} is the outbox of another server or agent, or of another API key. Choose another "
        "path."
    )


def open_for_other_key(path: Path, identity: OutboxIdentity, timeout: float) -> Outbox:
    """Open the outbox of an identity whose server and agent have the outbox at `path`."""
    if re.fullmatch(f"outbox-[0-9a-f]{{16}}(-{_DIGEST})?[.]db", path.name):
        return open_outbox(identity, path.parent, timeout)
    first = path.with_name(re.sub(f"-{_DIGEST}$", "", path.name))
    return open_outbox(identity, first if first.is_file() else path, timeout)


def location_of(chosen: str | Path | None) -> Path:
    """Return the chosen file or folder, else the user's data folder."""
    from platformdirs import user_data_path

    if chosen is None:
        return user_data_path("langchain-kronvex", appauthor=False)
    return Path(chosen).expanduser().absolute()


def outboxes_at(location: Path, names: str = "outbox-*.db") -> list[Path]:
    """Return the outboxes in a folder, or a file and the outboxes of other keys beside it."""
    if location.is_dir():
        return sorted(location.glob(names))
    if not location.is_file():
        return []
    named = re.compile(f"{re.escape(location.name)}-{_DIGEST}")
    return [location, *sorted(p for p in location.parent.iterdir() if named.fullmatch(p.name))]


def identity_of(outbox: Outbox) -> OutboxIdentity:
    """Return the identity that an outbox holds; empty if it holds none."""
    return OutboxIdentity.read(outbox.setting("identity"))


def warn_of_other_keys(identity: OutboxIdentity, chosen: str | Path | None) -> None:
    """Log how many entries of the same server and agent wait under other keys."""
    for each in outboxes_at(location_of(chosen), f"outbox-{_place(identity)}*.db"):
        if count := _waiting_under_other_key(identity, each):
            logger.warning(_OTHER_KEY, count, each)


def _waiting_under_other_key(identity: OutboxIdentity, path: Path) -> int:
    try:
        with closing(Outbox(path, _OTHERS_TIMEOUT_SECONDS)) as outbox:
            if not identity.is_of_other_key(identity_of(outbox)):
                return 0
            with outbox.sending():  # otherwise a process is sending them
                return outbox.unsent()
    except (StoreError, OSError, sqlite3.Error):
        return 0  # nothing depends on this file but the warning


def hand_over(source: Outbox, target: Outbox) -> int:
    """Move all entries to another outbox, to be sent from there; return how many.

    After an interruption some are in both: they are sent twice, and read as one.

    Raises:
        StoreBusy: another process went on sending them.
    """
    with source.sending(patiently=True):
        entries = source.waiting()
        target.put([entry.stored for entry in entries], tries=[entry.tries for entry in entries])
        source.erase([entry.place for entry in entries])
    return len(entries)


def _path(identity: OutboxIdentity, chosen: str | Path | None) -> Path:
    name = f"outbox-{_place(identity)}{'-' if identity.key else ''}{identity.key}.db"
    location = location_of(chosen)
    return location / name if chosen is None or location.is_dir() else location


def _place(identity: OutboxIdentity) -> str:
    text = f"{identity.base_url}\0{identity.agent_id}"
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
