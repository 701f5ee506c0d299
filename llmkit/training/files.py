"""Files that training leaves: written whole, with the permissions that the user's umask gives.

Public: `write_whole`, `use_umask`.
"""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(file: Path, text: str) -> None:
    """Write a file so that after a kill either the old or the new one is there.

    Raises:
        OSError: it cannot be written.
    """
    unfinished = file.with_name(f".{file.name}.unfinished")
    try:
        with unfinished.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(file)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def use_umask(folder: Path) -> None:
    """Give all files below a folder the permissions of a new file.

    safetensors makes files that only their owner can read; a model is not a secret.
    """
    sample = folder / ".permissions"
    # The permissions of a new file: `os.umask` would change those of other threads for a moment.
    sample.touch()
    mode = sample.stat().st_mode & 0o777
    sample.unlink()
    for file in folder.rglob("*"):
        if file.is_file():
            file.chmod(mode)
