"""One row of input, and the text that a task reads from it.

Public: `Row`, `text_of`, `check_text`, `characters`, `default_column`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from llmkit.errors import OptionError, RowError


@dataclass(frozen=True, slots=True)
class Row:
    """One row of input.

    Attributes:
        index: position in the input, counted from 0 over all rows, unreadable ones included.
        data: columns with JSON values.
        where: place for messages, such as ``data.jsonl:3``.
        error: reason why the row could not be read; `data` is then empty.
    """

    index: int
    data: dict[str, Any]
    where: str
    error: str | None = None


def text_of(row: Row, *, field: str | None, template: str | None, defaults: tuple[str, ...]) -> str:
    """Return the text of a row: a named column, a template over columns, or a default column.

    Args:
        row: the row.
        field: the column to read; it must hold a string or a number.
        template: a text in which each ``{name}`` is replaced by that column; ``{{`` and ``}}`` are braces.
            Nothing else is evaluated.
        defaults: without both, the first of these columns that the row has; if it has none of them, its
            only column with a string.

    Raises:
        RowError: a column is missing, null or not text, or the column is ambiguous.
        OptionError: the template is malformed, or both `field` and `template` are given.
    """
    if row.error is not None:
        raise RowError(row.where, row.error)
    if field is not None and template is not None:
        raise OptionError("field", "cannot be combined with `template`; give one of them")
    if field is not None:
        text = _column(row, field)
    elif template is not None:
        text = "".join(part if column is None else _column(row, column) for part, column in _parts(template))
    else:
        text = _column(row, default_column(row, defaults))
    return check_text(text, row.where)


def check_text(text: str, where: str) -> str:
    """Return `text`, whose place is `where`, unchanged.

    Raises:
        RowError: it contains half of a surrogate pair, which UTF-8, and so a tokenizer, cannot encode.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise RowError(where, f"the text contains half of a surrogate pair (U+{code:04X})") from None
    return text


def characters(data: Mapping[str, Any]) -> int:
    """Return the approximate number of characters in the columns of a row; a number or null counts as one."""
    found, left = 0, [data]
    while left:  # without recursion, because a row may be nested as deeply as the JSON reader allows
        value: Any = left.pop()
        if isinstance(value, str):
            found += len(value)
        elif isinstance(value, Mapping):
            left += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            left += value
        else:
            found += 1
    return found


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the name in `names` that is most similar to `name`, ignoring case; None if none is similar."""
    folded = {other.casefold(): other for other in names}
    found = difflib.get_close_matches(name.casefold(), folded, n=1)
    return folded[found[0]] if found else None


def _column(row: Row, name: str) -> str:
    if name not in row.data:
        near = nearest(name, row.data)
        hint = f"did you mean {near!r}?" if near else _columns(row.data)
        raise RowError(row.where, f"no column {name!r}; {hint}")
    value = row.data[name]
    if isinstance(value, str):
        return value
    if value is None:
        raise RowError(row.where, f"column {name!r} is null")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise RowError(row.where, f"column {name!r} is a {type(value).__name__}, not a text")


def _columns(data: Mapping[str, Any]) -> str:
    return f"its columns are {', '.join(data)}" if data else "it has no columns"


def default_column(row: Row, defaults: tuple[str, ...]) -> str:
    """Return the first of the columns `defaults` in the row, otherwise its only column with a string.

    Raises:
        RowError: several columns could be meant.
    """
    for name in defaults:
        if name in row.data:
            return name
    strings = [name for name, value in row.data.items() if isinstance(value, str)]
    if len(strings) == 1:
        return strings[0]
    raise RowError(row.where, f"no text column: {_columns(row.data)}; give one with `field`")


_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]+)\}|[{}]")


@lru_cache(maxsize=16)
def _parts(template: str) -> tuple[tuple[str, str | None], ...]:
    """Cut a template into (literal, None) and ("", column) parts.

    `str.format` is not used: templates and rows are data, so `{a.__class__}` must be only the name of a
    column.
    """
    parts: list[tuple[str, str | None]] = []
    end = 0
    for match in _BRACES.finditer(template):
        parts.append((template[end : match.start()], None))
        token, end = match.group(), match.end()
        if match.group(1) is not None:
            parts.append(("", match.group(1)))
        elif len(token) == 2:
            parts.append((token[0], None))
        else:
            raise OptionError(
                "template",
                f"has an unmatched {token!r} at character {match.start() + 1};"
                " write {name} for a column, and {{ or }} for a brace",
            )
    parts.append((template[end:], None))
    return tuple(parts)
