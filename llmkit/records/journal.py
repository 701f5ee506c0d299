"""The journal of an unfinished run: what its lines say, and reading them back.

    {"journal": 1, "header": {...}}                                     the options of the run
    {"done_rows": 2048, "bytes": 91133, "sha256": "...", "failed": 0, "budget": null}
    {"pid": 4711}                                                       who writes; again at each resume
    {"window": 2048, "rows": 1024, "sha256": "..."}                     the rows being worked on
    {"batch": [[2050, {"generated_text": "..."}], [2049, null, "why it failed"]]}
    {"budget": {...}}                                                   after an out-of-memory

When a window is complete the file is replaced, atomically, by its first three lines; windows, batches and
budgets are appended. So only its end can be torn, and reading stops at the first line that is not whole.

Public: `Failure`, `Result`, `Finished`, `CommitWindow`, `Journal`, `read`; a function for each kind of line.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from llmkit.errors import InputError
from llmkit.records.batches import Budget
from llmkit.records.rows import Row
from llmkit.records.strict_json import dumps

_VERSION = 1


@dataclass(frozen=True)
class Failure:
    """The result of a row that failed."""

    reason: str


Result = dict[str, Any] | Failure
"""What became of a row: the fields to add to it, or why there are none."""


@dataclass(frozen=True)
class Finished:
    """What the finished windows amount to.

    Attributes:
        done_rows: rows in the partial file.
        bytes: its length; what lies beyond belongs to no finished window.
        sha256: of the input rows up to there.
        failed: how many of them failed.
        budget: the budget to go on with, where memory ran out under the one the run began with.
    """

    done_rows: int = 0
    bytes: int = 0
    sha256: str = hashlib.sha256().hexdigest()
    failed: int = 0
    budget: Budget | None = None


@dataclass
class CommitWindow:
    """The window being worked on: its first row's index, its rows, their hash, the results so far."""

    first: int
    rows: int
    sha256: str
    results: dict[int, Result] = field(default_factory=dict)


@dataclass
class Journal:
    """A journal as it was read.

    Attributes:
        size: how many bytes of the file are whole lines.
    """

    header: dict[str, Any]
    finished: Finished
    budget: Budget | None
    window: CommitWindow | None = None
    pid: int | None = None
    size: int = 0


def hash_rows(rows: Iterable[Row], *digests: Any) -> None:
    """Add rows to hashlib digests: what was read of each, or why it could not be read."""
    for row in rows:
        content = dumps(row.data if row.error is None else row.error).encode() + b"\n"
        for digest in digests:
            digest.update(content)


def head(header: dict[str, Any], finished: Finished) -> bytes:
    """The three lines that a journal begins with."""
    return (
        _line({"journal": _VERSION, "header": header})
        + _line({**asdict(finished), "budget": _budget(finished.budget)})
        + pid_line()
    )


def pid_line() -> bytes:
    return _line({"pid": os.getpid()})


def window_line(window: CommitWindow) -> bytes:
    return _line({"window": window.first, "rows": window.rows, "sha256": window.sha256})


def batch_line(results: Iterable[tuple[int, Result]]) -> bytes:
    items = [
        [index, None, result.reason] if isinstance(result, Failure) else [index, result]
        for index, result in results
    ]
    return _line({"batch": items})


def budget_line(budget: Budget) -> bytes:
    return _line({"budget": _budget(budget)})


def read(path: Path) -> Journal:
    """Read a journal, leaving out a torn end.

    Raises:
        InputError: it is no journal, or another version's.
        OSError: it cannot be read.
    """
    journal: Journal | None = None
    first: dict[str, Any] | None = None
    size = 0
    for raw in path.read_bytes().split(b"\n")[:-1]:
        try:
            entry = json.loads(raw)
            if first is None:
                first = entry if entry["journal"] == _VERSION else None
                if first is None:
                    break
            elif journal is None:
                finished = Finished(**{**entry, "budget": _as_budget(entry["budget"])})
                journal = Journal(first["header"], finished, finished.budget)
            else:
                _take(journal, entry)
        except (ValueError, KeyError, TypeError):
            break
        size += len(raw) + 1
    if journal is None:
        raise InputError(f"{path}: not a journal that this version can read; --overwrite starts anew")
    journal.size = size
    return journal


def _take(journal: Journal, entry: dict[str, Any]) -> None:
    if "pid" in entry:
        journal.pid = int(entry["pid"])
    elif "window" in entry:
        journal.window = CommitWindow(entry["window"], entry["rows"], entry["sha256"])
    elif "budget" in entry:
        journal.budget = _as_budget(entry["budget"])
    elif journal.window is None:
        raise ValueError("a batch of no window")
    else:
        journal.window.results.update(
            {
                index: fields if fields is not None else Failure(*reason)
                for index, fields, *reason in entry["batch"]
            }
        )


def _budget(budget: Budget | None) -> dict[str, Any] | None:
    return None if budget is None else asdict(budget)


def _as_budget(value: dict[str, Any] | None) -> Budget | None:
    return None if value is None else Budget(**value)


def _line(entry: dict[str, Any]) -> bytes:
    return dumps(entry).encode() + b"\n"
