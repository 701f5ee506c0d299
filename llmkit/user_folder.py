"""Folders of a user where llmkit keeps files for later runs.

https://specifications.freedesktop.org/basedir-spec/latest/
"""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(name: str) -> Path:
    """Return the path of a folder in the user's cache; it may not exist, and may not be writable."""
    return _folder("XDG_CACHE_HOME", ".cache", name)


def state_folder(name: str) -> Path:
    """Return the path of a folder for the state of runs; it may not exist, and may not be writable."""
    return _folder("XDG_STATE_HOME", ".local/state", name)


def _folder(variable: str, usual: str, name: str) -> Path:
    base = os.environ.get(variable, "")
    if not os.path.isabs(base):  # a relative path is not valid there
        home = os.path.expanduser("~")  # itself where the user has none, as in some containers
        base = f"{home}/{usual}" if os.path.isabs(home) else os.devnull  # no folder is made in it
    return Path(base) / "llmkit" / name
