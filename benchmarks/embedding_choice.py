"""`--embeddings`: the embeddings of the memory that is measured."""

from __future__ import annotations

import runpy
from argparse import ArgumentParser
from typing import Any

from langchain_kronvex.embeddings import StaticEmbeddings

HELP = (
    "static (the bundled ones, the default), none (words alone), provider:model, or file.py:Class"
)


def add_embeddings(parser: ArgumentParser) -> None:
    """Add the option to a command line."""
    parser.add_argument("--embeddings", default="static", help=HELP)


def arguments(name: str) -> dict[str, Any]:
    """Return what is passed to `KronvexMemory` for a name."""
    if name == "static":
        return {"embeddings": StaticEmbeddings()}
    path, is_file, class_name = name.partition(".py:")
    if is_file:
        return {"embeddings": runpy.run_path(f"{path}.py")[class_name]()}
    return {"embeddings": False if name == "none" else name}
