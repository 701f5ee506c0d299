"""Choose a GGUF file of a folder or of a repository.

Public: `one_gguf`, `split_name`, `choose_gguf`, `shards_of`, `gguf_files`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from llmkit.errors import InputError

_SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf")
_SHOWN = 8


def one_gguf(folder: Path, name: str | None = None) -> Path | None:
    """Return the GGUF file of a folder that has no other model; None if it has none.

    Args:
        folder: the folder.
        name: the user's name for it, for messages; None for its path.

    Raises:
        InputError: the folder has several.
    """
    files = [path.name for path in folder.glob("*.gguf") if path.is_file()]
    if not files or list(folder.glob("*.safetensors")) or (folder / "adapter_config.json").is_file():
        return None
    return folder / choose_gguf(files, None, name or str(folder))


def split_name(name: str) -> tuple[str, str] | None:
    """Return model and GGUF file of ``MODEL:FILE`` or ``MODEL:TYPE``; None for a name without a file."""
    model, colon, variant = name.rpartition(":")
    return (model, variant) if colon and model and variant and not variant.startswith("//") else None


def gguf_files(folder: Path) -> list[str]:
    """Return the GGUF files of a folder and of the folders in it, as paths inside it."""
    found = [*folder.glob("*.gguf"), *folder.glob("*/*.gguf")]
    return sorted(path.relative_to(folder).as_posix() for path in found if path.is_file())


def choose_gguf(files: Iterable[str], variant: str | None, name: str) -> str:
    """Return the GGUF file that a name means, its first one if it comes in shards.

    Args:
        files: paths inside the folder or repository; those of other kinds are passed over.
        variant: a file's path or name, or a type that a file's name ends with, such as ``Q4_K_M``; None for
            the only file.
        name: the folder or repository, for messages.

    Raises:
        InputError: there is none, or there are several.
    """
    firsts = [file for file in sorted(files) if file.endswith(".gguf") and _is_first(file)]
    # A vision encoder and calibration data are no language models.
    models = [file for file in firsts if not re.match(r"mmproj|.*imatrix", PurePosixPath(file).name)]
    found = models if variant is None else _matching(firsts, models, variant)
    if len(found) == 1:
        return found[0]
    if not firsts:
        raise InputError(f"{name} contains no GGUF file")
    shown = ", ".join((found or models)[:_SHOWN]) + (", ..." if len(found or models) > _SHOWN else "")
    if not found:
        raise InputError(f"{name} contains no GGUF file {variant}; there is {shown}")
    several = f"GGUF files of the type {variant}" if variant else "GGUF files"
    raise InputError(f"{name} contains several {several}; give one of them, as {name}:FILE: {shown}")


def shards_of(file: str, files: Iterable[str]) -> list[str]:
    """Return a file's shards among `files`; the file itself if it is whole."""
    match = _SHARD.fullmatch(file)
    if match is None:
        return [file]
    own = re.compile(re.escape(match[1]) + r"-\d{5}-of-" + match[3] + r"\.gguf")
    return sorted(other for other in files if own.fullmatch(other))


def _is_first(file: str) -> bool:
    match = _SHARD.fullmatch(file)
    return match is None or int(match[2]) == 1


def _matching(firsts: list[str], models: list[str], variant: str) -> list[str]:
    exact = [file for file in firsts if variant in (file, PurePosixPath(file).name)]
    if exact or variant.endswith(".gguf"):
        return exact
    kind = re.compile(r"(?:^|[-._ ])" + re.escape(variant) + r"(?=$|[-.])", re.IGNORECASE)
    by_name = [file for file in models if kind.search(_stem(file))]
    return by_name or [file for file in models if kind.search(PurePosixPath(file).parent.name)]


def _stem(file: str) -> str:
    match = _SHARD.fullmatch(file)
    return PurePosixPath(match[1] if match else file.removesuffix(".gguf")).name
