"""Prove that no JSON value is valid under two schemas. Some proofs are not found, but none is wrong."""

from __future__ import annotations

from typing import Any

_TYPES = frozenset({"array", "boolean", "null", "number", "object", "string"})
_WORK = 20_000  # maximum number of comparisons of schemas
_DEPTH = 12


class SchemaOverlap:
    """Proofs about schemas of one document.

    Args:
        root: the document that references point into.
    """

    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = _WORK

    def exclusive(self, schema: dict[str, Any]) -> bool:
        """Return True if no value that the rest of a schema allows matches two branches of its `oneOf`."""
        branches = schema["oneOf"]
        around = {name: value for name, value in schema.items() if name in ("required", "type")}
        joined = [{"allOf": [around, one]} for one in branches]
        return all(
            self.disjoint(joined[i], joined[j], 0)
            for i in range(len(joined))
            for j in range(i + 1, len(joined))
        )

    def disjoint(self, first: Any, second: Any, depth: int) -> bool:
        """Return True if no value is valid under both."""
        self._left -= 1
        if self._left < 0 or depth > _DEPTH:
            return False
        common = self.types(first, 0) & self.types(second, 0)
        if not common:
            return True
        ours, theirs = self.values(first, 0), self.values(second, 0)
        if ours is not None and theirs is not None and not any(_equal(a, b) for a in ours for b in theirs):
            return True
        return common == {"object"} and self._objects_disjoint(first, second, depth)

    def types(self, schema: Any, depth: int) -> frozenset[str]:
        """Return a superset of the types of valid values, with "number" for integers."""
        if schema is False:
            return frozenset()
        if not isinstance(schema, dict) or depth > _DEPTH:
            return _TYPES
        if "$ref" in schema:  # older drafts ignore keywords next to it
            return self.types(self.target(schema["$ref"]), depth + 1)
        found = _TYPES
        if "type" in schema:
            listed = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
            found = frozenset("number" if one == "integer" else str(one) for one in listed) & _TYPES
        values = self.values(schema, depth)
        if values is not None:
            found &= frozenset(types_of(values))
        for one in _list(schema, "allOf"):
            found &= self.types(one, depth + 1)
        for name in ("anyOf", "oneOf"):
            if branches := _list(schema, name):
                found &= frozenset().union(*(self.types(one, depth + 1) for one in branches))
        return found

    def values(self, schema: Any, depth: int) -> list[Any] | None:
        """Return a list of all valid values, or None if they are not known."""
        if not isinstance(schema, dict) or depth > _DEPTH:
            return None
        if "$ref" in schema:
            return self.values(self.target(schema["$ref"]), depth + 1)
        if "const" in schema:
            return [schema["const"]]
        if isinstance(schema.get("enum"), list):
            return list(schema["enum"])
        known = (self.values(one, depth + 1) for one in _list(schema, "allOf"))
        return next((one for one in known if one is not None), None)

    def names(self, schema: Any) -> frozenset[str] | None:
        """Return all properties that a valid object may have; None if they are not known."""
        for part in self._parts(schema, 0):
            if part.get("additionalProperties") is False and not part.get("patternProperties"):
                return frozenset(_properties(part))
        return None

    def _objects_disjoint(self, first: Any, second: Any, depth: int) -> bool:
        """Return True if a property that one of them requires cannot be valid in both."""
        ours, theirs = self._parts(first, 0), self._parts(second, 0)
        needed = {
            name: None
            for part in (*ours, *theirs)
            for name in _list(part, "required")
            if isinstance(name, str)
        }
        for name in needed:
            if any(_forbids(part, name) for part in (*ours, *theirs)):
                return True
            for a in (part["properties"][name] for part in ours if name in _properties(part)):
                for b in (part["properties"][name] for part in theirs if name in _properties(part)):
                    if self.disjoint(a, b, depth + 1):
                        return True
        return False

    def _parts(self, schema: Any, depth: int) -> list[dict[str, Any]]:
        """Return known schemas under all of which a valid value is valid."""
        if not isinstance(schema, dict) or depth > _DEPTH:
            return []
        if "$ref" in schema:
            return self._parts(self.target(schema["$ref"]), depth + 1)
        inner = [part for one in _list(schema, "allOf") for part in self._parts(one, depth + 1)]
        return [schema, *inner]

    def target(self, reference: Any) -> Any:
        """Return the schema that a reference names; True, which allows all, if it is not in the document."""
        if not isinstance(reference, str) or not reference.startswith("#"):
            return True
        found = self._root
        for part in reference[1:].split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and key in found:
                found = found[key]
            elif isinstance(found, list) and key.isdecimal() and len(key) < 10 and int(key) < len(found):
                found = found[int(key)]
            else:
                return True
        return found if reference in ("#", "#/") or "/" in reference else True


def types_of(values: list[Any]) -> set[str]:
    """Return the JSON types of values."""
    names = {bool: "boolean", dict: "object", list: "array", str: "string", type(None): "null"}
    return {names.get(type(value), "number") for value in values}


def _equal(first: Any, second: Any) -> bool:
    """Return True if two JSON values are the same; 1 is 1.0, and not true."""
    return types_of([first]) == types_of([second]) and bool(first == second)


def _list(schema: dict[str, Any], name: str) -> list[Any]:
    value = schema.get(name)
    return value if isinstance(value, list) else []


def _properties(schema: dict[str, Any]) -> dict[str, Any]:
    value = schema.get("properties")
    return value if isinstance(value, dict) else {}


def _forbids(schema: dict[str, Any], name: str) -> bool:
    """Return True if no valid object has a property."""
    own = _properties(schema)
    if name in own:
        return own[name] is False
    return schema.get("additionalProperties") is False and not schema.get("patternProperties")
