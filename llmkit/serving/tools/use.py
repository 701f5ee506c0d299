"""`ToolUse`: the functions that a client offers to the model, and the required calls."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llmkit.serving.errors import bad
from llmkit.serving.fields import Fields, check_string

_MAX_TOOLS = 128
_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_NOTHING: dict[str, Any] = {"type": "object", "properties": {}}


@dataclass(frozen=True)
class Function:
    """A function that the model may call.

    Attributes:
        name, description: shown to the model.
        parameters: JSON schema of its arguments.
        strict: the arguments must be valid under the schema.
    """

    name: str
    description: str | None
    parameters: dict[str, Any]
    strict: bool

    def as_json(self) -> dict[str, Any]:
        """Return OpenAI's object, the form for chat templates."""
        described = {} if self.description is None else {"description": self.description}
        function = {"name": self.name, **described, "parameters": self.parameters}
        return {"type": "function", "function": function}


@dataclass(frozen=True)
class ToolUse:
    """Functions, and the client's `tool_choice`.

    Attributes:
        functions: at least one.
        choice: ``auto`` (calls or text) or ``required`` (calls).
        parallel: an answer may contain several calls.
    """

    functions: tuple[Function, ...]
    choice: Literal["auto", "required"]
    parallel: bool

    def as_json(self) -> list[dict[str, Any]]:
        """Return the functions in the form of chat templates."""
        return [one.as_json() for one in self.functions]

    @property
    def schemas(self) -> dict[str, Any]:
        """Return the parameters by name."""
        return {one.name: one.parameters for one in self.functions}


def tool_use(fields: Fields) -> ToolUse | None:
    """Read OpenAI's `tools`, `tool_choice` and `parallel_tool_calls`.

    Returns:
        The functions; None if the model may call none.

    Raises:
        ApiError: one of them is bad.
    """
    functions = functions_of(fields.any("tools"))
    parallel = fields.boolean("parallel_tool_calls", True)
    return chosen(functions, fields.any("tool_choice"), parallel)


def functions_of(value: Any, *, flat: bool = False) -> tuple[Function, ...]:
    """Return the functions of `tools`.

    Args:
        value: the list; None for none.
        flat: a tool contains the function's fields directly, as in OpenAI's responses.

    Raises:
        ApiError: a tool is malformed, or is not a function.
    """
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > _MAX_TOOLS:
        raise bad("tools", f"must be a list of at most {_MAX_TOOLS} tools")
    found: dict[str, Function] = {}
    for i, one in enumerate(value):
        where = f"tools[{i}]"
        fields = Fields(one, where)
        kind = fields.text("type")
        if kind != "function":
            raise bad(
                f"{where}.type", f"is {kind!r}, but this server supports only function", "unsupported_value"
            )
        inner = fields if flat else Fields(fields.any("function"), f"{where}.function")
        function = _function(inner)
        fields.end()
        if function.name in found:
            raise bad(inner.path("name"), f"is {function.name!r}, which is already used")
        found[function.name] = function
    return tuple(found.values())


def _function(fields: Fields) -> Function:
    name = check_name(fields.any("name"), fields.path("name"))
    description = fields.text("description")
    parameters = fields.any("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise bad(fields.path("parameters"), "must be a JSON schema")
    strict = fields.boolean("strict")
    fields.end()
    return Function(name, description, parameters or _NOTHING, strict)


def check_name(value: Any, where: str) -> str:
    """Return the name of a function.

    Raises:
        ApiError: it is none.
    """
    name = check_string(value, where)
    if not _NAME.fullmatch(name):
        raise bad(where, "must be 1 to 64 letters, digits, dots, dashes and underscores")
    return name


def chosen(functions: tuple[Function, ...], value: Any, parallel: bool) -> ToolUse | None:
    """Apply `tool_choice` to functions.

    Args:
        functions: from `functions_of`.
        value: ``auto``, ``none``, ``required``, or an object that names a function or some of them.
        parallel: an answer may contain several calls.

    Raises:
        ApiError: the choice is malformed, or names an unknown function.
    """
    if value is None or value == "auto":
        return ToolUse(functions, "auto", parallel) if functions else None
    if value == "none":
        return None
    if value == "required":
        if not functions:
            raise bad("tool_choice", "is required, but there are no `tools`")
        return ToolUse(functions, "required", parallel)
    if not isinstance(value, dict):
        raise bad("tool_choice", "must be auto, none, required, or an object that names a function")
    fields = Fields(value, "tool_choice")
    kind = fields.choice("type", ("function", "allowed_tools"))
    if kind == "function":
        name = _named(fields)
        fields.end()
        return ToolUse(_only(functions, [name], "tool_choice"), "required", False)
    if kind is None:
        raise bad("tool_choice.type", "must be function or allowed_tools")
    inner = fields
    if "tools" not in value:  # OpenAI's responses have the list in the object itself
        inner = Fields(fields.any("allowed_tools"), "tool_choice.allowed_tools")
    mode = inner.choice("mode", ("auto", "required")) or "auto"
    listed = inner.any("tools")
    if not isinstance(listed, list) or not listed:
        raise bad(inner.path("tools"), "must be a list of tools")
    names = []
    for i, one in enumerate(listed):
        tool = Fields(one, f"{inner.path('tools')}[{i}]")
        tool.choice("type", ("function",))
        names.append(_named(tool))
        tool.end()
    inner.end()
    fields.end()
    kept = _only(functions, names, inner.path("tools"))
    return ToolUse(kept, "required" if mode == "required" else "auto", parallel)


def _named(fields: Fields) -> str:
    """Return the name in ``{"function": {"name": ...}}``, or in the object itself."""
    function = fields.any("function")
    if function is None:
        return check_string(fields.any("name"), fields.path("name"))
    inner = Fields(function, fields.path("function"))
    name = check_string(inner.any("name"), inner.path("name"))
    inner.end()
    return name


def _only(functions: Sequence[Function], names: Sequence[str], where: str) -> tuple[Function, ...]:
    there = {one.name for one in functions}
    for name in names:
        if name not in there:
            raise bad(where, f"names the function {name!r}, which is not in `tools`")
    return tuple(one for one in functions if one.name in names)
