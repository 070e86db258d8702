"""Which outbox belongs to a server, an agent and an API key: its file, and whose it is.

What waits under one key is not sent with another one by itself: the two may be two customers'.
When a key was replaced, its owner is told of what waits, and decides (`outbox_commands.py`).
"""

from __future__ import annotations

import hashlib
import logging
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from langchain_kronvex.core.errors import StoreBusy, StoreError
from langchain_kronvex.storage.rest.outbox.outbox import Outbox

logger = logging.getLogger("langchain_kronvex")
_NO_KEY = "0" * 32  # in the name of a file beside one that is taken
_GLANCE_SECONDS = 1.0  # for an outbox that is not ours


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose outbox: all three decide.

    Attributes:
        base_url: Of the API, with `/api/v1`.
        agent_id: As the user calls it.
        key: A digest of the API key, never the key; "" for none.
    """

    base_url: str
    agent_id: str
    key: str = ""

    @classmethod
    def of(cls, base_url: str, agent_id: str, api_key: SecretStr | None) -> Whose:
        """Take the digest of a key."""
        if api_key is None:
            return cls(base_url, agent_id)
        digest = hashlib.blake2b(
            api_key.get_secret_value().encode(), digest_size=16, person=b"kronvex outbox"
        )
        return cls(base_url, agent_id, digest.hexdigest())

    @classmethod
    def read(cls, identity: str | None) -> Whose:
        """Read what `identity` wrote."""
        base_url, _, rest = (identity or "").partition("\n")
        agent_id, _, key = rest.partition("\0")  # ids hold no NUL
        return cls(base_url, agent_id, key)

    @property
    def identity(self) -> str:
        """All of it as one text, which the outbox keeps."""
        return f"{self.base_url}\n{self.agent_id}" + (f"\0{self.key}" if self.key else "")

    def is_of_other_key(self, other: Whose) -> bool:
        """Tell whether only the key differs."""
        same = (self.base_url, self.agent_id) == (other.base_url, other.agent_id)
        return same and self.key != other.key


def outbox_path(whose: Whose, chosen: str | Path | None) -> Path:
    """Return the file: the chosen one, or one of its own in the user's data folder.

    A chosen folder gets the file inside.
    """
    from platformdirs import user_data_path

    name = f"outbox-{_place(whose)}{'-' if whose.key else ''}{whose.key}.db"
    if chosen is None:
        return user_data_path("langchain-kronvex", appauthor=False) / name
    path = Path(chosen).expanduser().absolute()
    return path / name if path.is_dir() else path


def open_outbox(whose: Whose, chosen: str | Path | None, timeout: float) -> Outbox:
    """Open an outbox; beside the chosen file when that belongs to another key.

    Raises:
        StoreUnavailable: the file is the outbox of another server or agent.
    """
    path = outbox_path(whose, chosen)
    with closing(Outbox(path, None, timeout)) as there:
        held = Whose.read(there.setting("identity", whose.identity))
    if held.is_of_other_key(whose):
        path = path.with_name(f"{path.name}-{whose.key or _NO_KEY}")
    return Outbox(path, whose.identity, timeout)


def beside(path: Path) -> list[Path]:
    """Return the outboxes that `open_outbox` has put beside a chosen file."""
    named = re.compile(re.escape(path.name) + "-[0-9a-f]{32}")
    return sorted(p for p in path.parent.iterdir() if named.fullmatch(p.name) and p.is_file())


def warn_of_other_keys(whose: Whose, chosen: str | Path | None) -> None:
    """Log how many entries of the same server and agent wait under other keys."""
    path = outbox_path(whose, chosen)
    if chosen is not None and not Path(chosen).expanduser().is_dir():
        found = [path, *beside(path)]
    else:
        found = sorted(path.parent.glob(f"outbox-{_place(whose)}*.db"))
    for each, count in _waiting_under_other_keys(whose, found):
        logger.warning(
            "%d entries for this server and agent wait in the outbox of another API key, and are "
            "not sent with this one. If the key was replaced: langchain-kronvex outbox resend "
            "--with-present-key --outbox %s",
            count,
            each,
        )


def _waiting_under_other_keys(whose: Whose, found: Sequence[Path]) -> Iterator[tuple[Path, int]]:
    for path in found:
        try:
            with closing(Outbox(path, None, _GLANCE_SECONDS)) as outbox:
                if not whose.is_of_other_key(Whose.read(outbox.setting("identity"))):
                    continue
                with outbox.sending() as alone:  # else somebody is at it
                    count = outbox.unsent() if alone else 0
        except (StoreError, OSError, sqlite3.Error):
            continue  # it is not ours, and nothing of ours depends on it
        if count:
            yield path, count


def hand_over(source: Outbox, target: Outbox, places: Sequence[int], timeout: float) -> int:
    """Move entries to another outbox, to be sent from there; return how many.

    Broken off, some are in both: they are sent twice, and read as one.

    Raises:
        StoreBusy: a process is sending them for longer than `timeout` seconds.
    """
    with source.sending(timeout) as alone:
        if not alone:
            raise StoreBusy("Another process is sending what is in the outbox; try again.")
        chosen = [entry for entry in source.waiting() if entry.place in set(places)]
        target.put([entry.stored for entry in chosen], tries=[entry.tries for entry in chosen])
        source.erase([entry.place for entry in chosen])
    return len(chosen)


def _place(whose: Whose) -> str:
    text = f"{whose.base_url}\0{whose.agent_id}"
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
