"""Schemas rewritten for enforcement: the same values are valid before and after, by jsonschema."""

from __future__ import annotations

import itertools
import json
from typing import Any

import jsonschema
import pytest

from llmkit.engines.schema_forms import enforceable

VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    1.5,
    "",
    "a",
    "ab",
    "abc",
    "b",
    "2024",
    "^[x]",
    [],
    [1],
    ["a"],
    {},
]
NAMES = ("a", "b", "c")
VALUES += [
    dict(zip(chosen, values, strict=True))
    for count in (1, 2, 3)
    for chosen in itertools.combinations(NAMES, count)
    for values in itertools.product(("a", 1, None), repeat=count)
]
OBJECT = {"type": "object"}
CLOSED: dict[str, Any] = {"type": "object", "additionalProperties": False}
KIND = {"type": "object", "properties": {"a": {"const": "a"}}, "required": ["a"]}
OTHER = {"type": "object", "properties": {"a": {"enum": [1, None]}}, "required": ["a"]}

# Schemas, and True where none of the keywords that had to go is left.
CASES: list[tuple[dict[str, Any], bool]] = [
    ({"type": "string", "format": "made-up"}, True),
    ({"properties": {"format": {"type": "string"}, "a": {"format": "path"}}}, True),
    ({"oneOf": [{"type": "string"}, {"type": "null"}]}, True),
    ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, False),
    ({"oneOf": [{"$ref": "#/$defs/s"}, {"type": "null"}], "$defs": {"s": {"enum": ["a", 1]}}}, True),
    ({"oneOf": [{"$ref": "#/definitions/s"}, {"type": "null"}], "definitions": {"s": {}}}, True),
    ({"oneOf": [KIND, OTHER]}, True),
    ({"oneOf": [{**KIND, "required": []}, OTHER]}, True),
    ({"oneOf": [{**KIND, "required": []}, {**OTHER, "required": []}]}, False),
    ({"oneOf": [{"properties": {"a": {"const": "a"}}, "required": ["a"]}, OTHER]}, True),
    ({"oneOf": [{"const": 1}, {"const": 1.0}]}, False),
    ({"oneOf": [{"const": 1}, {"const": True}]}, True),
    ({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, True),
    ({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}, {"required": ["c"]}]}, True),
    ({"oneOf": [{"required": ["a", "b"]}, {"required": ["c"]}]}, True),
    ({"oneOf": [{"required": ["a", "b"]}, {"required": ["a"]}]}, True),
    ({"oneOf": [{"required": ["a"]}, {"required": ["a"]}]}, True),
    ({"anyOf": [{"required": ["a"]}, {"type": "null"}], "oneOf": [OBJECT, {"type": "null"}]}, True),
    ({"oneOf": [{**OBJECT, "additionalProperties": False}, KIND]}, True),
    ({"oneOf": [{**OBJECT, "properties": {"a": False}}, {**OBJECT, "required": ["a"]}]}, True),
    ({"properties": {"c": {"oneOf": [{"type": "string"}, {"type": "integer"}]}}}, True),
    ({"dependentRequired": {"a": ["b"], "c": []}}, True),
    ({"not": {"type": ["string", "object"]}}, True),
    ({"not": {"type": "integer"}}, False),
    ({"not": {"required": ["a", "b"]}}, True),
    ({"type": "object", "not": {"required": ["a"]}}, True),
    ({"not": {"properties": {"a": {"type": "string"}}}}, True),
    ({"not": {"properties": {"a": {"const": None}}, "required": ["b"]}}, True),
    ({"not": {"anyOf": [{"type": "object"}, {"type": "string", "maxLength": 0}]}}, True),
    ({"not": {"allOf": [{"required": ["a"]}, {"required": ["b"]}]}}, True),
    ({"not": {"oneOf": [{"type": "null"}, {"type": "string"}]}}, True),
    ({"not": {"minimum": 1}}, True),
    ({"not": {"maximum": 1, "type": "number"}}, True),
    ({"not": {"minItems": 1}}, True),
    ({"not": {"minLength": 1}}, True),
    ({"not": {"not": {"type": "string"}}}, True),
    ({"not": {}}, True),
    ({"not": False}, True),
    ({"not": {"const": ""}}, True),
    ({"not": {"const": True}}, True),
    ({"not": {"enum": ["a", 1]}}, False),
    ({"not": {"enum": ["a", "ab", "2024", "", None, True]}}, True),
    ({"not": {"const": "a"}}, True),
    ({"not": {"const": "^[x]"}}, True),
    ({"if": {"properties": {"a": {"const": "a"}}}, "then": {"required": ["b"]}}, True),
    ({"if": {"type": "object"}, "then": {"required": ["b"]}, "else": {"type": "null"}}, True),
    ({"if": {"type": "integer"}, "then": {"minimum": 1}}, False),
    ({"type": "object", "if": {"required": ["a"]}, "else": {"required": ["c"]}}, True),
    ({"not": {"pattern": "a"}}, False),
    ({"not": {"$ref": "#/$defs/s"}, "$defs": {"s": {"required": ["a"]}}}, True),
    ({"oneOf": [{"required": ["a"]}, {"required": ["b"], "properties": {"b": {"type": "string"}}}]}, True),
    ({"oneOf": [{"type": "object"}, {"required": ["a"]}]}, True),
    ({"oneOf": [{"maximum": 1}, {"minimum": 1}]}, True),
    ({"oneOf": [{**CLOSED, "properties": {"a": {}}}, {**CLOSED, "properties": {"b": {}}}]}, True),
    ({"oneOf": [{**CLOSED, "properties": {"a": {}, "b": {}}}, {**CLOSED, "properties": {"b": {}}}]}, True),
    ({"oneOf": [{**CLOSED, "properties": {"a": {}}}, {**OBJECT, "properties": {"b": {}}}]}, False),
    ({"oneOf": [{}, {"type": "string"}]}, True),
    ({"dependentSchemas": {"a": {"required": ["b"]}, "b": {"properties": {"c": {"const": 1}}}}}, True),
    ({"oneOf": [{"type": "string"}, {"type": "null"}], "properties": {"a": {"$ref": "#/oneOf/0"}}}, False),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "gone"), CASES, ids=lambda one: json.dumps(one)[:60])
