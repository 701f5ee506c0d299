"""Compare files of the Hub cache with the hashes that the Hub gave for them.

The cache keeps a file under its hash: the SHA-256 of a large file (64 digits), or git's SHA-1 of a small one
(40 digits), which is that of ``blob SIZE`` and a zero byte, followed by the file.

Public: `check_file`, `check_folder`, `FileCheck`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class FileCheck:
    """Result for one file.

    Attributes:
        file: its path inside the repository.
        bytes: its size.
        ok: True if its hash is the right one; None if none is known.
        note: what is wrong or not known.
    """

    file: str
    bytes: int
    ok: bool | None
    note: str = ""


def check_folder(
    folder: Path, *, progress: Callable[[int], object] = lambda done: None
) -> Iterator[FileCheck]:
    """Check all files of a snapshot in the Hub cache.

    Args:
        folder: the snapshot's folder.
        progress: called with the bytes that were read so far, over all files.
    """
    done = 0
    for path in sorted(folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        result = check_file(folder, path.relative_to(folder).as_posix(), progress=_after(done, progress))
        done += result.bytes
        yield result


def _after(done: int, progress: Callable[[int], object]) -> Callable[[int], object]:
    """Return `progress`, counting from `done` on."""
    return lambda more: progress(done + more)


def check_file(
    folder: Path,
    file: str,
    *,
    expected: str | None = None,
    progress: Callable[[int], object] = lambda done: None,
) -> FileCheck:
    """Check one file of a snapshot in the Hub cache.

    Args:
        folder: the snapshot's folder.
        file: the file's path in it.
        expected: its hash; None takes the one under which the cache keeps it.
        progress: called with the bytes that were read so far.
    """
    path = folder / file
    try:
        size = path.stat().st_size
        expected = expected or _expected(folder, file)
        if expected is None:
            return FileCheck(file, size, None, "no hash is known")
        found = _hash(path, size, len(expected), progress)
    except OSError as error:
        return FileCheck(file, 0, False, f"cannot be read: {error.strerror or error}")
    note = "" if found == expected else f"its hash is {found[:12]}..., not {expected[:12]}..."
    return FileCheck(file, size, found == expected, note)


def _expected(folder: Path, file: str) -> str | None:
    """Return the hash in the name of the blob that a snapshot's link points to."""
    path = folder / file
    name = os.path.basename(os.readlink(path)) if path.is_symlink() else ""
    return name if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", name) else None


def _hash(path: Path, size: int, digits: int, progress: Callable[[int], object]) -> str:
    if digits == 64:
        digest = hashlib.sha256()
    else:
        digest = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    done = 0
    with path.open("rb") as stream:
        while block := stream.read(_AT_ONCE):
            digest.update(block)
            done += len(block)
            progress(done)
    return digest.hexdigest()
