"""The journal of an unfinished run: format of its lines, and a reader.

    {"journal": 2, "header": {...}}                                     options of the run
    {"done_rows": 2048, "bytes": 91133, "output": "...", "input": "...", "failed": 0, "budget": null}
    {"pid": 4711}                                                       the writer; repeated at each resume
    {"window": 2048, "rows": 1024, "sha256": "..."}                     rows of the current window
    {"batch": [[2050, {"generated_text": "..."}], [2049, null, "reason of the failure"]]}
    {"budget": {...}}                                                   after an out-of-memory error

Each line ends with a checksum of itself, `"crc": "89abcdef"`. After a complete window, a new file with the
first three lines replaces the journal atomically. Windows, batches and budgets are appended, so a kill can
cut only the last line. The reader stops at the first line that is truncated or damaged, and the rows of the
lines after it run again.

Public: `Failure`, `Result`, `row_out`, `Finished`, `CommitWindow`, `Journal`, `read`, `difference`; a
function for each kind of line.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from llmkit.errors import InputError
from llmkit.records.batches import Budget
from llmkit.records.rows import Row
from llmkit.records.strict_json import dumps

_VERSION = 2
_NOTHING = hashlib.sha256().hexdigest()
_CHECKED = re.compile(rb'(.*), "crc": "([0-9a-f]{8})"\}', re.DOTALL)


@dataclass(frozen=True)
class Failure:
    """The result of a row that failed."""

    reason: str


Result = dict[str, Any] | Failure
"""Result of a row: the fields to add to it, or the reason of its failure."""


def row_out(row: Row, result: Result) -> dict[str, Any]:
    """Return the output row: with its result, or with the reason of its failure."""
    if not isinstance(result, Failure):
        return {**row.data, **result}
    if row.error is not None:
        return {"error": f"{row.where}: {result.reason}"}
    return {**row.data, "llmkit_error" if "error" in row.data else "error": result.reason}


@dataclass(frozen=True)
class Finished:
    """Totals of the finished windows.

    Attributes:
        done_rows: rows in the partial file.
        bytes: length of the finished part of that file; bytes after it do not belong to a finished window.
        output: SHA-256 of those bytes.
        input: SHA-256 of the input rows of those windows.
        failed: number of failed rows among them.
        budget: the reduced budget, if memory ran out with the first one.
    """

    done_rows: int = 0
    bytes: int = 0
    output: str = _NOTHING
    input: str = _NOTHING
    failed: int = 0
    budget: Budget | None = None


@dataclass
class CommitWindow:
    """The current window: index of its first row, number of rows, their hash, the results so far."""

    first: int
    rows: int
    sha256: str
    results: dict[int, Result] = field(default_factory=dict)


@dataclass
class Journal:
    """A journal that was read.

    Attributes:
        header: options of the run.
        finished: totals of the finished windows.
        budget: the budget in force, if it differs from the header's.
        window: the current window, if there is one.
        pid: process that wrote to the journal last.
        size: number of bytes in intact lines.
    """

    header: dict[str, Any]
    finished: Finished
    budget: Budget | None
    window: CommitWindow | None = None
    pid: int | None = None
    size: int = 0


def hash_rows(rows: Iterable[Row], *digests: Any) -> None:
    """Add rows to hashlib digests: the data of each, or the reason why it could not be read."""
    for row in rows:
        content = dumps(row.data if row.error is None else row.error).encode() + b"\n"
        for digest in digests:
            digest.update(content)


def head(header: dict[str, Any], finished: Finished) -> bytes:
    """Return the first three lines of a journal."""
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


def is_journal(path: Path) -> bool:
    """Return True if a file begins like a journal, or is empty."""
    with path.open("rb") as file:
        start = file.read(12)
    return not start or b'{"journal": '.startswith(start)


def read(path: Path) -> Journal:
    """Read a journal up to the first line that is truncated or damaged.

    Raises:
        InputError: the file is not a journal, has another version, or is damaged in its first two lines.
        OSError: the file cannot be read.
    """
    journal: Journal | None = None
    first: dict[str, Any] | None = None
    size = 0
    for raw in path.read_bytes().split(b"\n")[:-1]:
        try:
            entry = _entry(raw)
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
        raise InputError(
            f"{path}: not a journal that this version can read, or damaged; overwrite=True starts again"
        )
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
        raise ValueError("a batch outside a window")
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
    text = dumps(entry).encode()
    return text[:-1] + f', "crc": "{zlib.crc32(text[:-1]):08x}"}}\n'.encode()


def _entry(raw: bytes) -> dict[str, Any]:
    """Decode a line.

    Raises:
        ValueError: it is damaged, or it is not an object.
    """
    found = _CHECKED.fullmatch(raw)
    if found is None or zlib.crc32(found.group(1)) != int(found.group(2), 16):
        raise ValueError("the line is damaged")
    entry = json.loads(found.group(1) + b"}")
    if not isinstance(entry, dict):
        raise ValueError("not an object")
    return entry


def difference(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> str | None:
    """Describe the first option that differs; None if all are equal."""
    for key in [*new, *(key for key in old if key not in new)]:
        before, now = old.get(key, _NOT_SET), new.get(key, _NOT_SET)
        if isinstance(before, dict) and isinstance(now, dict):
            inside = difference(before, now, f"{prefix}{key}.")
            if inside is not None:
                return inside
        elif before is _NOT_SET or now is _NOT_SET or dumps(before) != dumps(now):
            return f"{prefix}{key} was {_shown(before)} and is now {_shown(now)}"
    return None


_NOT_SET = object()


def _shown(value: Any) -> str:
    if value is _NOT_SET:
        return "not set"
    text = dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
