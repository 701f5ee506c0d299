"""Give files that training leaves the permissions that the user's umask gives."""

from __future__ import annotations

from pathlib import Path


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
