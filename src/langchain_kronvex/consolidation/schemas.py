"""What a model may write down: pydantic schemas, as text and as JSON Schema. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.errors import PydanticUserError

from langchain_kronvex.core.context_lines import neutral
from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.core.validation import MemoryType, check_list, check_type

JSONSchema = dict[str, Any]

_NAME = re.compile("[A-Za-z][A-Za-z0-9_]{0,63}")

CONFIRMED = "confirmed"  # the list of an answer that is not one of a schema
TEXT = (
    "One self-contained sentence in the third person, in the user's language, with names instead "
    'of "she" and dates instead of "tomorrow".'
)
# The keywords and formats that every provider's strict structured output takes. Other constraints
# are checked when the answer is read.
_PLAIN = ("string", "number", "integer", "boolean", "null")
_KEPT = ("type", "description", "enum")
_FORMATS = ("date-time", "date", "time", "duration", "email", "uuid")


class Fact(BaseModel):
    """A fact about the user or their world that stays true."""

    memory_type: ClassVar[MemoryType] = "semantic"
    text: str = Field(description=TEXT)


class Preference(BaseModel):
    """What the user likes, dislikes or prefers."""

    memory_type: ClassVar[MemoryType] = "preference"
    text: str = Field(description=TEXT)


class Procedure(BaseModel):
    """A standing instruction of the user for the assistant."""

    memory_type: ClassVar[MemoryType] = "procedural"
    text: str = Field(description=TEXT)


class Bookkeeping(BaseModel):
    """The fields of an answer's item beside those of its schema."""

    model_config = ConfigDict(extra="forbid")
    reason: str | None = Field(None, description="Why this is worth keeping, in a few words.")
    sources: list[int] = Field(description="Numbers of the exchanges in which the user says it.")
    since: str | None = Field(
        None, description="Since when it is true, if a date is named: 2026-05-31 or 2026-05."
    )
    replaces: int | None = Field(
        None, description="Number of the known fact that this makes outdated."
    )


def type_of(schema: type[BaseModel]) -> MemoryType:
    """Return the type of the memories of a schema, `semantic` unless it names another."""
    return check_type(getattr(schema, "memory_type", "semantic"))


def content_of(value: BaseModel) -> str:
    """Return a value as the text of a memory, in one line; "" if it says nothing.

    The text is `text` if the schema has no other field, else the name of the schema and the fields
    that have a value, as in `Diet: food: peanuts; reaction: rash`.
    """
    fields = fields_of(value)
    if fields.keys() == {"text"}:
        return neutral(str(fields["text"]))
    parts = [
        f"{name}: {each if isinstance(each, str) else json.dumps(each, ensure_ascii=False)}"
        for name, each in fields.items()
        if each not in (None, "", [], {})
    ]
    return neutral(f"{type(value).__name__}: {'; '.join(parts)}") if parts else ""


def fields_of(value: BaseModel) -> dict[str, Any]:
    """Return the fields of a value as JSON values, without the bookkeeping."""
    text = value.model_dump_json(exclude=set(Bookkeeping.model_fields))
    fields: dict[str, Any] = json.loads(text)
    return fields


def check_schemas(schemas: object) -> tuple[type[BaseModel], ...]:
    """Return the schemas, at least one.

    Raises:
        InvalidInput: Something is not a pydantic class, two have the same name, a type is not one
            of derived memories, or a field has a name or a type that an answer cannot have.
    """
    checked: dict[str, type[BaseModel]] = {}
    for schema in check_list(schemas, "schemas"):
        if not isinstance(schema, type) or not issubclass(schema, BaseModel):
            raise InvalidInput("schemas must hold subclasses of pydantic's BaseModel.")
        name = schema.__name__
        if name in (*checked, CONFIRMED) or not _NAME.fullmatch(name) or hasattr(BaseModel, name):
            raise InvalidInput(f"The schema name {name!r} is taken or not plain; rename the class.")
        if type_of(schema) == "episodic":
            raise InvalidInput(f"{name} is episodic; only what was said is. Use another type.")
        if "memory_type" in schema.model_fields:
            raise InvalidInput(
                f"{name}.memory_type is a field; write memory_type: ClassVar[str] = ... instead."
            )
        taken = sorted(object_schema(schema)["properties"].keys() & Bookkeeping.model_fields.keys())
        if taken:
            raise InvalidInput(
                f"{name} has a field {taken[0]!r}, which every answer has; rename it."
            )
        checked[name] = schema
    if not checked:
        raise InvalidInput("schemas is empty; leave it out for facts, preferences and procedures.")
    return tuple(checked.values())


def object_schema(schema: type[BaseModel]) -> JSONSchema:
    """Return the JSON Schema of a pydantic class, as strict structured output takes it.

    Every property is required, no object has others, and there are no references and no defaults.

    Raises:
        InvalidInput: A field can hold something that no such schema describes.
    """
    why = "it has no fields"
    try:
        whole = schema.model_json_schema()
        found = strict(whole, whole.get("$defs", {}))
    except (InvalidInput, PydanticUserError) as error:
        why = str(error) if isinstance(error, InvalidInput) else type(error).__name__
    else:
        if "properties" in found:
            return found
    raise InvalidInput(
        f"{schema.__name__} cannot be described to a model: {why}. Use texts, numbers, lists, "
        "enumerations and classes of those."
    )


def strict(
    node: Mapping[str, Any], defs: Mapping[str, Any], above: tuple[str, ...] = ()
) -> JSONSchema:
    """Return a part of a JSON Schema with its references resolved and what is unsupported left out.

    Raises:
        InvalidInput: It contains itself, or allows any value or any key.
    """
    reference = node.get("$ref") or (node.get("allOf") or [{}])[0].get("$ref")
    if reference:
        name = reference.rsplit("/", 1)[-1]
        if name in above:
            raise InvalidInput(f"{name} contains itself")
        beside = {key: node[key] for key in node.keys() - {"$ref", "allOf"}}
        return strict({**defs[name], **beside}, defs, (*above, name))
    kept = {key: node[key] for key in _KEPT if key in node}
    if "const" in node:
        kept["enum"] = [node["const"]]
    if node.get("format") in _FORMATS:
        kept["format"] = node["format"]
    if options := node.get("anyOf") or node.get("oneOf"):
        kept["anyOf"] = [strict(option, defs, above) for option in options]
    elif node.get("type") == "array" and "items" in node:
        kept["items"] = strict(node["items"], defs, above)
    elif node.get("type") == "object" and node.get("properties"):
        kept["properties"] = {
            name: strict(each, defs, above) for name, each in node["properties"].items()
        }
        kept |= {"required": list(kept["properties"]), "additionalProperties": False}
    elif "enum" not in kept and node.get("type") not in _PLAIN:
        raise InvalidInput("a field may hold anything")
    return kept
