"""The arguments that several commands share."""

from __future__ import annotations

import argparse
from typing import Literal


def add_url(parser: argparse.ArgumentParser) -> None:
    """Add `--url`."""
    parser.add_argument("--url", help="the store, such as sqlite:///memory.db (KRONVEX_URL)")


def add_embeddings(parser: argparse.ArgumentParser) -> None:
    """Add `--embeddings`."""
    parser.add_argument(
        "--embeddings",
        type=_embeddings,
        help="provider:model the store is indexed with, such as openai:text-embedding-3-small, or "
        "'none' for words alone (the bundled table)",
    )


def _embeddings(name: str) -> str | Literal[False]:
    return False if name == "none" else name
