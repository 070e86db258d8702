"""The settings with which the place of an open memory is opened again: copies, other agents."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import fields
from pathlib import Path
from typing import Any

from langchain_kronvex.core.errors import NotSupported
from langchain_kronvex.memory.engine import Engine


def settings_for(engine: Engine, agent_id: str) -> dict[str, Any]:
    """Return the constructor's arguments for an agent's memory in the same place."""
    settings = engine.settings
    arguments = {field.name: getattr(settings, field.name) for field in fields(settings)}
    if not engine.backend.is_remote:
        model = engine.model.current
        arguments["embeddings"] = model.embeddings if model else False
    elif settings.outbox:
        outbox = Path(settings.outbox).expanduser().absolute()
        if agent_id != engine.agent_id and not outbox.is_dir():
            digest = hashlib.blake2b(agent_id.encode(), digest_size=8).hexdigest()
            outbox = outbox.with_name(f"{outbox.name}-{digest}")
        arguments["outbox"] = outbox
    return {**arguments, "url": engine.url, "agent_id": agent_id}


def settings_to_copy(engine: Engine, *, pickled: bool) -> dict[str, Any]:
    """Return the constructor's arguments for another memory like this one.

    Args:
        engine: The engine of this memory.
        pickled: They are to be pickled; otherwise objects of the user are shared.

    Raises:
        NotSupported: the memories are in RAM, or an argument refuses to be pickled.
    """
    if engine.url == "sqlite://":
        raise NotSupported(
            "A memory in RAM (sqlite://) can be neither pickled nor copied deeply. Keep it in a "
            "file, sqlite:///memory.db, or share the object."
        )
    arguments, model, name = settings_for(engine, engine.agent_id), engine.model.current, ""
    if not pickled:
        return arguments
    if model is not None:
        arguments["embeddings"] = model.choice
    try:
        for name, value in arguments.items():  # noqa: B007 - the error names it
            pickle.dumps(value)
    except Exception as error:
        raise NotSupported(
            f"This memory cannot be pickled, because its {name} cannot "
            f"({type(arguments[name]).__name__}). Open a memory where you need it."
        ) from error
    return arguments
