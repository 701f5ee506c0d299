"""Permissions that a recipe file cannot give: it may come from another person."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmkit.errors import OptionError

# Options that a file must not set, and the reasons. A kernel may be a file or a repository.
_PERMISSIONS = {
    "trust_remote_code": "runs code",
    "overwrite": "removes files",
    "push_to_hub": "uploads the result",
}
_KERNELS = ("attn", "linear")


def refuse_permissions(file: Path, found: Mapping[str, Any]) -> None:
    """Refuse values with which an untrusted file would run code, remove files or upload.

    Raises:
        OptionError: such a value must be on the command line.
    """
    for name, value in found.items():
        harmful = name in _PERMISSIONS or (name in _KERNELS and ("/" in str(value) or ".py" in str(value)))
        if harmful and value:
            raise OptionError(
                "config",
                f"{file}: {name}: {value}: {_PERMISSIONS.get(name, 'runs code')}, and a recipe may come"
                f" from another person; give `{name}` on the command line",
            )
