"""Records of finished output files: header, size and hash of each, in the user's state folder.

A finished file has no journal next to it, so any file of this name looks finished. The record, written at the
end of a run, identifies the run that wrote the file. It is in `$XDG_STATE_HOME/llmkit/finished`.

Public: `remember`, `recall`, `check`, `forget`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

from llmkit.errors import InputError, NoticeWarning
from llmkit.records import journal
from llmkit.records.disk import is_full
from llmkit.records.journal import Journal
from llmkit.user_folder import state_folder

_MOST = 1000


def remember(final: Path, content: bytes) -> None:
    """Write the record of a finished file.

    If the folder cannot be written, there is no record, and `resume` refuses the file. A full disk gives a
    notice.

    Args:
        final: the finished file, without symbolic links.
        content: first lines of its journal (`journal.head`).
    """
    path = _path(final)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        _prune(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        if is_full(error):
            lost = f"{path.parent}: {error.strerror}: no record of {final} is kept, so resume=True refuses it"
            warnings.warn(lost, NoticeWarning, stacklevel=2)


def recall(final: Path) -> Journal | None:
    """Return the record of a file; None if there is none, or if it is damaged."""
    try:
        return journal.read(_path(final))
    except (OSError, InputError):
        return None


def check(final: Path, header: dict[str, Any], adopt: Collection[str] = ()) -> None:
    """Refuse a file unless a run with these options and this input finished it.

    Args:
        final: the file, without symbolic links.
        header: the run's header.
        adopt: keys of the header that are not compared.

    Raises:
        InputError: with the reason.
    """
    again = "overwrite=True replaces it"
    found = recall(final)
    if found is None:
        raise InputError(f"{final} exists without a record of a finished run; {again}")
    if sha256(final, found.finished.bytes) != found.finished.output:
        raise InputError(f"{final} has changed since a run finished it; {again}")
    compared = json.loads(json.dumps(header)) | {key: found.header.get(key) for key in adopt if key in header}
    if found.header.get("input") != compared.get("input"):
        raise InputError(f"{final}: the input differs from that of the earlier run; {again}")
    different = journal.difference(found.header, compared)
    if different is not None:
        raise InputError(f"{final} is the result of another run: {different}; give the same, or {again}")


def forget(final: Path) -> None:
    """Remove the record of a file."""
    with contextlib.suppress(OSError):
        _path(final).unlink(missing_ok=True)


def sha256(path: Path, size: int) -> str | None:
    """Return the SHA-256 of a file, or None if it does not have exactly `size` bytes."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size != size:
            return None
        return hashlib.file_digest(file, "sha256").hexdigest()


def _path(final: Path) -> Path:
    return state_folder("finished") / hashlib.sha256(os.fsencode(final)).hexdigest()


def _prune(folder: Path) -> None:
    """Keep only the newest records."""
    found = list(folder.iterdir())
    if len(found) > _MOST:
        found.sort(key=lambda path: path.stat().st_mtime)
        for path in found[: len(found) - _MOST]:
            path.unlink(missing_ok=True)
