"""Rewrite JSON schemas into equivalent schemas with keywords that llguidance enforces.

- `format` with a name that no JSON Schema draft defines has no effect, and is removed.
- `oneOf` becomes `anyOf` if no value can match two of its branches, or if each branch can exclude the others.
- `not` becomes its complement, if keywords can express it.
- `if` becomes `anyOf`: `if` and `then` are valid, or `if` is not valid and `else` is.
- `dependencies`, `dependentRequired` and `dependentSchemas` become `anyOf`: the property is absent, or its
  dependencies are met.

A schema that cannot be rewritten stays, and is refused. Semantics: https://json-schema.org/draft/2020-12.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from llmkit.engines.schema_negation import NOTES, Negation
from llmkit.engines.schema_overlap import SchemaOverlap

# Formats of drafts 4 to 2020-12.
_FORMATS = {
    *("date-time", "date", "time", "duration", "email", "idn-email", "hostname", "idn-hostname"),
    *("ipv4", "ipv6", "uri", "uri-reference", "iri", "iri-reference", "uuid", "uri-template"),
    *("json-pointer", "relative-json-pointer", "regex"),
}
# Keywords whose value is a schema, a list of schemas, or schemas by name.
_ONE = (
    *("additionalItems", "additionalProperties", "contains", "else", "if", "items", "not"),
    *("propertyNames", "then", "unevaluatedItems", "unevaluatedProperties"),
)
_LISTS = ("allOf", "anyOf", "items", "oneOf", "prefixItems")
_NAMED = ("$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties")
_DEPENDENCIES = ("dependencies", "dependentRequired", "dependentSchemas")
_MOST_BRANCHES = 64
_MOST_RULED_OUT = 6  # maximum number of branches of a `oneOf`, each of which excludes the others


def enforceable(schema: Any) -> Any:
    """Return a schema with fewer keywords under which the same JSON values are valid.

    Args:
        schema: any schema; it is not changed.

    Raises:
        RecursionError: it is nested too deeply.
    """
    references = set(_references(schema))
    return _Rewriter(schema, references).rewritten(schema)


class _Rewriter:
    def __init__(self, root: Any, references: set[str]) -> None:
        self._overlap = SchemaOverlap(root)
        self._negation = Negation(self._overlap)
        # A rewritten keyword no longer exists, so no reference may point into it.
        self._kept = {
            name
            for name in ("if", "not", "oneOf", *_DEPENDENCIES)
            if any(f"/{name}/" in one or one.endswith(f"/{name}") for one in references)
        }

    def rewritten(self, schema: Any) -> Any:
        """Return a schema rewritten, with all its parts."""
        if not isinstance(schema, dict):
            return schema
        found = dict(schema)
        for name in _ONE:
            if isinstance(found.get(name), dict):
                found[name] = self.rewritten(found[name])
        for name in _LISTS:
            if isinstance(found.get(name), list):
                found[name] = [self.rewritten(one) for one in found[name]]
        for name in _NAMED:
            if isinstance(found.get(name), dict):
                found[name] = {key: self.rewritten(one) for key, one in found[name].items()}
        if isinstance(found.get("format"), str) and found["format"] not in _FORMATS:
            del found["format"]
        self._if(found, schema)
        self._not(found, schema)
        self._one_of(found, schema)
        self._dependent(found)
        return found

    def _one_of(self, found: dict[str, Any], before: dict[str, Any]) -> None:
        branches = found.get("oneOf")
        if not isinstance(branches, list) or not branches or "oneOf" in self._kept:
            return
        if not self._overlap.exclusive(before):
            exact = _required_alone(branches)
            exact = self._others_ruled_out(before["oneOf"]) if exact is None else exact
            if exact is None:
                return
            branches = exact
        del found["oneOf"]
        _add_choice(found, branches)

    def _others_ruled_out(self, branches: list[Any]) -> list[Any] | None:
        """Return branches that each exclude the branches that they overlap; None if this is not possible."""
        if len(branches) > _MOST_RULED_OUT:
            return None
        found = []
        for i, one in enumerate(branches):
            others = [
                self._negation.of(other, names=self._overlap.names(one))
                for j, other in enumerate(branches)
                if j != i and not self._overlap.disjoint(one, other, 0)
            ]
            if any(other is None for other in others):
                return None
            if False not in others:
                found.append(self.rewritten({"allOf": [one, *others]}))
        return found

    def _if(self, found: dict[str, Any], before: dict[str, Any]) -> None:
        if "if" not in found or "if" in self._kept or not found.keys() & {"then", "else"}:
            return
        negated = self._negation.of(before["if"])
        if negated is None:
            return
        then, otherwise = found.pop("then", True), found.pop("else", True)
        holds = {"allOf": [found.pop("if"), then]}
        _add_choice(found, [holds, {"allOf": [self.rewritten(negated), otherwise]}])

    def _not(self, found: dict[str, Any], before: dict[str, Any]) -> None:
        if "not" not in found or "not" in self._kept:
            return
        negated = self._negation.of(before["not"])
        if negated is None:
            return
        del found["not"]
        if negated is not True:
            found["allOf"] = [*found.get("allOf", ()), self.rewritten(negated)]

    def _dependent(self, found: dict[str, Any]) -> None:
        for keyword in _DEPENDENCIES:
            listed = found.get(keyword)
            if not isinstance(listed, dict) or keyword in self._kept:
                continue
            del found[keyword]
            for name, needed in listed.items():
                then = {"required": needed} if isinstance(needed, list) else needed
                if then not in (True, {}, {"required": []}):
                    _add_choice(found, [{"properties": {name: False}}, then])


def _add_choice(found: dict[str, Any], branches: list[Any]) -> None:
    """Add the condition that a value matches at least one of the branches."""
    if "anyOf" not in found:
        found["anyOf"] = branches
    else:
        found["allOf"] = [*found.get("allOf", ()), {"anyOf": branches}]


def _required_alone(branches: list[Any]) -> list[Any] | None:
    """Return mutually exclusive branches, for lists of required properties; None for others.

    Exactly one of ``{"required": ["a"]}`` and ``{"required": ["b"]}`` matches an object that has a and not b,
    or b and not a. A value that is not an object would match both.
    """
    lists = []
    for one in branches:
        if not isinstance(one, dict) or one.keys() - NOTES != {"required"}:
            return None
        if not isinstance(one["required"], list) or not one["required"]:
            return None
        lists.append(one["required"])
    found = []
    for i, needed in enumerate(lists):
        others = [other for j, other in enumerate(lists) if j != i]
        for absent in itertools.islice(itertools.product(*others), _MOST_BRANCHES):
            if not set(absent) & set(needed):
                properties = dict.fromkeys(dict.fromkeys(absent), False)
                found.append({"type": "object", "required": needed, "properties": properties})
    total = sum(_product(len(other) for j, other in enumerate(lists) if j != i) for i in range(len(lists)))
    return found if total <= _MOST_BRANCHES else None


def _product(sizes: Iterator[int]) -> int:
    total = 1
    for size in sizes:
        total *= size
    return total


def _references(schema: Any) -> Iterator[str]:
    """Yield all texts that may be references into a schema."""
    waiting = [schema]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if isinstance(one.get("$ref"), str):
                yield one["$ref"]
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
