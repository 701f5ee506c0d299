"""Files of rows as examples in memory, read and checked before any training starts.

Public: `read_source`, `encode`, `skip_notices`, `Source`, `Examples`, `ReadSummary`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, LLMKitError, OptionError, RowError
from llmkit.records.flatten import flat
from llmkit.records.read import open_rows
from llmkit.records.rows import Row
from llmkit.records.strict_json import dumps
from llmkit.training.encoded import IGNORED, Encoded
from llmkit.training.finetuning.columns import BadRowError, Columns, recognize
from llmkit.training.finetuning.encoding import shared_length

if TYPE_CHECKING:
    import numpy as np


_ROWS_BETWEEN_CHECKS = 4096
_SPARE_MEMORY = 256 << 20


@dataclass
class ReadSummary:
    """Counts of the rows read from files.

    Attributes:
        rows: number of rows read, skipped ones included.
        skipped: place and reason of each row that `on_error="skip"` left out.
        dropped: number of rows without any target.
        truncated: number of examples cut to fit.
    """

    rows: int = 0
    skipped: list[str] = field(default_factory=list)
    dropped: int = 0
    truncated: int = 0


@dataclass(frozen=True)
class Source:
    """Rows with known columns, not yet turned into tokens.

    Attributes:
        columns: objective and columns of the rows.
        rows: the rows, until they are encoded.
        summary: counts of the rows.
    """

    columns: Columns
    rows: list[Row]
    summary: ReadSummary

    @property
    def has_conversations(self) -> bool:
        """True if some rows are conversations, which need a chat template."""
        if self.columns.objective == "messages":
            return True
        roles = {"preference": ("prompt", "chosen", "rejected"), "completion": ("prompt", "completion")}
        asked = roles.get(self.columns.objective, ())
        names = [self.columns.names[role] for role in asked if role in self.columns.names]
        turns = [row.data.get(name) for row in self.rows for name in names]
        return any(
            isinstance(one, dict) or (isinstance(one, list) and one and isinstance(one[0], dict))
            for one in turns
        )

    def unread(self, beside: Collection[str]) -> list[str]:
        """Return the columns that are neither used nor in `beside`, in the order of the rows."""
        names = dict.fromkeys(name for row in self.rows for name in row.data)
        used = {*self.columns.names.values(), *beside}
        # `flat` adds the keys of an object as columns of their own.
        objects = (value for row in self.rows for value in row.data.values() if isinstance(value, dict))
        used.update(key for value in objects for key in value)
        return [name for name in names if name not in used]

    def fingerprint(self) -> str:
        """Return the SHA-256 of the rows; a resumed run compares it to recognize its data."""
        digest = hashlib.sha256(repr(sorted(self.columns.names.items())).encode())
        for row in self.rows:
            digest.update(dumps(row.data).encode())
        return digest.hexdigest()

    def split(self, share: float, seed: int) -> tuple[Source, Source]:
        """Hold out `share` of the rows, chosen by a hash of seed and row, independent of their order.

        Rows with the same prompt, source or context fall on the same side.

        Returns:
            Training rows and held-out rows.

        Raises:
            OptionError: one side would be empty.
        """
        keys = [self._key(row, seed) for row in self.rows]
        ranked = sorted(set(keys))
        if share == 0:
            return self, Source(self.columns, [], ReadSummary())
        count = max(1, round(share * len(ranked)))
        if count >= len(ranked):
            raise OptionError(
                "eval_split",
                f"{share}: {len(ranked)} different row(s) cannot be split into training and held-out rows;"
                " give more rows, or eval_split=0",
            )
        held = set(ranked[:count])
        sides: tuple[list[Row], list[Row]] = ([], [])
        for key, row in zip(keys, self.rows, strict=True):
            sides[key in held].append(row)
        return (
            Source(self.columns, sides[0], self.summary),
            Source(self.columns, sides[1], ReadSummary(rows=len(sides[1]))),
        )

    def _key(self, row: Row, seed: int) -> bytes:
        names = self.columns.names
        column = next(
            names[role]
            for role in ("context", "source", "prompt", "messages", "text", "chosen")
            if role in names
        )
        value = row.data.get(column)
        if column == names.get("chosen"):
            value = _common_prefix(value, row.data.get(names["rejected"]))
        if "input" in names:
            value = [value, row.data.get(names["input"])]
        return hashlib.sha256(f"{seed}\0{dumps(value)}".encode()).digest()


def read_source(
    files: Sequence[str | Path],
    *,
    mapping: Mapping[str, str] | None = None,
    objective: str | None = None,
    columns: Columns | None = None,
    on_error: str = "fail",
    limit: int | None = None,
    encoding: str | None = None,
) -> Source:
    """Read the rows of all files, and find their objective from their columns.

    Args:
        files: files, as `records.open_rows` takes them. In a text file each line that is not blank is a
            text. If a dataset has several splits and none is named, "train" is read.
        mapping: role -> column (see `columns.ROLES`).
        objective: objective to take, if the columns allow several.
        columns: columns of the training rows, for held-out rows, which must have them too.
        on_error: "fail" at a row that cannot be read or has other columns, or "skip" it.
        limit: maximum number of rows to read from each file; None is all.
        encoding: encoding of text files; None is UTF-8.

    Returns:
        The rows with their columns.

    Raises:
        InputError: with file, line and reason.
        LLMKitError: the rows do not fit into memory.
    """
    summary, kept = ReadSummary(), list[Row]()
    others = "the rows before it have one" if columns is None else "the training rows have one"
    for file in files:
        rows = open_rows(file, split="train", encoding=encoding).without_blank_lines()
        for row in rows.through(flat).limited(limit):
            summary.rows += 1
            if summary.rows % _ROWS_BETWEEN_CHECKS == 0:
                _check_memory(file, summary.rows)
            try:
                if row.error is not None:
                    raise RowError(row.where, row.error)
                missing = columns.missing(row.data) if columns else []
                if missing:
                    raise RowError(row.where, f"no column {missing[0]!r}, but {others}")
                try:
                    found = recognize(row.data, mapping, columns.objective if columns else objective)
                except InputError as error:
                    raise RowError(row.where, str(error)) from None
                columns = columns.widened(found) if columns else found
            except RowError as error:
                if on_error == "fail":
                    raise
                summary.skipped.append(str(error))
                continue
            kept.append(row)
    if columns is None or not kept:
        raise InputError(f"{', '.join(map(str, files))}: no usable row{_first_reason(summary)}")
    return Source(columns, kept, summary)


@dataclass(frozen=True)
class Examples:
    """Examples as token ids: a dataset for `Trainer`.

    Attributes:
        items: the examples, in the order of the files.
        summary: counts of the rows.
    """

    items: list[Encoded]
    summary: ReadSummary

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Encoded:
        return self.items[index]

    @property
    def lengths(self) -> list[int]:
        """Number of tokens of each example; of source and target the longer one."""
        return [max(len(one.ids), len(one.targets)) for one in self.items]

    def longest(self, count: int) -> list[int]:
        """Return the indices of the `count` longest examples, the longest first."""
        lengths = self.lengths
        return sorted(range(len(lengths)), key=lambda i: -lengths[i])[:count]

    @property
    def tokens(self) -> int:
        """Number of tokens read in one pass."""
        return sum(len(one.ids) for one in self.items)

    @property
    def target_tokens(self) -> int:
        """Number of targets in one pass."""
        import numpy as np

        return sum(int((np.asarray(one.targets) != IGNORED).sum()) for one in self.items)


def _check_memory(file: str | Path, rows: int) -> None:
    """Raise an error before the system kills the process: a small .gz file can unpack to any size."""
    import psutil

    if psutil.virtual_memory().available < _SPARE_MEMORY:
        raise LLMKitError(
            f"{file}: the memory is full after {rows:,} rows, which all have to fit; give fewer rows"
        )


def encode(
    source: Source,
    encoder: Callable[[Mapping[str, Any]], list[Encoded]],
    *,
    on_error: str = "fail",
    part: str = "training",
) -> Examples:
    """Turn rows into examples, and release each row: text and tokens together may not fit into memory.

    Args:
        source: the rows; empty afterwards.
        encoder: result of `encoding.encoder`.
        on_error: "fail" at a bad row, or "skip" it.
        part: "training" or "held-out", for errors.

    Raises:
        RowError: a row is bad, unless it is skipped.
        InputError: no example is left.
    """
    summary, items, count = source.summary, list[Encoded](), len(source.rows)
    source.rows.reverse()
    while source.rows:
        row = source.rows.pop()
        try:
            found = encoder(row.data)
        except BadRowError as error:
            if on_error == "fail":
                raise RowError(row.where, str(error)) from None
            summary.skipped.append(f"{row.where}: {error}")
            continue
        summary.dropped += not found
        summary.truncated += sum(one.cut for one in found)
        items += [_as_arrays(one) for one in found]
    if count and not items:
        raise InputError(_no_targets(source, count, part))
    return Examples(items, summary)


def _no_targets(source: Source, count: int, part: str) -> str:
    """Explain why no row has an example: the rows are bad, or their targets are all left out."""
    rows = f"{part} rows" if count > 1 else f"{part} row"
    if len(source.summary.skipped) == count:
        return f"the {count} {rows} cannot be read{_first_reason(source.summary)}"
    differ = " in which chosen and rejected differ" if source.columns.objective == "preference" else ""
    return (
        f"the {count} {rows} {'leave' if count > 1 else 'leaves'} no target{differ} within `max_length`,"
        " counted in tokens from their beginning; raise it, or give shorter rows"
        f"{_first_reason(source.summary)}"
    )


def _as_arrays(one: Encoded) -> Encoded:
    """Convert lists to arrays, which use a ninth of the memory."""
    import numpy as np

    def array(values: Any) -> np.ndarray:
        return np.asarray(values, dtype=np.int32)

    types = None if one.types is None else array(one.types)
    return Encoded(array(one.ids), array(one.targets), one.cut, types)


def _common_prefix(chosen: Any, rejected: Any) -> Any:
    """Return the common beginning of both texts or conversations: the prompt, if it has no column."""
    comparable = type(chosen) is type(rejected) and isinstance(chosen, str | list)
    return chosen[: shared_length(chosen, rejected)] if comparable else chosen


def _first_reason(summary: ReadSummary) -> str:
    return f": {summary.skipped[0]}" if summary.skipped else ""


def skip_notices(skipped: Sequence[str], count: int, shown: int = 5) -> Iterator[str]:
    """Yield notices about the rows left out: one for each of the first few, and the number of the others.

    Args:
        skipped: place and reason of each row, at least of the first `shown`.
        count: number of all rows left out.
        shown: maximum number of rows to name.
    """
    lines = skipped[:shown]
    yield from (f"skipped: {line}" for line in lines)
    if count > len(lines):
        yield f"skipped: and {count - len(lines)} more"
