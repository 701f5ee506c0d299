"""Temporary folders that do not stay: the next command removes those of a killed process.

A folder is in $TMPDIR (`tempfile.gettempdir`) and is called `llmkit-KIND-XXXXXXXX`. It contains a file that
its process has locked. A folder whose lock is free is a leftover.

Public: `temporary_folder`, `lasting_folder`.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from llmkit.errors import LLMKitError

_LOCK = ".llmkit-lock"


@contextlib.contextmanager
def temporary_folder(kind: str) -> Iterator[Path]:
    """Make a temporary folder, and remove it when the block ends.

    Args:
        kind: part of its name.

    Raises:
        LLMKitError: there is no folder for temporary files, or its disk becomes full while the block runs.
    """
    folder, lock = _make(kind)
    try:
        yield folder
    except Exception as error:
        if _is_full(folder, error):
            raise LLMKitError(
                f"{folder.parent}: no space left for temporary files; free some, or set TMPDIR to another"
                " folder"
            ) from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _is_full(folder: Path, error: Exception) -> bool:
    """Return True if an error came from a full disk, and that of the temporary folder is full."""
    from llmkit.records.disk import full_folder, is_full

    if not is_full(error):
        return False
    name = error.filename if isinstance(error, OSError) else None
    return Path(os.fsdecode(name)).is_relative_to(folder) if name else full_folder(folder) == folder


def lasting_folder(kind: str) -> Path:
    """Make a temporary folder that stays until this process ends.

    Raises:
        LLMKitError: as `temporary_folder`.
    """
    folder, _ = _make(kind)  # the system closes the lock
    atexit.register(_remove_own, folder, os.getpid())
    return folder


def _remove_own(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # a fork has its parent's exit functions
        shutil.rmtree(folder, ignore_errors=True)


def _make(kind: str) -> tuple[Path, int]:
    """Make a folder; return it with the descriptor of its locked file."""
    where = os.environ.get("TMPDIR") or "/tmp"
    try:
        where = tempfile.gettempdir()
        _clear(Path(where))
        while True:
            folder = Path(tempfile.mkdtemp(prefix=f"llmkit-{kind}-"))
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            with contextlib.suppress(OSError):  # some disks have no locks
                fcntl.flock(lock, fcntl.LOCK_EX)
            # Between the two calls another process may have taken the folder for a leftover.
            if os.fstat(lock).st_nlink:
                return folder, lock
            os.close(lock)
    except OSError as error:
        raise LLMKitError(
            f"no temporary folder can be made in {where}: {error.strerror or error}; free some space there,"
            " or set TMPDIR to another folder"
        ) from error


def _clear(where: Path) -> None:
    """Remove what killed processes left: folders of this user whose lock is free."""
    for folder in where.glob("llmkit-*"):
        with contextlib.suppress(OSError):
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                continue
            lock = os.open(folder / _LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
