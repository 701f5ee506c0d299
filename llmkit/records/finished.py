"""Proofs that output files are finished: header, size and hash of each, kept in the user's state folder.

A finished file has nothing beside it, so an earlier file of the same name looks the same. The proof, written
when a run ends, shows which run wrote the file. It lies in `$XDG_STATE_HOME/llmkit/finished`.

Public: `remember`, `recall`, `forget`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from llmkit.errors import InputError
from llmkit.records import journal
from llmkit.records.journal import Journal

_MOST = 1000


def remember(final: Path, content: bytes) -> None:
    """Keep the proof of a finished file.

    Nothing is kept where the folder cannot be written; `resume` then refuses the file.

    Args:
        final: the finished file, without symbolic links.
        content: first lines of its journal (`journal.head`).
    """
    path = _path(final)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        _prune(path.parent)


def recall(final: Path) -> Journal | None:
    """Return the proof of a file; None if there is none, or if it is damaged."""
    try:
        return journal.read(_path(final))
    except (OSError, InputError):
        return None


def forget(final: Path) -> None:
    """Remove the proof of a file."""
    with contextlib.suppress(OSError):
        _path(final).unlink(missing_ok=True)


def sha256(path: Path, size: int) -> str | None:
    """Return the SHA-256 of a file, or None if it does not have exactly `size` bytes."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size != size:
            return None
        return hashlib.file_digest(file, "sha256").hexdigest()


def _path(final: Path) -> Path:
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "llmkit" / "finished" / hashlib.sha256(os.fsencode(final)).hexdigest()


def _prune(folder: Path) -> None:
    """Keep the newest proofs only."""
    found = list(folder.iterdir())
    if len(found) > _MOST:
        found.sort(key=lambda path: path.stat().st_mtime)
        for path in found[: len(found) - _MOST]:
            path.unlink(missing_ok=True)
