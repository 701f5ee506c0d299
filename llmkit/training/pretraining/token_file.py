"""Token ids on disk: written as they come, read back a piece at a time.

Public: `Tokens`, `Writer`, `Blocks`, `Documents`, `width`, `check_filled`, `batches`.

A piece is read by its place and not through a mapping of the file: pages of a mapping count as memory of the
process until others need it, so that a run would seem to grow by its corpus.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, LLMKitError
from llmkit.training.finetuning.encoding import IGNORED, Encoded

if TYPE_CHECKING:
    import numpy as np

# Documents whose lengths are read at a time.
_STRETCH = 1 << 16


def width(vocabulary: int) -> str:
    """The numpy type in which ids of such a vocabulary are stored."""
    return "uint16" if vocabulary <= 1 << 16 else "uint32"


class Tokens:
    """A file of numbers as a sequence: `tokens[start:stop]` is an int64 array.

    The file stays open, so that it may be moved meanwhile.
    """

    def __init__(self, file: Path, dtype: str) -> None:
        import numpy as np

        self.file = file
        self.dtype = np.dtype(dtype)
        self._stream = file.open("rb", buffering=0)
        self._count = os.fstat(self._stream.fileno()).st_size // self.dtype.itemsize

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: slice) -> np.ndarray:
        import numpy as np

        start, stop, _ = place.indices(self._count)
        size = self.dtype.itemsize
        raw = os.pread(self._stream.fileno(), (stop - start) * size, start * size)
        if len(raw) < (stop - start) * size:
            raise LLMKitError(f"{self.file}: became shorter; --resume writes it anew")
        return np.frombuffer(raw, dtype=self.dtype).astype(np.int64)


class Writer:
    """Writes documents one after another, `boundary` before each and behind the last; or only counts them.

    Args:
        file: for the ids; None counts.
        dtype: of `width`.
        boundary: the id between documents.
        lengths: a file for the documents' lengths, in int64, where they are to be read one by one.
    """

    def __init__(self, file: Path | None, dtype: str, boundary: int, lengths: Path | None = None) -> None:
        self.count = 0
        self._dtype = dtype
        self._boundary = boundary
        self._files = [path.open("wb") if path else None for path in (file, lengths)]

    def add(self, documents: Sequence[Sequence[int]]) -> None:
        row: list[int] = []
        for document in documents:
            row.append(self._boundary)
            row.extend(document)
        self._write(0, row, self._dtype)
        self._write(1, [len(document) for document in documents], "int64")
        self.count += len(row)

    def close(self) -> None:
        """Write the last boundary, and have the disk hold it all."""
        self._write(0, [self._boundary], self._dtype)
        self.count += 1
        for file in self._files:
            if file is not None:
                file.flush()
                os.fsync(file.fileno())
                file.close()

    def _write(self, which: int, numbers: list[int], dtype: str) -> None:
        import numpy as np

        file = self._files[which]
        if file is not None:
            file.write(np.asarray(numbers, dtype=dtype).tobytes())


@dataclass(frozen=True)
class Blocks:
    """A row of token ids cut into blocks: a dataset as `Trainer` takes it.

    A document may go over several blocks; what is left at the end and fills no block is dropped.

    Attributes:
        tokens: `Tokens`, or an array.
        length: tokens a block.
    """

    tokens: Any
    length: int

    def __len__(self) -> int:
        return len(self.tokens) // self.length

    def ids(self, index: int) -> np.ndarray:
        return self.tokens[index * self.length : (index + 1) * self.length]

    def __getitem__(self, index: int) -> Encoded:
        """A block, in which each token's target is the next one."""
        import numpy as np

        ids = self.ids(index)
        return Encoded(ids, np.append(ids[1:], IGNORED))


@dataclass(frozen=True)
class Documents:
    """Documents one by one, in order, as `Writer` left them.

    Attributes:
        tokens: `Tokens`, boundaries among them.
        lengths: `Tokens`, without the boundaries.
    """

    tokens: Tokens
    lengths: Tokens

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[np.ndarray]:
        end = 0
        for first in range(0, len(self), _STRETCH):
            for length in self.lengths[first : first + _STRETCH].tolist():
                start, end = end + 1, end + 1 + length
                yield self.tokens[start:end]


def check_filled(tokens: int, length: int, what: str = "training") -> None:
    """Refuse text too short for a block.

    Raises:
        InputError: it is.
    """
    if tokens < length:
        raise InputError(
            f"the {what} text has {tokens} tokens and fills no block of {length}: give more text or a "
            "smaller --max-length"
        )


def batches(documents: Iterable[tuple[str, bool]], size: int) -> Iterator[list[tuple[str, bool]]]:
    """Lists of documents of about `size` characters each."""
    batch: list[tuple[str, bool]] = []
    left = size
    for document in documents:
        batch.append(document)
        left -= len(document[0])
        if left <= 0:
            yield batch
            batch, left = [], size
    if batch:
        yield batch
