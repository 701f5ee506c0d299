"""Set the permissions of a model's files by the user's umask."""

from __future__ import annotations

from pathlib import Path


def use_umask(folder: Path) -> None:
    """Give all files below a folder the permissions of a new file.

    safetensors makes files that only their owner can read, but a model is not a secret.
    """
    sample = folder / ".permissions"
    # Read the permissions from a new file: a call of `os.umask` would change the umask of all threads for a
    # moment.
    sample.touch()
    mode = sample.stat().st_mode & 0o777
    sample.unlink()
    for file in folder.rglob("*"):
        if file.is_file():
            file.chmod(mode)
