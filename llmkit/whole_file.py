"""Write a file atomically: it is complete or does not exist, and no other file changes.

The text goes into a new file with a random name in the same folder, which is then renamed. A killed process
leaves this file; the next write of the same file removes it.

Public: `whole_file`, `write_whole`, `SUFFIX`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

SUFFIX = ".unfinished"


def write_whole(path: Path, data: str | bytes) -> None:
    """Write a file; after a kill either the old or the new content is there.

    Args:
        path: the file; a symbolic link is followed.
        data: bytes, or text for UTF-8 in which lone surrogates become question marks.

    Raises:
        OSError: it cannot be written; its `filename` is `path`.
    """
    with whole_file(path) as file:
        file.write(data.encode("utf-8", errors="replace") if isinstance(data, str) else data)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a new file that takes the name `path` when the block ends, and vanishes if it fails.

    An existing file keeps its permissions. Links in place of the new file are not followed.

    Raises:
        OSError: it cannot be written; its `filename` is `path`.
    """
    final = Path(os.path.realpath(path))
    with _named(path):
        _clear(final)
        unfinished, file = _create(final)
    try:
        with _named(path), file:
            yield file
            file.flush()
            with contextlib.suppress(FileNotFoundError):
                os.fchmod(file.fileno(), stat.S_IMODE(os.stat(final).st_mode))
            os.fsync(file.fileno())
            # Renamed under its lock, so that no other process takes it for a leftover.
            os.replace(unfinished, final)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(unfinished)
        raise


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Put the file's name into errors without a name, or with that of the new file beside it."""
    try:
        yield
    except OSError as error:
        if error.filename is None or str(error.filename).endswith(SUFFIX):
            error.filename, error.filename2 = str(path), None
        raise


def _prefix(final: Path) -> str:
    """Return the beginning of the new files' names: short, whatever the file's name is."""
    return f".llmkit-{hashlib.sha256(os.fsencode(final.name)).hexdigest()[:12]}-"


def _create(final: Path) -> tuple[Path, IO[Any]]:
    while True:
        path = final.with_name(f"{_prefix(final)}{secrets.token_hex(4)}{SUFFIX}")
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        # Between the two calls another process may take the file for a leftover. Some disks have no locks.
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_nlink:
            return path, os.fdopen(fd, "w+b")
        os.close(fd)


def _clear(final: Path) -> None:
    """Remove what killed processes left of this file: files of ours that nobody has locked."""
    for path in final.parent.glob(f"{_prefix(final)}????????{SUFFIX}"):
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                found = os.fstat(fd)
                if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid():
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(path)
            finally:
                os.close(fd)
