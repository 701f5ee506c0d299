"""Write the negation of a JSON schema as a schema without `not`, for keywords that allow it."""

from __future__ import annotations

import re
from typing import Any

from llmkit.engines.schema_overlap import SchemaOverlap, types_of

NOTES = frozenset({"$comment", "$schema", "default", "description", "examples", "title"})
"""Keywords that do not affect validity."""
_TYPES = ("array", "boolean", "null", "number", "object", "string")
_WORK = 5_000  # maximum number of schemas negated in one document
_DEPTH = 8
_MOST_CHARACTERS = 500  # total length of the texts that a regular expression excludes
# Keyword with a number: type that it applies to, keyword of the negation, number to add.
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

    def of(self, schema: Any, depth: int = 0, names: frozenset[str] | None = None) -> Any:
        """Return a schema that accepts exactly the values that `schema` refuses; None if unknown.

        Args:
            schema: the schema.
            depth: schemas around it.
            names: all properties that its objects may have; None is any.
        """
        self._left -= 1
        if isinstance(schema, bool):
            return not schema
        if not isinstance(schema, dict) or depth > _DEPTH or self._left < 0:
            return None
        if "$ref" in schema:
            alone = schema.keys() <= NOTES | {"$ref"}
            target = self._overlap.target(schema["$ref"])
            return self.of(target, depth + 1, names) if alone and target is not True else None
        parts = []
        for name in schema.keys() - NOTES:
            part = self._keyword(name, schema, depth + 1, names)
            if part is None:
                return None
            parts.append(part)
        return _any(parts)

    def _keyword(self, name: str, schema: dict[str, Any], depth: int, names: frozenset[str] | None) -> Any:
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
        if name == "additionalProperties" and value is False and names is not None:
            if schema.get("patternProperties"):
                return None
            more = sorted(names - set(schema.get("properties", ())))
            return _any([{"type": "object", "required": [one]} for one in more])
        if name == "const":
            return _not_values([value])
        makers: dict[str, Any] = {"type": _not_type, "enum": _not_values, "required": _not_required}
        if name in makers:
            return makers[name](value)
        if name == "properties" and isinstance(value, dict):
            return self._properties(value, depth)
        if name in ("allOf", "anyOf", "oneOf") and isinstance(value, list) and value:
            negated = [self.of(one, depth, names) for one in value]
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


def _not_values(values: Any) -> Any:
    """Return the schema of all other values; None if a number, a list or an object is among `values`."""
    if not isinstance(values, list):
        return None
    kinds = types_of(values)
    if kinds & {"array", "number", "object"}:
        return None
    left = [one for one in _TYPES if one not in kinds]
    parts: list[Any] = [{"type": left}]
    parts += [{"const": one} for one in (True, False) if "boolean" in kinds and one not in values]
    if "string" in kinds:
        texts = [one for one in values if isinstance(one, str)]
        if sum(map(len, texts)) > _MOST_CHARACTERS:
            return None
        parts.append({"type": "string", "pattern": f"^(?:{_other_texts(texts)})$"})
    return _any(parts)


def _other_texts(texts: list[str]) -> str:
    """Return a regular expression for all other texts, without lookaround.

    A text differs from all of them if it leaves the tree of their prefixes, or ends inside it.
    """
    branches: dict[str, list[str]] = {}
    for text in texts:
        if text:
            branches.setdefault(text[0], []).append(text[1:])
    parts = [] if "" in texts else [""]
    parts += [f"{re.escape(first)}(?:{_other_texts(rest)})" for first, rest in branches.items()]
    others = "".join(re.escape(one) for one in branches)
    parts.append(f"[^{others}](?s:.)*" if branches else "(?s:.)+")
    return "|".join(parts)


def _not_required(value: Any) -> Any:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        return None
    return _any([{"type": "object", "properties": {name: False}} for name in value])
