"""A corpus on its way to a model: files to documents, documents to held-out and training parts, tokens to
blocks. This module knows nothing of models or of tokenizers' insides.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmkit.errors import InputError, LLMKitError
from llmkit.training.encoding import IGNORED, Encoded

END_OF_TEXT = "<|endoftext|>"


def read_documents(
    files: Sequence[str | Path], *, separator: str | None = None, whole: bool = False
) -> list[str]:
    """Read the documents of .txt and .jsonl files, in order, without the separators between them.

    Args:
        files: a `.jsonl` file has a document in the `text` field of each line; anything else is text.
        separator: what stands between the documents of a text file. Without one it is ``<|endoftext|>`` in
            a file that has it, and a blank line in a file that has not.
        whole: a text file is one document.

    Returns:
        The documents, stripped of white space around them; empty ones are left out.

    Raises:
        InputError: a file is missing, unreadable, not UTF-8 (the line is named) or holds no document.
    """
    documents: list[str] = []
    for file in map(Path, files):
        if file.suffix == ".jsonl":
            parts = list(_json_texts(file))
        else:
            text = _text(file)
            parts = [text] if whole else _split(text, separator)
        found = [part.strip() for part in parts if part.strip()]
        if not found:
            raise InputError(f"{file}: no document in it; a corpus needs text")
        documents += found
    return documents


def fingerprint(files: Sequence[str | Path]) -> str:
    """SHA-256 over the files' contents, by which a resumed run knows its corpus again."""
    digest = hashlib.sha256()
    for file in map(Path, files):
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def split_documents(documents: Sequence[str], share: float, seed: int) -> tuple[list[str], list[str]]:
    """Hold out `share` of the documents, whole ones, chosen by a hash of seed and text.

    Which document is held out does not depend on its neighbours or on the order of the files, and two copies
    of a document fall on the same side.

    Returns:
        Training and held-out documents, each in the corpus's order; with share 0 nothing is held out.

    Raises:
        InputError: one side would be empty.
    """
    if share == 0:
        return list(documents), []
    ranks = {text: hashlib.sha256(f"{seed}\0{text}".encode()).digest() for text in set(documents)}
    count = max(1, round(share * len(ranks)))
    if count >= len(ranks):
        raise InputError(
            f"{len(ranks)} different document(s) cannot be split into a training and a held-out part: "
            "give more text, another --separator, or --eval-split 0"
        )
    chosen = set(sorted(ranks, key=ranks.__getitem__)[:count])
    return [d for d in documents if d not in chosen], [d for d in documents if d in chosen]


@dataclass(frozen=True)
class Blocks:
    """Token ids of shape (blocks, block length): a dataset as `Trainer` takes it."""

    ids: Any

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Encoded:
        """A block, in which each token's target is the next one."""
        block = self.ids[index]
        return Encoded(block, [*block[1:], IGNORED])


def pack(documents: Iterable[Sequence[int]], *, boundary: int, length: int) -> Blocks:
    """Write documents one after another, `boundary` before each, and cut the row into blocks.

    A document may go over several blocks; what is left at the end and fills no block is dropped.

    Args:
        documents: each document's token ids.
        boundary: the id that ends one document and begins the next.
        length: tokens a block.

    Raises:
        InputError: the corpus does not fill one block.
    """
    import numpy as np

    row: list[int] = []
    for document in documents:
        row.append(boundary)
        row.extend(document)
    row.append(boundary)
    count = len(row) // length
    if count == 0:
        raise InputError(
            f"the training text has {len(row)} tokens and fills no block of {length}: give more text or a "
            "smaller --max-length"
        )
    return Blocks(np.asarray(row[: count * length], dtype=np.int64).reshape(count, length))


def _split(text: str, separator: str | None) -> list[str]:
    if separator is None:
        separator = END_OF_TEXT if END_OF_TEXT in text else "\n\n"
    if not separator:
        raise InputError("--separator is empty; --whole makes a file one document")
    return text.split(separator)


def _text(file: Path) -> str:
    return "".join(line for _, line in _lines(file))


def _json_texts(file: Path) -> Iterator[str]:
    for number, line in _lines(file):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{file}:{number}: not a JSON object: {error.msg}") from None
        if not isinstance(row, dict) or not isinstance(row.get("text"), str):
            raise InputError(f"{file}:{number}: no `text` field with a string in it")
        yield row["text"]


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    try:
        with file.open("rb") as stream:
            for number, raw in enumerate(stream, start=1):
                try:
                    line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise InputError(
                        f"{file}:{number}: not UTF-8 (byte {error.start + 1} of the line); convert the file"
                    ) from None
                yield number, line.replace("\r\n", "\n")
    except FileNotFoundError:
        raise InputError(f"{file}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{file}: is a folder; name the files in it") from None
    except OSError as error:
        raise LLMKitError(f"{file}: {error.strerror}") from None
