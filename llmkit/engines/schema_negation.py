"""Write the negation of a JSON schema as a schema without `not`, for the keywords where there is one."""

from __future__ import annotations

from typing import Any

from llmkit.engines.schema_overlap import SchemaOverlap

NOTES = frozenset({"$comment", "$schema", "default", "description", "examples", "title"})
"""Keywords that no validity depends on."""
_TYPES = ("array", "boolean", "null", "number", "object", "string")
_WORK = 5_000  # schemas negated in one document
_DEPTH = 8
# Keyword with a number: type that it is about, keyword of the negation, number to add.
_LIMITS = {
    "minLength": ("string", "maxLength", -1),
    "maxLength": ("string", "minLength", 1),
    "minItems": ("array", "maxItems", -1),
    "maxItems": ("array", "minItems", 1),
    "minimum": ("number", "exclusiveMaximum", 0),
    "maximum": ("number", "exclusiveMinimum", 0),
    "exclusiveMinimum": ("number", "maximum", 0),
    "exclusiveMaximum": ("number", "minimum", 0),
}


class Negation:
    """Negations of schemas of one document.

    Args:
        overlap: proofs about the same document; resolves references.
    """

    def __init__(self, overlap: SchemaOverlap) -> None:
        self._overlap = overlap
        self._left = _WORK

    def of(self, schema: Any, depth: int = 0) -> Any:
        """Return a schema that exactly the values are valid under that `schema` refuses; None if unknown."""
        self._left -= 1
        if isinstance(schema, bool):
            return not schema
        if not isinstance(schema, dict) or depth > _DEPTH or self._left < 0:
            return None
        if "$ref" in schema:
            alone = schema.keys() <= NOTES | {"$ref"}
            target = self._overlap.target(schema["$ref"])
            return self.of(target, depth + 1) if alone and target is not True else None
        parts = []
        for name in schema.keys() - NOTES:
            part = self._keyword(name, schema, depth + 1)
            if part is None:
                return None
            parts.append(part)
        return _any(parts)

    def _keyword(self, name: str, schema: dict[str, Any], depth: int) -> Any:
        """Return the negation of one keyword."""
        value = schema[name]
        if name in _LIMITS:
            kind, other, add = _LIMITS[name]
            if isinstance(value, bool) or not isinstance(value, int | float) or (value + add < 0 and add):
                return None
            return {"type": kind, other: value + add}
        if name == "not":
            return value
        if name in ("additionalProperties", "items") and value in (True, {}):
            return False
        makers: dict[str, Any] = {"type": _not_type, "const": _not_const, "required": _not_required}
        if name in makers:
            return makers[name](value)
        if name == "enum" and isinstance(value, list) and len(value) == 1:
            return _not_const(value[0])
        if name == "properties" and isinstance(value, dict):
            return self._properties(value, depth)
        if name in ("allOf", "anyOf", "oneOf") and isinstance(value, list) and value:
            negated = [self.of(one, depth) for one in value]
            if any(one is None for one in negated):
                return None
            if name == "allOf":
                return _any(negated)
            if name == "anyOf" or self._overlap.exclusive({"oneOf": value}):
                return {"allOf": negated}
        return None

    def _properties(self, listed: dict[str, Any], depth: int) -> Any:
        parts = []
        for name, one in listed.items():
            negated = self.of(one, depth)
            if negated is None:
                return None
            if negated is not False:
                parts.append({"type": "object", "required": [name], "properties": {name: negated}})
        return _any(parts)


def _any(parts: list[Any]) -> Any:
    parts = [one for one in parts if one is not False]
    if len(parts) > 1:
        return {"anyOf": parts}
    return parts[0] if parts else False


def _not_type(value: Any) -> Any:
    listed = set(value) if isinstance(value, list) else {value}
    if "integer" in listed and "number" not in listed:
        return None
    left = [one for one in _TYPES if one not in listed]
    return {"type": left} if left else False


def _not_const(value: Any) -> Any:
    if value is None:
        return _not_type("null")
    if isinstance(value, bool):
        return {"anyOf": [_not_type("boolean"), {"const": not value}]}
    if value == "":
        return {"anyOf": [_not_type("string"), {"type": "string", "minLength": 1}]}
    return None


def _not_required(value: Any) -> Any:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        return None
    return _any([{"type": "object", "properties": {name: False}} for name in value])
