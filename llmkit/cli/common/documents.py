"""Documents on the command line: recognize arguments that are files, and choose the paths of translations."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmkit.cli.common import console
from llmkit.cli.common.arguments import exists, refuse_missing
from llmkit.errors import InputError
from llmkit.records.disk import cannot_write, check_folder
from llmkit.records.remote.urls import url_of
from llmkit.whole_file import write_whole

_LONGEST = 1 << 26  # bytes of a line of segments


@dataclass(frozen=True)
class InputDocument:
    """A file to read, and its path below the output folder."""

    path: Path
    below: Path
    format: str


def are_files(arguments: Sequence[str]) -> bool:
    """Return True if arguments name files or folders, False for a single text.

    Raises:
        InputError: some of several arguments do not exist, or a single one looks like a path of a missing
            file.
    """
    missing = [name for name in arguments if not exists(name)]
    if not missing:
        return bool(arguments)
    if len(arguments) > 1:
        raise InputError(f"{missing[0]}: no such file or folder (several arguments are files; quote a text)")
    refuse_missing(missing[0])
    return False


def find(arguments: Sequence[str], format: str | None) -> list[InputDocument]:
    """Return the documents that arguments name; those of a folder keep their relative paths.

    Raises:
        InputError: a file of rows, an unknown `--format`, a folder without documents, or two files for one
            output.
    """
    from llmkit.records.read import has_rows
    from llmkit.text.documents.formats import FORMATS, format_of

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
    from llmkit.text.documents.formats import FORMATS, format_of

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
        console.detail(f"{folder}: {others} files of other formats are skipped")
    return found


def targets(documents: Sequence[InputDocument], arguments: Sequence[str], output: Path) -> list[Path]:
    """Return the path of each document's translation.

    A single file goes to `output` itself if that has a suffix of a known format and is not a folder.
    """
    from llmkit.text.documents.formats import format_of

    if url_of(output) is not None:
        raise InputError(f"--output {url_of(output)}: documents go to a local folder; rows go to storage")
    alone = len(arguments) == 1 and not Path(arguments[0]).is_dir()
    if alone and not output.is_dir() and format_of(output) is not None:
        return [output]
    return [output / one.below for one in documents]


def journal_of(paths: Sequence[Path], output: Path) -> Path:
    """Return the path of the file with the segments of an unfinished run."""
    alone = list(paths) == [output]
    return output.with_name(f".{output.name}.segments.jsonl") if alone else output / ".segments.jsonl"


def read(path: Path, size: int = -1) -> bytes:
    """Return the bytes of a file, at most the first `size`.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def all_there(paths: Sequence[Path], output: Path, *, resume: bool, overwrite: bool) -> bool:
    """Return True if all translations exist and `resume` is set: then check that such a run finished them.

    Raises:
        InputError: some exist, and neither `resume` nor `overwrite` is set; or another file has the name of
            the file of segments.
    """
    from llmkit.records import finished

    journal = journal_of(paths, output)
    begun = any(journal.parent.glob(f"{glob.escape(journal.name)}*")) if journal.parent.exists() else False
    if begun and not _is_ours(journal):
        raise InputError(
            f"{journal} exists, and no run of llmkit wrote it; move it, or write the output elsewhere"
        )
    if overwrite:
        # A run that is killed while it loads its model must not leave files that look like its result.
        for path in paths:
            finished.forget(Path(os.path.realpath(path)))
    nearest = next(folder for folder in output.absolute().parents if folder.is_dir())
    check_folder(output if output.is_dir() else nearest, "output", output)
    there = [path for path in paths if path.exists()]
    if overwrite or begun or not there:
        return False
    if resume and len(there) == len(paths):
        return True
    raise InputError(f"{there[0]} exists; replace it with --overwrite, or give another --output")


def _is_ours(journal: Path) -> bool:
    """Return True if a run wrote the file of segments, or it does not exist.

    A file with a damaged column name still counts as ours: the run that reads it reports the damage, and
    `overwrite` replaces it.
    """
    if journal.is_symlink() or (journal.exists() and not journal.is_file()):
        return False
    try:
        with journal.open("rb") as file:
            line = file.readline(_LONGEST)
        return not line or sum(f'"{name}":'.encode() in line for name in ("file", "segment", "text")) > 1
    except FileNotFoundError:
        return True
    except OSError:
        return False


def check_finished(paths: Sequence[Path], header: dict[str, Any], adopt: Sequence[str]) -> None:
    """Refuse translations that no run with this header finished.

    Raises:
        InputError: names the first of them.
    """
    from llmkit.records import finished

    for path in paths:
        finished.check(Path(os.path.realpath(path)), header, adopt)


def remember(paths: Sequence[Path], contents: Sequence[bytes], journal: Path) -> None:
    """Record that the translations are finished; the record of the segments contains the options."""
    from llmkit.records import finished
    from llmkit.records.journal import Finished, head

    run = finished.recall(Path(os.path.realpath(journal)))
    if run is None:
        return
    for path, data in zip(paths, contents, strict=True):
        totals = Finished(bytes=len(data), output=hashlib.sha256(data).hexdigest())
        finished.remember(Path(os.path.realpath(path)), head(run.header, totals))


def write(path: Path, data: bytes) -> None:
    """Write a file atomically: it is complete or does not exist.

    Raises:
        LLMKitError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)
    except OSError as error:
        raise cannot_write(path, error) from error
