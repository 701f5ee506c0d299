"""The bias sets by name, and the files of one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llmkit.errors import InputError, OptionError, did_you_mean
from llmkit.insight.bias.sets.base import BiasSet
from llmkit.insight.bias.sets.bbq import BBQ
from llmkit.insight.bias.sets.crows_pairs import CROWS_PAIRS
from llmkit.insight.bias.sets.own import OWN
from llmkit.insight.bias.sets.stereoset import STEREOSET
from llmkit.insight.bias.sets.winobias import WINOBIAS
from llmkit.insight.bias.sets.winogender import WINOGENDER

SETS = {one.name: one for one in (CROWS_PAIRS, STEREOSET, WINOBIAS, WINOGENDER, BBQ)}


def find_set(name: str, files: Sequence[str | Path]) -> tuple[BiasSet, list[Path]]:
    """Return the set of a name with its files; a name that is a file is the user's own set.

    Raises:
        OptionError: there is no such set.
        InputError: the set was given no file, or one that does not exist.
    """
    paths = [Path(file) for file in files]
    if name in SETS:
        found = SETS[name]
        if not paths:
            raise InputError(f"{found.title} is not in the package: give its files ({found.files})")
    elif Path(name).exists():
        found, paths = OWN, [Path(name), *paths]
    else:
        hint = did_you_mean(name, SETS)
        raise OptionError("set", f"must be one of {', '.join(SETS)}, or a file of rows, not {name!r}{hint}")
    for path in paths:
        if path.is_dir() or not path.exists():
            raise InputError(f"{path}: {'a folder' if path.is_dir() else 'no such file'}; give {found.files}")
    return found, paths
