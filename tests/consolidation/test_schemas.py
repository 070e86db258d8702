"""Schemas as text and as JSON Schema, and which ones are rejected."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from datetime import date
from typing import Any, ClassVar, Literal

import pytest
from pydantic import BaseModel, Field, RootModel

from inside import answer_schema, check_schemas, content_of, object_schema
from langchain_kronvex import InvalidInput
from langchain_kronvex.consolidation import Fact, Preference, Procedure

STRICT = {
    "title", "type", "description", "properties", "required", "additionalProperties", "items",
    "anyOf", "enum", "format",
}  # fmt: skip


class Severity(enum.Enum):
    MILD = "mild"
    SEVERE = "severe"


class Dose(BaseModel):
    grams: float = Field(gt=0)


class Diet(BaseModel):
    """What the user must not eat."""

    food: str = Field(min_length=1, description="One food.")
    reaction: str | None = None
    severity: Severity = Severity.MILD
    kind: Literal["allergy"] = "allergy"
    doses: list[Dose] = []
    dose: Dose | None = Field(None, description="The least one.")
    since_birth: bool = False
    noticed: date | None = None


class Tree(BaseModel):
    left: Tree | None = None


class AnyField(BaseModel):
    field: Any


class Mapping(BaseModel):
    field: dict[str, str]


class BareList(BaseModel):
    field: list  # type: ignore[type-arg]


class Empty(BaseModel):
    pass


class Names(RootModel[list[str]]):
    pass


class Episode(BaseModel):
    memory_type: ClassVar[str] = "episodic"
    text: str


class Unknown(BaseModel):
    memory_type: ClassVar[str] = "gossip"
    text: str


class Dated(BaseModel):
    since: date


class Aliased(BaseModel):
    origin: str = Field(alias="sources")


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
        for key, value in schema.items():
            yield from nodes(list(value.values()) if key == "properties" else value)
    elif isinstance(schema, list):
        for value in schema:
            yield from nodes(value)


def test_a_text_is_its_own_content() -> None:
    assert content_of(Fact(text=" Ana lives\nin Porto.\0 ")) == "Ana lives in Porto."


def test_fields_with_a_value_are_named() -> None:
    diet = Diet(food="peanuts", reaction="rash", doses=[Dose(grams=1)], noticed=date(2026, 5, 2))
    assert content_of(diet) == (
        'Diet: food: peanuts; reaction: rash; severity: mild; kind: allergy; doses: [{"grams": '
        "1.0}]; since_birth: false; noticed: 2026-05-02"
    )


def test_fields_without_any_value_say_nothing() -> None:
    class Note(BaseModel):
        a: str | None = None
        b: list[str] = []

    assert content_of(Note()) == ""


def test_an_answer_has_a_list_for_each_schema_in_strict_form() -> None:
    schema = answer_schema(check_schemas([Fact, Preference, Procedure, Diet]))
    assert list(schema["properties"]) == ["Fact", "Preference", "Procedure", "Diet", "confirmed"]
    diet = schema["properties"]["Diet"]["items"]
    assert diet["description"] == "What the user must not eat."
    assert {"reason", "sources", "since", "replaces", "food"} < diet["properties"].keys()
    assert diet["properties"]["severity"]["enum"] == ["mild", "severe"]
    assert diet["properties"]["noticed"]["anyOf"][0] == {"type": "string", "format": "date"}
    for node in nodes(schema):
        assert node.keys() <= STRICT
        if node.get("type") == "object":
            assert node["required"] == list(node["properties"])
            assert node["additionalProperties"] is False


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (Fact, "must be a list"),
        ([], "empty"),
        (["Fact"], "BaseModel"),
        ([Fact(text="a")], "BaseModel"),
        ([dict], "BaseModel"),
        ([Fact, Fact], "taken"),
        ([type("confirmed", (Fact,), {})], "taken"),
        ([type("copy", (Fact,), {})], "taken"),
        ([type("_Own", (Fact,), {})], "not plain"),
        ([type("Größe", (Fact,), {})], "not plain"),
        ([Episode], "episodic"),
        ([Unknown], "unknown"),
        ([Dated], "'since'"),
        ([Aliased], "'sources'"),
        ([Tree], "contains itself"),
        ([AnyField], "anything"),
        ([Mapping], "anything"),
        ([BareList], "anything"),
        ([Empty], "anything"),
        ([Names], "no fields"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_a_schema_is_rejected(given: Any, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        check_schemas(given)


def test_a_field_that_json_schema_cannot_describe_is_rejected() -> None:
    class Odd(BaseModel):
        model_config = {"arbitrary_types_allowed": True}
        field: object
        other: Iterator[Severity] | range

    with pytest.raises(InvalidInput, match="Odd cannot be described"):
        object_schema(Odd)
