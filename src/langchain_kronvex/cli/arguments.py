"""The arguments that several commands share."""

from __future__ import annotations

import argparse


def add_store(parser: argparse.ArgumentParser, *, embeddings: bool = True) -> None:
    """Add `--url`, and `--embeddings` for commands that open a memory."""
    parser.add_argument("--url", help="the store, such as sqlite:///memory.db (KRONVEX_URL)")
    if embeddings:
        parser.add_argument(
            "--embeddings",
            type=lambda name: name != "none" and name,
            help="provider:model the store is indexed with, such as openai:text-embedding-3-small, "
            "or 'none' for words alone (the bundled table)",
        )
