"""Put a converted model in its place when it is whole, and not before."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llmkit.errors import OptionError
from llmkit.records.disk import writing
from llmkit.records.output_folder import refuse_foreign, replace_folder
from llmkit.text.names import check_name


@dataclass
class Unfinished:
    """Place in which a converted model is written first.

    Attributes:
        path: a file's name, or an empty folder.
        accepted: set to True, it is moved to its place; otherwise it is removed.
    """

    path: Path
    accepted: bool = False


def check_output(output: Path, *, as_file: bool, overwrite: bool) -> None:
    """Refuse a place that is taken or cannot be written; nothing is touched.

    Args:
        output: the file or folder to make.
        as_file: a file is to be made.
        overwrite: it may replace what is there.

    Raises:
        InputError: of the other kind, in the way, or not writable.
    """
    check_name("output", output.absolute())
    place = Path(os.path.realpath(output))
    if place.is_dir() and as_file:
        raise OptionError("output", f"is the folder {output}, and a file is to be made, such as model.gguf")
    if place.exists() and not place.is_dir() and not as_file:
        raise OptionError("output", f"is the file {output}, and a folder is to be made")
    taken = place.exists() if as_file else place.is_dir() and any(place.iterdir())
    if taken and not overwrite:
        raise OptionError("output", f"{output} exists; overwrite=True replaces it")
    if taken and not as_file:
        refuse_foreign(place)
    parent = next(folder for folder in place.parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise OptionError("output", f"{output} cannot be written: no permission in {parent}")


@contextmanager
def unfinished(output: Path, *, as_file: bool) -> Iterator[Unfinished]:
    """A place beside `output` to write to, moved to `output` at the end if it was accepted.

    Raises:
        LLMKitError: the disk refuses.
    """
    place = Path(os.path.realpath(output))
    nothing = "nothing was written"
    with writing(place.parent, output, nothing):
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=".llmkit-", dir=place.parent))
    try:
        work = Unfinished(beside / place.name)
        with writing(beside, output, nothing):
            if not as_file:
                work.path.mkdir()
            yield work
        if not work.accepted:
            return
        with writing(place.parent, output, nothing):
            if as_file:
                for made in sorted(beside.iterdir()):
                    made.replace(place.parent / made.name)
                return
            if place.is_dir() and any(place.iterdir()):
                refuse_foreign(place)
            replace_folder(work.path, place)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
