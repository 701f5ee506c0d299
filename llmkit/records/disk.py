"""Recognize a full or broken disk as the cause of errors of libraries that write files.

Public: `writing`, `refusal`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile

from llmkit.errors import LLMKitError

# Rust's libraries (safetensors, tokenizers) give the number of a system error only in their text.
_RUST = re.compile(r"\(os error (\d+)\)")
_HINTS = {
    errno.EFBIG: "the disk or `ulimit -f` limits the size of a file",
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some of your quota",
}
_PROBE = bytes(1 << 20)


@contextlib.contextmanager
def writing(folder: Path, output: Path, advice: str) -> Iterator[None]:
    """Turn write errors of libraries into one-line errors.

    Args:
        folder: folder that is written to, or its parent; it contains only new files.
        output: the user's name for it, for the message.
        advice: end of the message: the files that are kept, and the next step.

    Raises:
        LLMKitError: the disk refused. Other exceptions pass.
    """
    try:
        yield
    except LLMKitError:
        raise
    except Exception as error:
        reason = refusal(error, folder)
        if reason is None:
            raise
        raise LLMKitError(f"{output}: {reason}; {advice}") from error


def refusal(error: Exception, folder: Path) -> str | None:
    """Return the reason why the disk refused to write; None if the error has another cause.

    Errors of torch and numpy give neither a number nor the file, so a test file is written.

    Args:
        error: exception of a library that was writing files.
        folder: folder of those files.
    """
    if isinstance(error, OSError) and error.filename is not None:
        name = os.path.realpath(os.fsdecode(error.filename))
        if not Path(name).is_relative_to(os.path.realpath(folder)):
            return None
    number = error.errno if isinstance(error, OSError) else None
    found = _RUST.search(str(error))
    if number is None and found is not None:
        number = int(found[1])
    if number is None:
        number = _asked(folder)
    if number is None:
        return None
    hint = _HINTS.get(number)
    return os.strerror(number) + (f" ({hint})" if hint else "")


def _asked(folder: Path) -> int | None:
    """Write a temporary file that is larger than all files in the folder; return the number of the error.

    All but its last MiB is a hole, so it takes little space, but it still exceeds a limit on file size.
    """
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        sizes = [path.lstat().st_size for path in folder.rglob("*") if path.is_file()]
        with TemporaryFile(dir=folder, buffering=0) as file:
            file.seek(max(sizes, default=0))
            file.write(_PROBE)
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno
    return None
