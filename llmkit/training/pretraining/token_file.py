"""Token ids on disk: written in order, read back in pieces.

Public: `Tokens`, `TokenWriter`, `Blocks`, `Documents`, `id_dtype`, `check_filled`, `batches`.

Pieces are read with `pread`, not through a memory map: mapped pages count as memory of the process, so a run
would appear to grow by the size of its corpus.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, LLMKitError
from llmkit.training.encoded import IGNORED, Encoded

if TYPE_CHECKING:
    import numpy as np

# Number of documents whose lengths are read at a time.
_DOCUMENTS = 1 << 16
# Multiples of the golden ratio, without their whole part, divide a block evenly for any number of epochs.
_GOLDEN = (5**0.5 - 1) / 2


def id_dtype(vocabulary: int) -> str:
    """Return the numpy dtype in which ids of a vocabulary of this size are stored."""
    return "uint16" if vocabulary <= 1 << 16 else "uint32"


class Tokens:
    """A file of integers as a sequence: `tokens[start:stop]` is an int64 array.

    The file stays open, so it may be moved.
    """

    def __init__(self, file: Path, dtype: str) -> None:
        import numpy as np

        self.file = file
        self.dtype = np.dtype(dtype)
        self._stream = file.open("rb", buffering=0)
        self._count = os.fstat(self._stream.fileno()).st_size // self.dtype.itemsize

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, piece: slice) -> np.ndarray:
        import numpy as np

        start, stop, _ = piece.indices(self._count)
        size = self.dtype.itemsize
        raw = os.pread(self._stream.fileno(), (stop - start) * size, start * size)
        if len(raw) < (stop - start) * size:
            raise LLMKitError(f"{self.file}: became shorter; resume=True writes it again")
        return np.frombuffer(raw, dtype=self.dtype).astype(np.int64)


class TokenWriter:
    """Write documents one after another, with `boundary` before each and after the last; or only count.

    Args:
        file: file for the ids; None only counts.
        dtype: result of `id_dtype`.
        boundary: id between documents.
        lengths: file for the documents' lengths (int64), if they will be read one by one.
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
        """Write the last boundary, and flush everything to the disk."""
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


@dataclass
class Blocks:
    """Token ids cut into blocks: a dataset for `Trainer`.

    A document may extend over several blocks. In each epoch the cuts are at different places, so a token has
    another context; the last block continues at the beginning of the text. A remainder shorter than a block
    is dropped.

    Attributes:
        tokens: `Tokens`, or an array.
        length: number of tokens in a block.
        first: id that each block begins with, in place of a token of text; None leaves it out.
        epoch: epoch, set by `set_epoch`.
    """

    tokens: Any
    length: int
    first: int | None = None
    epoch: int = 0

    def __len__(self) -> int:
        return len(self.tokens) // self.length

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def ids(self, index: int) -> np.ndarray:
        import numpy as np

        start = index * self.length + round(self.epoch * _GOLDEN * self.length) % self.length
        size = self.length if self.first is None else self.length - 1
        ids = self.tokens[start : start + size]
        if len(ids) < size:
            ids = np.concatenate([ids, self.tokens[: size - len(ids)]])
        return ids if self.first is None else np.concatenate([[self.first], ids])

    def __getitem__(self, index: int) -> Encoded:
        """Return a block; each token's target is the next token."""
        import numpy as np

        ids = self.ids(index)
        return Encoded(ids, np.append(ids[1:], IGNORED))


@dataclass(frozen=True)
class Documents:
    """Documents in order, from the files of `TokenWriter`.

    Attributes:
        tokens: ids with the boundaries.
        lengths: number of tokens of each document, without the boundaries.
    """

    tokens: Tokens
    lengths: Tokens

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[np.ndarray]:
        end = 0
        for first in range(0, len(self), _DOCUMENTS):
            for length in self.lengths[first : first + _DOCUMENTS].tolist():
                start, end = end + 1, end + 1 + length
                yield self.tokens[start:end]


def check_filled(tokens: int, length: int, part: str = "training") -> None:
    """Refuse text that is too short for a block.

    Args:
        tokens: number of tokens of the text.
        length: number of tokens in a block.
        part: name of the text in the message.

    Raises:
        InputError: the text is too short.
    """
    if tokens < length:
        raise InputError(
            f"the {part} text has {tokens} tokens and fills no block of {length}; give more text or a"
            " smaller `max_length`"
        )


def batches(documents: Iterable[tuple[str, bool]], size: int) -> Iterator[list[tuple[str, bool]]]:
    """Yield lists of documents of about `size` characters each."""
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
