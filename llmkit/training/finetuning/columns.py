"""What a file of rows is for, told from the names of its columns.

Public: `recognise`, `Columns`, `BadRowError`, `ROLES`.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from llmkit.errors import InputError

# Objective -> the roles that its columns play; those in brackets may be missing.
ROLES: dict[str, tuple[str, ...]] = {
    "preference": ("prompt", "input", "chosen", "rejected"),
    "answers": ("question", "context", "answers"),
    "messages": ("messages",),
    "completion": ("prompt", "input", "completion"),
    "pairs": ("source", "target"),
    "text": ("text",),
}
_OPTIONAL = {"preference": {"prompt", "input"}, "completion": {"input"}}
# The ecosystem's spellings, each as its column names in the order of the roles above.
_SPELLINGS: dict[str, tuple[dict[str, str], ...]] = {
    "preference": (
        {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"},
        {"prompt": "question", "chosen": "chosen", "rejected": "rejected"},
        {"prompt": "instruction", "input": "input", "chosen": "chosen", "rejected": "rejected"},
        {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected"},
        {"chosen": "chosen", "rejected": "rejected"},
    ),
    "answers": (
        {"question": "question", "context": "context", "answers": "answers"},
        {"question": "question", "context": "context", "answers": "answer"},
    ),
    "messages": ({"messages": "messages"}, {"messages": "conversations"}, {"messages": "conversation"}),
    "completion": (
        {"prompt": "instruction", "input": "input", "completion": "output"},
        {"prompt": "instruction", "input": "context", "completion": "response"},
        {"prompt": "prompt", "completion": "completion"},
        {"prompt": "prompt", "completion": "response"},
        {"prompt": "instruction", "completion": "output"},
        {"prompt": "instruction", "completion": "response"},
        {"prompt": "query", "completion": "response"},
        {"prompt": "question", "completion": "answer"},
        {"prompt": "question", "completion": "response"},
        {"prompt": "input", "completion": "output"},
        {"prompt": "inputs", "completion": "targets"},
    ),
    "pairs": (
        {"source": "source", "target": "target"},
        {"source": "src", "target": "tgt"},
        {"source": "input_text", "target": "target_text"},
        {"source": "document", "target": "summary"},
        {"source": "article", "target": "highlights"},
        {"source": "article", "target": "summary"},
        {"source": "dialogue", "target": "summary"},
        {"source": "text", "target": "summary"},
        {"source": "translation", "target": "translation"},
    ),
    "text": ({"text": "text"}, {"text": "content"}),
}


class BadRowError(ValueError):
    """What is wrong with a row, without its place."""


@dataclass(frozen=True)
class Columns:
    """What rows are for, and where in them it stands.

    Attributes:
        objective: one of `ROLES`.
        names: role -> column.
    """

    objective: str
    names: dict[str, str]

    @property
    def by_language(self) -> bool:
        """Whether source and target are two languages of one column, which have to be said."""
        return "source" in self.names and self.names["source"] == self.names.get("target")

    def missing(self, row: Collection[str]) -> list[str]:
        """The columns that a row must have and has not."""
        optional = _OPTIONAL.get(self.objective, set())
        return [name for role, name in self.names.items() if name not in row and role not in optional]

    def widened(self, other: Columns) -> Columns:
        """With what `other` has of the roles that may be missing, where both agree on the rest."""
        more = {role: name for role, name in other.names.items() if role not in self.names}
        agree = self.objective == other.objective and self.names.items() <= other.names.items()
        return Columns(self.objective, {**self.names, **more}) if agree and more else self


def recognise(
    columns: Collection[str], mapping: Mapping[str, str] | None = None, objective: str | None = None
) -> Columns:
    """Tell the objective from a row's columns.

    Args:
        columns: names of the row's columns.
        mapping: role -> column, where the names do not speak for themselves.
        objective: take this one, where several are possible.

    Raises:
        InputError: nothing is recognised, more than one thing is, or a mapped column is not there.
    """
    if objective is not None and objective not in ROLES:
        raise InputError(f"--objective {objective}: there is {', '.join(ROLES)}")
    if mapping:
        return _mapped(columns, mapping, objective)
    found = []
    for kind, spellings in _SPELLINGS.items():
        for spelling in spellings:
            if set(spelling.values()) <= set(columns):
                found.append(Columns(kind, spelling))
                break
    if objective is not None:
        found = [one for one in found if one.objective == objective]
    # A shape whose columns are all part of another shape is not meant: `text` beside `summary`.
    meant = [one for one in found if not any(_within(one, other) for other in found if other is not one)]
    # Preferences carry what was preferred as a conversation beside them, too.
    if any(one.objective == "preference" for one in meant):
        meant = [one for one in meant if one.objective == "preference"]
    if len(meant) == 1:
        return meant[0]
    if not meant:
        raise InputError(
            f"its columns are {', '.join(columns) or 'none'}, from which no objective follows"
            f"{_near(tuple(columns))}; say which is which, as in --map prompt=COLUMN completion=COLUMN (or"
            " text=, messages=, source= and target=)"
        )
    first, second = meant[:2]
    raise InputError(
        f"ambiguous: its columns may be meant as {_told(first)} or as {_told(second)}; choose with"
        f" --objective {first.objective} or --objective {second.objective}"
    )


def _mapped(columns: Collection[str], mapping: Mapping[str, str], objective: str | None) -> Columns:
    roles = {role for roles in ROLES.values() for role in roles}
    for role, column in mapping.items():
        if role not in roles:
            near = difflib.get_close_matches(role, roles, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; the roles are {', '.join(sorted(roles))}"
            raise InputError(f"--map {role}={column}: no such role{hint}")
        if column not in columns:
            near = difflib.get_close_matches(column, columns, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; its columns are {', '.join(columns)}"
            raise InputError(f"--map {role}={column}: no column {column!r}{hint}")
    for kind, wanted in ROLES.items():
        if objective not in (None, kind):
            continue
        needed = set(wanted) - _OPTIONAL.get(kind, set())
        # A role that was not mapped may still be a column of its own name.
        names = {role: mapping.get(role, role) for role in wanted if role in mapping or role in columns}
        if set(mapping) <= set(wanted) and needed <= set(names):
            return Columns(kind, names)
    given = ", ".join(f"{role}={column}" for role, column in mapping.items())
    raise InputError(f"--map {given}: these roles alone make no objective; see `llmkit finetune --help`")


@functools.lru_cache(maxsize=8)  # where bad rows are skipped, row after row has the same columns
def _near(columns: tuple[str, ...]) -> str:
    """A question whether some columns are meant by names that they nearly have, if those say what it is."""
    known = {name for spellings in _SPELLINGS.values() for one in spellings for name in one.values()}
    close = {
        column: near[0]
        for column in columns
        if column not in known and (near := difflib.get_close_matches(column, known, n=1))
    }
    meant = {close.get(column, column) for column in columns}
    wanted = next(
        (one for spellings in _SPELLINGS.values() for one in spellings if {*one.values()} <= meant), {}
    )
    found = [f"{name} for {column}" for column, name in close.items() if name in wanted.values()]
    return f" (did you mean {', '.join(found)}?)" if found else ""


def _within(one: Columns, other: Columns) -> bool:
    return set(one.names.values()) < set(other.names.values())


def _told(one: Columns) -> str:
    return f"{one.objective} ({', '.join(dict.fromkeys(one.names.values()))})"
