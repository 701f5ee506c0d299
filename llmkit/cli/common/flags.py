"""Declarations of options and arguments; help pages use them without Typer, so they start fast.

A verb's function declares a parameter as `Annotated[TYPE, flag(...)]` or `Annotated[TYPE, argument(...)]`, or
takes a whole group: a dataclass with fields declared in this way. `parameters` lists them all, for the help
page and for Typer.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

OWN = "Options"
"""Section of the options that only one verb has."""
SHARED = ("Model", "Input", "Output", "Decoding", "Structured output", "Chat", "Messages")
"""Sections that several verbs have, in the order of the help page; a verb's own sections come first."""
_METAVARS = {int: "N", float: "X"}


@dataclass(frozen=True)
class Flag:
    """An option.

    Attributes:
        names: spellings, such as ``-m`` and ``--model``, or ``--chat/--no-chat``.
        help: one or two sentences.
        metavar: name of the value on the help page.
        default: the default in words, if the value alone is not clear ("random").
        group: section of the help page, for a flag outside a group.
        more: further arguments of `typer.Option`.
    """

    names: tuple[str, ...]
    help: str
    metavar: str | None = None
    default: str | None = None
    group: str | None = None
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def long(self) -> str:
        """The long spelling, such as ``--model``."""
        return next(name.split("/")[0] for name in self.names if name.startswith("--"))


@dataclass(frozen=True)
class Argument:
    """A positional argument: its name on the help page, and its help."""

    metavar: str
    help: str


def flag(
    *names: str,
    help: str,
    metavar: str | None = None,
    default: str | None = None,
    group: str | None = None,
    **more: Any,
) -> Any:
    """Declare an option; see `Flag` for the arguments."""
    return Flag(names, help, metavar, default, group, more)


def argument(metavar: str, *, help: str) -> Any:
    """Declare a positional argument; `metavar` ends in ``...`` if several values are allowed."""
    return Argument(metavar, help)


@dataclass(frozen=True)
class Parameter:
    """A parameter of a verb's function, or a field of one of its groups.

    Attributes:
        name: Python name.
        spec: its declaration.
        type: its type, such as ``int | None``.
        default: its default; `inspect.Parameter.empty` if it is required.
        section: its section of the help page.
    """

    name: str
    spec: Flag | Argument
    type: Any
    default: Any
    section: str

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty

    @property
    def is_switch(self) -> bool:
        """True for an option without a value."""
        return bool in (typing.get_args(self.type) or (self.type,))

    @property
    def metavar(self) -> str:
        """Name of the value; empty for a switch."""
        if isinstance(self.spec, Argument):
            return self.spec.metavar
        if self.is_switch:
            return ""
        kinds = [kind for kind in typing.get_args(self.type) if kind is not types.NoneType] or [self.type]
        return self.spec.metavar or _METAVARS.get(kinds[0], "TEXT")

    @property
    def default_text(self) -> str:
        """The default for the help page; empty if a switch is off or no value is set."""
        if isinstance(self.spec, Flag) and self.spec.default is not None:
            return self.spec.default
        if (
            self.required
            or self.default is None
            or isinstance(self.default, bool)
            or self.default in ("", [])
        ):
            return ""
        if isinstance(self.default, float):
            return f"{self.default:g}"
        return str(self.default)


def parameters(run: Callable[..., None]) -> list[Parameter]:
    """Return the parameters of a verb's function, with the fields of its groups in their place.

    A group's `LEFT_OUT` names fields that are not flags of this verb; they keep their defaults.
    """
    found: list[Parameter] = []
    hints = typing.get_type_hints(run, include_extras=True)
    for name, parameter in inspect.signature(run).parameters.items():
        kind = hints[name]
        if dataclasses.is_dataclass(kind):
            section = getattr(kind, "GROUP", OWN)
            fields = typing.get_type_hints(kind, include_extras=True)
            found += [
                _parameter(one.name, fields[one.name], one.default, section)
                for one in dataclasses.fields(kind)
                if one.name not in getattr(kind, "LEFT_OUT", ())
            ]
        else:
            found.append(_parameter(name, kind, parameter.default, OWN))
    return found


def groups(run: Callable[..., None]) -> dict[str, type]:
    """Return the parameters of a verb's function that are groups."""
    hints = typing.get_type_hints(run, include_extras=True)
    names = inspect.signature(run).parameters
    return {name: hints[name] for name in names if dataclasses.is_dataclass(hints[name])}


def _parameter(name: str, annotation: Any, default: Any, section: str) -> Parameter:
    (spec,) = annotation.__metadata__
    if isinstance(spec, Flag) and spec.group is not None:
        section = spec.group
    return Parameter(name, spec, annotation.__origin__, default, section)


def given(*groups: Any, but: Collection[str] = ()) -> list[str]:
    """Return the flags of `groups` whose values differ from their defaults, as on the command line.

    Args:
        groups: flag groups, filled in.
        but: names of fields to leave out.
    """
    return [
        _spelling(type(group), one.name)
        for group in groups
        for one in dataclasses.fields(group)
        if one.name not in but and getattr(group, one.name) != one.default
    ]


def _spelling(group: type, name: str) -> str:
    (spec,) = typing.get_type_hints(group, include_extras=True)[name].__metadata__
    return str(spec.long)
