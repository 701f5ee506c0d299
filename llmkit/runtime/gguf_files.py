"""Find the GGUF file of a folder.

Public: `one_gguf`.
"""

from __future__ import annotations

from pathlib import Path

from llmkit.errors import InputError


def one_gguf(folder: Path) -> Path | None:
    """Return the GGUF file of a folder that has no other model; None if it has none.

    Raises:
        InputError: the folder has several.
    """
    files = sorted(folder.glob("*.gguf"))
    if not files or list(folder.glob("*.safetensors")) or (folder / "adapter_config.json").is_file():
        return None
    firsts = [file for file in files if "-of-" not in file.name or "-00001-of-" in file.name]
    if len(firsts) != 1:
        names = ", ".join(file.name for file in firsts[:6])
        raise InputError(f"{folder} holds several GGUF files; name one of them: {names}")
    return firsts[0]
