"""Documents on the command line: which arguments are files, and where their translations go."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llmkit.cli.common import console
from llmkit.cli.common.arguments import exists, refuse_missing
from llmkit.errors import InputError
from llmkit.records.read import has_rows
from llmkit.text.documents.formats import FORMATS, format_of
from llmkit.whole_file import write_whole


@dataclass(frozen=True)
class InputDocument:
    """A file to read, and its path below the output folder."""

    path: Path
    below: Path
    format: str


def are_files(arguments: Sequence[str]) -> bool:
    """Return True if arguments name files or folders, False for a single text.

    Raises:
        InputError: some of several arguments do not exist, or a single one looks like a path that does not.
    """
    missing = [name for name in arguments if not exists(name)]
    if not missing:
        return bool(arguments)
    if len(arguments) > 1:
        raise InputError(f"{missing[0]}: no such file or folder (several arguments are files; quote a text)")
    refuse_missing(missing[0])
    return False


def find(arguments: Sequence[str], format: str | None) -> list[InputDocument]:
    """Return the documents that arguments name, those of folders with their tree.

    Raises:
        InputError: a file of rows, an unknown `--format`, a folder without documents, or two files for one
            output.
    """
    if format is not None and format not in FORMATS:
        raise InputError(f"--format {format}: use one of {', '.join(FORMATS)}")
    found: list[InputDocument] = []
    for name in arguments:
        path = Path(name)
        if path.is_dir():
            inside = _in_folder(path, format)
            if not inside:
                raise InputError(f"{name}: no documents in this folder; formats are {', '.join(FORMATS)}")
            found += inside
            continue
        if format is None and has_rows(name) and format_of(name) is None:
            raise InputError(f"{name}: a file of rows; read it with --input")
        found.append(InputDocument(path, Path(path.name), format or format_of(path) or "txt"))
    seen: dict[Path, Path] = {}
    for one in found:
        if one.below in seen:
            raise InputError(
                f"{seen[one.below]} and {one.path} would both become {one.below}; give one of them"
            )
        seen[one.below] = one.path
    return found


def _in_folder(folder: Path, format: str | None) -> list[InputDocument]:
    found, others = [], 0
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(root, name)
            known = format_of(path)
            if known is None or not FORMATS[known].written or not path.is_file():
                others += 1
            elif format in {None, known}:
                below = Path(folder.resolve().name) / path.relative_to(folder)
                found.append(InputDocument(path, below, known))
    if others:
        console.detail(f"{folder}: {others} files of other formats are left out")
    return found


def targets(documents: Sequence[InputDocument], arguments: Sequence[str], output: Path) -> list[Path]:
    """Return the path of each document's translation.

    A single file goes to `output` itself if that has a suffix of a known format and is no folder.
    """
    alone = len(arguments) == 1 and not Path(arguments[0]).is_dir()
    if alone and not output.is_dir() and format_of(output) is not None:
        return [output]
    return [output / one.below for one in documents]


def journal_of(paths: Sequence[Path], output: Path) -> Path:
    """Return the path of the file that holds the segments while a run lasts."""
    alone = list(paths) == [output]
    return output.with_name(f".{output.name}.segments.jsonl") if alone else output / ".segments.jsonl"


def read(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def write(path: Path, data: bytes) -> None:
    """Write a file in one step: it is whole or not there.

    Raises:
        InputError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
