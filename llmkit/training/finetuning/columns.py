"""Objective of a file of rows, recognized by the names of its columns.

Public: `recognize`, `Columns`, `BadRowError`, `ROLES`.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from llmkit.errors import InputError, OptionError, did_you_mean

# Objective -> the roles that its columns play; those in `_OPTIONAL` may be missing.
ROLES: dict[str, tuple[str, ...]] = {
    "preference": ("prompt", "input", "chosen", "rejected"),
    "answers": ("question", "context", "answers"),
    "messages": ("messages",),
    "completion": ("prompt", "input", "completion"),
    "pairs": ("source", "target"),
    "text": ("text",),
}
_OPTIONAL = {"preference": {"prompt", "input"}, "completion": {"input"}}
# Column names that public data sets use: role -> column.
_SPELLINGS: dict[str, tuple[dict[str, str], ...]] = {
    "preference": (
        {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"},
        {"prompt": "question", "chosen": "chosen", "rejected": "rejected"},
        {"prompt": "instruction", "input": "input", "chosen": "chosen", "rejected": "rejected"},
        {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected"},
        {"prompt": "conversations", "chosen": "chosen", "rejected": "rejected"},
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
    """A row is bad. The message does not name the row's place; the caller adds it."""


@dataclass(frozen=True)
class Columns:
    """Objective of rows, and the columns that play its roles.

    Attributes:
        objective: one of `ROLES`.
        names: role -> column.
    """

    objective: str
    names: dict[str, str]

    @property
    def by_language(self) -> bool:
        """True if source and target are two languages in one column, which the user must name."""
        return "source" in self.names and self.names["source"] == self.names.get("target")

    def missing(self, row: Collection[str]) -> list[str]:
        """Return the required columns that a row lacks."""
        optional = _OPTIONAL.get(self.objective, set())
        return [name for role, name in self.names.items() if name not in row and role not in optional]

    def widened(self, other: Columns) -> Columns:
        """Return the columns, with the optional roles that `other` adds if both agree on the rest."""
        more = {role: name for role, name in other.names.items() if role not in self.names}
        agree = self.objective == other.objective and self.names.items() <= other.names.items()
        return Columns(self.objective, {**self.names, **more}) if agree and more else self


def recognize(
    columns: Collection[str], mapping: Mapping[str, str] | None = None, objective: str | None = None
) -> Columns:
    """Find the objective that a row's columns fit.

    Args:
        columns: names of the row's columns.
        mapping: role -> column, for columns with other names.
        objective: objective to take, if several are possible.

    Returns:
        The objective and its columns.

    Raises:
        InputError: no objective fits, several fit, or a mapped column does not exist.
    """
    if objective is not None and objective not in ROLES:
        raise OptionError("objective", f"must be one of {', '.join(ROLES)}, not {objective!r}")
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
    # Drop an objective whose columns are all part of another: `text` beside `summary`.
    fits = [one for one in found if not any(_within(one, other) for other in found if other is not one)]
    # Preference data often contains the preferred text a second time, as a conversation.
    if any(one.objective == "preference" for one in fits):
        fits = [one for one in fits if one.objective == "preference"]
    if len(fits) == 1:
        return fits[0]
    if not fits:
        raise InputError(
            f"its columns are {', '.join(columns) or 'none'}, which fit no objective"
            f"{_suggestion(tuple(columns))}; give them with `mapping` and the roles text, messages,"
            " prompt and completion, or source and target"
        )
    first, second = fits[:2]
    raise InputError(
        f"ambiguous: its columns fit {_described(first)} and {_described(second)}; choose with"
        f" objective={first.objective} or objective={second.objective}"
    )


def _mapped(columns: Collection[str], mapping: Mapping[str, str], objective: str | None) -> Columns:
    roles = {role for roles in ROLES.values() for role in roles}
    for role, column in mapping.items():
        if role not in roles:
            hint = did_you_mean(role, roles) or f"; the roles are {', '.join(sorted(roles))}"
            raise OptionError("mapping", f"has no role {role!r}{hint}")
        if column not in columns:
            hint = did_you_mean(column, columns) or f"; its columns are {', '.join(columns)}"
            raise OptionError("mapping", f"names no column {column!r}{hint}")
    for kind, all_roles in ROLES.items():
        if objective not in (None, kind):
            continue
        needed = set(all_roles) - _OPTIONAL.get(kind, set())
        # A role that is not mapped may still be a column of the same name.
        names = {role: mapping.get(role, role) for role in all_roles if role in mapping or role in columns}
        if set(mapping) <= set(all_roles) and needed <= set(names):
            return Columns(kind, names)
    given = ", ".join(f"{role}={column}" for role, column in mapping.items())
    objectives = "; ".join(f"{kind} has {', '.join(roles)}" for kind, roles in ROLES.items())
    raise OptionError("mapping", f"{given}: these roles alone fit no objective ({objectives})")


@functools.lru_cache(maxsize=8)  # cached: with skipped bad rows, many rows have the same columns
def _suggestion(columns: tuple[str, ...]) -> str:
    """Return " (did you mean NAME for COLUMN?)" if names close to the columns fit an objective."""
    all_spellings = [one for spellings in _SPELLINGS.values() for one in spellings]
    known = {name for one in all_spellings for name in one.values()}
    close: dict[str, str] = {}
    for column in columns:
        near = [] if column in known else difflib.get_close_matches(column, known, n=1)
        if near:
            close[column] = near[0]
    corrected = {close.get(column, column) for column in columns}
    fitting = next((one for one in all_spellings if set(one.values()) <= corrected), {})
    found = [f"{name} for {column}" for column, name in close.items() if name in fitting.values()]
    return f" (did you mean {', '.join(found)}?)" if found else ""


def _within(one: Columns, other: Columns) -> bool:
    return set(one.names.values()) < set(other.names.values())


def _described(one: Columns) -> str:
    return f"{one.objective} ({', '.join(dict.fromkeys(one.names.values()))})"
