"""Files of rows as examples in memory, read and checked before any training starts.

Public: `read_examples`, `Examples`, `ReadOptions`, `Source`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, RowError
from llmkit.records.flatten import flat
from llmkit.records.read import open_rows
from llmkit.records.rows import Row
from llmkit.records.strict_json import dumps
from llmkit.training.finetuning.columns import BadRowError, Columns, recognise
from llmkit.training.finetuning.encoding import IGNORED, Encoded, shared

if TYPE_CHECKING:
    import numpy as np


@dataclass
class ReadOptions:
    """What was found in the files.

    Attributes:
        rows: read, skipped ones too.
        skipped: place and reason of each row that `--on-error skip` left out.
        dropped: rows of which nothing was left to learn.
        truncated: examples that did not fit whole.
    """

    rows: int = 0
    skipped: list[str] = field(default_factory=list)
    dropped: int = 0
    truncated: int = 0


@dataclass(frozen=True)
class Source:
    """Rows that were read and recognised, not yet turned into tokens.

    Attributes:
        columns: what they are for.
        rows: the rows, until they are encoded.
        reading: what was found.
    """

    columns: Columns
    rows: list[Row]
    reading: ReadOptions

    @property
    def talks(self) -> bool:
        """Whether some of it are conversations, which take a chat template."""
        if self.columns.objective != "preference":
            return self.columns.objective == "messages"
        names = [self.columns.names[role] for role in ("chosen", "rejected")]
        turns = [row.data.get(name) for row in self.rows for name in names]
        return any(isinstance(one, list) and one and isinstance(one[0], dict) for one in turns)

    def fingerprint(self) -> str:
        """SHA-256 over the rows, by which a resumed run knows its data again."""
        digest = hashlib.sha256(repr(sorted(self.columns.names.items())).encode())
        for row in self.rows:
            digest.update(dumps(row.data).encode())
        return digest.hexdigest()

    def split(self, share: float, seed: int) -> tuple[Source, Source]:
        """Hold out `share` of the rows, chosen by a hash of seed and row, not by their order.

        Rows whose prompt, source or context is the same fall on the same side.

        Raises:
            InputError: one side would be empty.
        """
        keys = [self._key(row, seed) for row in self.rows]
        ranked = sorted(set(keys))
        if share == 0:
            return self, Source(self.columns, [], ReadOptions())
        count = max(1, round(share * len(ranked)))
        if count >= len(ranked):
            raise InputError(
                f"{len(ranked)} different row(s) cannot be split into training and held-out rows: give more,"
                " or --eval-split 0"
            )
        held = set(ranked[:count])
        sides: tuple[list[Row], list[Row]] = ([], [])
        for key, row in zip(keys, self.rows, strict=True):
            sides[key in held].append(row)
        return (
            Source(self.columns, sides[0], self.reading),
            Source(self.columns, sides[1], ReadOptions(rows=len(sides[1]))),
        )

    def _key(self, row: Row, seed: int) -> bytes:
        names = self.columns.names
        column = next(
            names[role]
            for role in ("context", "source", "prompt", "messages", "text", "chosen")
            if role in names
        )
        what = row.data.get(column)
        if column == names.get("chosen"):
            what = _opening(what, row.data.get(names["rejected"]))
        if "input" in names:
            what = [what, row.data.get(names["input"])]
        return hashlib.sha256(f"{seed}\0{dumps(what)}".encode()).digest()


def read_source(
    files: Sequence[str | Path],
    *,
    mapping: Mapping[str, str] | None = None,
    objective: str | None = None,
    on_error: str = "fail",
) -> Source:
    """Read the rows of all files and tell from their columns what they are for.

    Args:
        files: as `records.open_rows` takes them; a `.txt` file's lines are texts, blank ones aside, and of a
            dataset that has several splits it is "train" if no other is named.
        mapping: role -> column (see `columns.ROLES`).
        objective: where the columns allow several.
        on_error: "fail" at a row that cannot be read or has other columns, or "skip" it.

    Raises:
        InputError: with file, line and reason.
    """
    reading, kept = ReadOptions(), list[Row]()
    columns: Columns | None = None
    for file in files:
        for row in open_rows(file, split="train").through(flat):
            if row.error is None and _blank_line(file, row):
                continue
            reading.rows += 1
            try:
                if row.error is not None:
                    raise RowError(row.where, row.error)
                missing = columns.missing(row.data) if columns else []
                if missing:
                    raise RowError(row.where, f"no column {missing[0]!r}, which the rows before it have")
                try:
                    found = recognise(row.data, mapping, columns.objective if columns else objective)
                except InputError as error:
                    raise RowError(row.where, str(error)) from None
                columns = columns.widened(found) if columns else found
            except RowError as error:
                if on_error == "fail":
                    raise
                reading.skipped.append(str(error))
                continue
            kept.append(row)
    if columns is None:
        raise InputError(f"{', '.join(map(str, files))}: no row that can be used{_first(reading)}")
    return Source(columns, kept, reading)


@dataclass(frozen=True)
class Examples:
    """Examples as token ids: a dataset as `Trainer` takes it.

    Attributes:
        items: the examples, in the order of the files.
        reading: what was found on the way.
    """

    items: list[Encoded]
    reading: ReadOptions

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Encoded:
        return self.items[index]

    @property
    def lengths(self) -> list[int]:
        """Tokens that the model reads of each, the longer side where there are two."""
        return [max(len(one.ids), len(one.targets)) for one in self.items]

    def longest(self, count: int) -> list[int]:
        """The `count` examples with the most tokens, these first."""
        lengths = self.lengths
        return sorted(range(len(lengths)), key=lambda i: -lengths[i])[:count]

    @property
    def tokens(self) -> int:
        """Tokens read in one pass."""
        return sum(len(one.ids) for one in self.items)

    @property
    def learnt(self) -> int:
        """Tokens learnt in one pass."""
        import numpy as np

        return sum(int((np.asarray(one.targets) != IGNORED).sum()) for one in self.items)


def encode(
    source: Source, encoder: Callable[[Mapping[str, Any]], list[Encoded]], *, on_error: str = "fail"
) -> Examples:
    """Turn rows into examples, and let each row go: text and tokens of all rows are not in memory together.

    Raises:
        InputError: a row that cannot be used, with its place, unless it is skipped; or none is left.
    """
    reading, items, count = source.reading, list[Encoded](), len(source.rows)
    source.rows.reverse()
    while source.rows:
        row = source.rows.pop()
        try:
            found = encoder(row.data)
        except BadRowError as error:
            if on_error == "fail":
                raise RowError(row.where, str(error)) from None
            reading.skipped.append(f"{row.where}: {error}")
            continue
        reading.dropped += not found
        reading.truncated += sum(one.cut for one in found)
        items += [_packed(one) for one in found]
    if count and not items:
        raise InputError(f"of {count} rows none leaves anything to learn{_first(reading)}")
    return Examples(items, reading)


def _packed(one: Encoded) -> Encoded:
    """The same in arrays, at a ninth of a list's size."""
    import numpy as np

    def array(values: Any) -> np.ndarray:
        return np.asarray(values, dtype=np.int32)

    types = None if one.types is None else array(one.types)
    return Encoded(array(one.ids), array(one.targets), one.cut, types)


def _opening(chosen: Any, rejected: Any) -> Any:
    """What both begin with: the prompt, where it has no column of its own."""
    alike = type(chosen) is type(rejected) and isinstance(chosen, str | list)
    return chosen[: shared(chosen, rejected)] if alike else chosen


def _blank_line(file: str | Path, row: Row) -> bool:
    """Whether it is what stands between two paragraphs; in files with columns an empty text is a mistake."""
    name = str(file).removesuffix(".gz")
    return name.endswith(".txt") and not str(row.data.get("text", "")).strip()


def _first(reading: ReadOptions) -> str:
    return f": {reading.skipped[0]}" if reading.skipped else ""


def bad_rows(skipped: Sequence[str], count: int, shown: int = 5) -> Iterator[str]:
    """What to tell of the rows left out: the first few, and how many more.

    Args:
        skipped: place and reason of each, or of as many as are shown.
        count: of all.
        shown: at most.
    """
    lines = skipped[:shown]
    yield from (f"skipped: {line}" for line in lines)
    if count > len(lines):
        yield f"skipped: and {count - len(lines)} more"