def test_the_same_values_are_valid(schema: dict[str, Any], gone: bool) -> None:
    before = json.dumps(schema)
    found = enforceable(schema)
    assert json.dumps(schema) == before
    ours, theirs = (jsonschema.Draft202012Validator(one) for one in (found, schema))
    for value in VALUES:
        assert ours.is_valid(value) == theirs.is_valid(value), value
    text = json.dumps(found)
    left = any(f'"{one}":' in text for one in ("if", "not", "oneOf", "dependentRequired", "dependentSchemas"))
    assert left != gone


def test_dependencies_of_older_drafts() -> None:
    schema = {"dependencies": {"a": ["b"], "b": {"required": ["c"]}}}
    found = enforceable(schema)
    assert "dependencies" not in found
    theirs, ours = jsonschema.Draft7Validator(schema), jsonschema.Draft7Validator(found)
    assert [ours.is_valid(one) for one in VALUES] == [theirs.is_valid(one) for one in VALUES]


def test_hostile_schemas_end() -> None:
    """Branches without end, references in circles, and what is no schema at all."""
    branches = [{"type": "object", "properties": {"a": {"$ref": "#"}}} for _ in range(400)]
    assert "oneOf" in enforceable({"oneOf": branches})
    circle = {"oneOf": [{"$ref": "#/a"}, {"type": "null"}], "a": {"$ref": "#/b"}, "b": {"$ref": "#/a"}}
    assert "oneOf" in enforceable(circle)
    deep: Any = {"type": "string"}
    for _ in range(300):
        deep = {"not": {"anyOf": [deep, {"type": "null"}]}}
    enforceable(deep)
    wide: Any = {"$ref": "#/$defs/d0"}
    pairs = {f"d{i}": {"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(40)}
    assert "not" in enforceable({"not": wide, "$defs": pairs})
    names = [f"n{i}" for i in range(60)]
    enforceable({"oneOf": [{"required": names}] * 3})
    enforceable({"not": {"$ref": "#"}})
    odd: list[Any] = [
        7,
        {"oneOf": 3},
        {"oneOf": []},
        {"dependencies": []},
        {"oneOf": [{"required": [1]}, {}]},
    ]
    for one in odd:
        enforceable(one)
