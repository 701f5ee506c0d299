"""Description of a bias set, and reading of its files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmkit.errors import InputError, RowError
from llmkit.insight.bias.estimates import Definition
from llmkit.insight.bias.items import BiasItem, ScoredItem
from llmkit.records.rows import Row

MOST_BYTES = 256 << 20
"""Largest file of a set that is read as one JSON value, in bytes."""


def unchanged(items: Sequence[ScoredItem]) -> list[ScoredItem]:
    """Return the items as they are; serves as `BiasSet.derive`."""
    return list(items)


@dataclass(frozen=True)
class BiasSet:
    """A bias set.

    Attributes:
        name: value of the option `set`.
        title: its name in papers.
        files: the files that it takes, in words.
        flaws: its known flaws, in a sentence.
        rules: rules of scoring that it takes, the default first; see `scoring.TextScorer`.
        read: reads the files and returns the items.
        define: returns the measures for the items and the rule of scoring.
        derive: turns the scores of texts into what the measures use, such as a chosen answer.
        predicted: scores items from published outputs: takes the items and the name of a column or file;
            None if the set has none.
    """

    name: str
    title: str
    files: str
    flaws: str
    rules: tuple[str, ...]
    read: Callable[[Sequence[Path]], list[BiasItem]]
    define: Callable[[Sequence[BiasItem], str], list[Definition]]
    derive: Callable[[Sequence[ScoredItem]], list[ScoredItem]] = unchanged
    predicted: Callable[[Sequence[BiasItem], str], list[ScoredItem]] | None = None


def rows_of_files(files: Sequence[Path]) -> Iterator[Row]:
    """Yield the rows of all files.

    Raises:
        InputError: a file cannot be read.
        RowError: a row cannot be read.
    """
    from llmkit.records.read import open_rows

    for file in files:
        for row in open_rows(file):
            if row.error is not None:
                raise RowError(row.where, row.error)
            yield row


def text_in(row: Row, column: str) -> str:
    """Return the text of a column that a set must have.

    Raises:
        RowError: the column is missing, empty or no text.
    """
    value = row.data.get(column)
    if not isinstance(value, str) or not value.strip():
        columns = ", ".join(row.data) or "none"
        raise RowError(row.where, f"no text in column {column!r}; its columns are {columns}")
    return value


def one_file(files: Sequence[Path], title: str) -> Path:
    """Return the only file.

    Raises:
        InputError: there are several.
    """
    if len(files) != 1:
        raise InputError(f"{title} is one file, not {len(files)}")
    return files[0]


def read_json(path: Path) -> Any:
    """Read a file that is one JSON value.

    Raises:
        InputError: it is missing, too large, or no JSON.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path}: larger than {MOST_BYTES >> 20} MiB")
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: {error}") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not JSON: {error}") from error
