"""Move a converted model to its output path only when it is complete."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmkit.errors import OptionError
from llmkit.records.disk import check_folder, writing
from llmkit.records.output_folder import refuse_foreign
from llmkit.records.unfinished.folder import UnfinishedFolder, clear_leftover, unfinished_folder
from llmkit.text.names import check_name

# Suffix of the proof next to a converted file.
PROOF_SUFFIX = ".proof.json"
_MOST = 1 << 20


@dataclass
class Unfinished:
    """Temporary path of a converted model.

    Attributes:
        path: path of a file, or a folder, which is empty or contains parts that an earlier command finished.
        parts: those parts.
        accepted: True moves it to the output path; otherwise it is removed.
    """

    path: Path
    parts: UnfinishedFolder
    accepted: bool = False


def check_output(output: Path, *, as_file: bool, overwrite: bool) -> None:
    """Raise an error if the output exists or cannot be written; remove only the files of a killed command.

    Args:
        output: the file or folder to make.
        as_file: the output is a file, with a proof next to it.
        overwrite: an existing output may be replaced.

    Raises:
        InputError: it is of the other kind, it exists, or it cannot be written.
    """
    check_name("output", output.absolute())
    place = Path(os.path.realpath(output))
    if place.is_symlink():
        raise OptionError("output", f"{output}: a link that points to itself")
    if place.is_dir() and as_file:
        raise OptionError(
            "output", f"is the folder {output}, and the output must be a file, such as model.gguf"
        )
    if place.exists() and not place.is_dir() and not as_file:
        raise OptionError("output", f"is the file {output}, and the output must be a folder")
    if place.exists() and as_file and not place.is_file():
        raise OptionError("output", f"{output} is not a regular file")
    if place.is_mount():
        raise OptionError(
            "output", f"{output}: it is a mount point and cannot be replaced; give a folder inside it"
        )
    parent = next(folder for folder in place.parents if folder.exists())
    if not parent.is_dir():
        raise OptionError("output", f"{output} cannot be written: {parent} is not a folder")
    check_folder(parent, "output", output)
    clear_leftover(place)
    taken = place.exists() if as_file else place.is_dir() and any(place.iterdir())
    if taken and not overwrite:
        raise OptionError("output", f"{output} exists; overwrite=True replaces it")
    if as_file:
        _refuse_other_proof(place)
    elif taken:
        refuse_foreign(place)


def proof_of(file: Path) -> Path:
    """Return the path of the proof next to a converted file."""
    return file.with_name(file.name + PROOF_SUFFIX)


@contextmanager
def unfinished(output: Path, header: dict[str, Any], *, as_file: bool) -> Iterator[Unfinished]:
    """A temporary path next to `output`; it is renamed to `output` at the end if the check passed.

    A killed command's parts are kept for the next one with the same header (see `records.unfinished`).

    Args:
        output: the file or folder to make.
        header: everything that the result depends on, as JSON.
        as_file: the output is a file.

    Raises:
        LLMKitError: the disk refuses to write.
        InputError: another process is writing there.
    """
    place = Path(os.path.realpath(output))
    nothing = "nothing was written"
    with (
        writing(place.parent, output, nothing),
        unfinished_folder(place, header) as folder,
        writing(folder.folder, output, nothing),  # while the folder exists: it shows the limit
    ):
        path = folder.result / place.name if as_file else folder.result
        work = Unfinished(path, folder)
        yield work
        if work.accepted and as_file:
            _move_file(work, place)
        elif work.accepted:
            if place.is_dir() and any(place.iterdir()):
                refuse_foreign(place)
            folder.replace_place()


def _move_file(work: Unfinished, place: Path) -> None:
    """Move a file and its proof; at no moment is a proof next to another file."""
    _refuse_other_proof(place)
    work.parts.forget_parts()
    proof_of(place).unlink(missing_ok=True)
    work.path.replace(place)
    proof_of(work.path).replace(proof_of(place))


def _refuse_other_proof(file: Path) -> None:
    """Refuse to replace a file with the proof's name that is not a proof.

    Raises:
        OptionError: there is such a file.
    """
    path = proof_of(file)
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()) or path.stat().st_size > _MOST:
            raise ValueError
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or not {"llmkit", "checks", "bound"} <= found.keys():
            raise ValueError
    except FileNotFoundError:
        return
    except (OSError, ValueError):
        raise OptionError(
            "output", f"{path} exists, and it is not a proof of a conversion; move it, or give another output"
        ) from None
