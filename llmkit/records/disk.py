"""Recognize a full or broken disk as the cause of errors of libraries that write files.

Public: `writing`, `cannot_write`, `check_folder`, `refusal`, `reason`, `is_refusal`, `is_full`,
`full_folder`, `system_error`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from llmkit.errors import InputError, LLMKitError, OptionError

# Rust's libraries (safetensors, tokenizers) give the number of a system error only in their text.
_RUST = re.compile(r"\(os error (\d+)\)")
# Errors of writers that give no number: torch (a size that differs at the end of the file, a failed write, a
# C++ stream), and numpy's `tofile`.
_FAILED_WRITE = re.compile(
    r"inline_container\.cc.*unexpected pos|PytorchStreamWriter failed|iostream error"
    r"|\d+ requested and \d+ written",
    re.DOTALL,
)
_HINTS = {
    errno.EFBIG: "the disk or `ulimit -f` limits the size of a file",
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some of your quota",
}
# Errors that say in themselves that a disk does not take more.
_REFUSALS = {*_HINTS, errno.EROFS, errno.EIO}
_PROBE = bytes(1 << 20)
_MOMENT = (
    "a file could not be written completely, and now the disk has space (it was full for a moment, or it"
    " has a fault)"
)


@contextlib.contextmanager
def writing(folder: Path, output: Path, advice: str) -> Iterator[None]:
    """Turn write errors of libraries into one-line errors.

    Args:
        folder: folder that is written to, or its parent; it contains only new files.
        output: the user's name for it, for the message.
        advice: end of the message: the files that are kept, and the next step.

    Raises:
        LLMKitError: the disk refused, or that of temporary files. Other exceptions pass.
    """
    try:
        yield
    except LLMKitError:
        raise
    except Exception as error:
        reason = refusal(error, folder)
        if reason is None:
            raise
        raise LLMKitError(f"{_place(error, folder, output)}: {reason}; {advice}") from error


def refusal(error: Exception, folder: Path) -> str | None:
    """Return the reason why the disk refused to write; None if the error has another cause.

    Errors of torch and numpy give neither a number nor the file, so a test file is written.

    Args:
        error: exception of a library that was writing files.
        folder: folder of those files.
    """
    number = system_error(error)
    if isinstance(error, OSError) and error.filename is not None and not _is_below(error.filename, folder):
        return reason(number) if number in _REFUSALS else None
    if number is None:
        number = _asked(folder)
    if number is None:
        return _MOMENT if _failed_write(error) else None
    return reason(number)


def cannot_write(path: object, error: OSError, *, option: str | None = None, advice: str = "") -> LLMKitError:
    """Return the error for a file or folder that the system refused to write.

    Args:
        path: its name for the message.
        error: error of the system.
        option: Python name of the option that named it.
        advice: end of the message: the next step.

    Returns:
        An `InputError`, because another path may help; on a full disk an error of the run.
    """
    why = reason(error.errno) if error.errno is not None else str(error)
    text = f"{path}: cannot write there: {why}" + (f"; {advice}" if advice else "")
    if is_full(error):
        return LLMKitError(text)
    return InputError(text) if option is None else OptionError(option, text)


def reason(number: int) -> str:
    """Return the text of an error number, with the next step where there is one."""
    hint = _HINTS.get(number)
    return os.strerror(number) + (f" ({hint})" if hint else "")


def check_folder(folder: Path, option: str, name: object) -> None:
    """Refuse a folder that cannot be written.

    Args:
        folder: an existing folder.
        option: Python name of the option that named it.
        name: name of the output for the message.

    Raises:
        OptionError: there is no permission, or its disk is mounted read-only.
    """
    if os.access(folder, os.W_OK):
        return
    why = f"no permission to write in {folder}"
    if hasattr(os, "ST_RDONLY") and os.statvfs(folder).f_flag & os.ST_RDONLY:
        why = f"{folder} is on a read-only file system"
    raise OptionError(option, f"{name}: {why}; write elsewhere")


def is_full(error: BaseException) -> bool:
    """Return True if an error says in itself that there is no space, or that a limit of size is reached."""
    return system_error(error) in _HINTS


def is_refusal(error: BaseException) -> bool:
    """Return True if an error says in itself that a disk did not take the bytes."""
    return system_error(error) in _REFUSALS or _failed_write(error)


def full_folder(*folders: str | Path) -> Path | None:
    """Return the first of some folders, and of that for temporary files, whose disk takes no file."""
    for folder in (*map(Path, folders), _temporary()):
        if _asked(folder, beyond=False) is not None:
            return folder
    return None


def system_error(error: BaseException) -> int | None:
    """Return the number of a system error: its own, that in a library's text, or that of its cause."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    text = str(error)
    found = _RUST.search(text)
    if found is not None:
        return int(found[1])
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):  # C++ libraries, as torch, quote the text
        if os.strerror(number) in text:
            return number
    # A library can fail again while it closes the file of a failed write; only the first error has a number.
    for earlier in _earlier(error):
        if isinstance(earlier, OSError) and earlier.errno in _REFUSALS:
            return earlier.errno
    return None


def _failed_write(error: BaseException) -> bool:
    return any(_FAILED_WRITE.search(str(one)) for one in (error, *_earlier(error)))


def _earlier(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors that an error came from, at most 8."""
    for _ in range(8):
        before = error.__cause__ or error.__context__
        if before is None:
            return
        yield before
        error = before


def _is_below(name: str | bytes | int, folder: Path) -> bool:
    if isinstance(name, int):  # of a descriptor
        return True
    return Path(os.path.realpath(os.fsdecode(name))).is_relative_to(os.path.realpath(folder))


def _place(error: Exception, folder: Path, output: Path) -> str | Path:
    """Return the name for a message: the output, or the file or folder elsewhere that was refused."""
    name = error.filename if isinstance(error, OSError) else None
    if name is not None:
        return output if _is_below(name, folder) else os.fsdecode(name)
    # Libraries write temporary files too, and the error names no file.
    elsewhere = _temporary()
    if _asked(folder, beyond=False) is None and _asked(elsewhere, beyond=False) is not None:
        return elsewhere
    return output


def _temporary() -> Path:
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:  # no folder for temporary files can be written
        return Path(os.environ.get("TMPDIR") or "/tmp")


def _asked(folder: Path, *, beyond: bool = True) -> int | None:
    """Write a temporary file; return the number of the error.

    Args:
        folder: folder for it, or for its nearest parent.
        beyond: make it larger than all files in the folder. All but its last MiB is a hole, so it takes
            little space, but it still exceeds a limit on file size.
    """
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        sizes = [path.lstat().st_size for path in folder.rglob("*") if path.is_file()] if beyond else []
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            file.seek(max(sizes, default=0))
            file.write(_PROBE)
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno
    return None
