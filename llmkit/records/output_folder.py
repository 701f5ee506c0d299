"""Model folders that a verb makes: refuse other files, lock the folder, replace it in one step.

Public: `foreign_files`, `refuse_foreign`, `replace_folder`, `locked`, `MODEL_FILES`.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from llmkit.errors import OptionError

# Names of files in a model folder, as written by transformers, tokenizers and CTranslate2.
MODEL_FILES = (
    *("config.json", "generation_config.json", "model.safetensors", "model.safetensors.index.json"),
    *("model-*-of-*.safetensors", "model.bin", "README.md", "proof.json", "chat_template.jinja"),
    "llmkit_embeddings.safetensors",
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "vocab.txt", "vocab-src.json", "vocab-tgt.json", "merges.txt", "target_vocab.json"),
    *("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "spm_char.model", "sentencepiece.model"),
    *("source.spm", "target.spm", "bpe.codes", "dict.txt", "normalizer.json", "prophetnet.tokenizer"),
    *("vocabulary.json", "vocabulary.txt", "*_vocabulary.json", "*_vocabulary.txt"),
    *("preprocessor_config.json", "processor_config.json", "additional_chat_templates"),
    *("modeling_*.py", "configuration_*.py", "tokenization_*.py"),
)
# A folder without any of these is not the folder of a model, and its README.md is the user's own.
_MARKS = ("config.json", "adapter_config.json", "metrics.jsonl", "checkpoints", "unfinished-corpus")
_FOLDERS = ("checkpoints", "additional_chat_templates", "unfinished-corpus")
_EXCHANGE = 2
_AT_FDCWD = -100


def foreign_files(folder: Path, known: Sequence[str] = MODEL_FILES) -> list[str]:
    """Return the sorted names in a folder that are not files of a model; all names if it has no model.

    Args:
        folder: an existing folder.
        known: names that may be removed, as patterns.
    """
    entries = sorted(folder.iterdir())
    if not any((folder / mark).exists() for mark in _MARKS):
        return [entry.name for entry in entries]

    def is_known(entry: Path) -> bool:
        if entry.name == "onnx" and entry.is_dir() and not entry.is_symlink():
            return all(fnmatchcase(one.name, "*.onnx*") and one.is_file() for one in entry.iterdir())
        if entry.is_dir() and (entry.is_symlink() or entry.name not in _FOLDERS):
            return False
        return any(fnmatchcase(entry.name, pattern) for pattern in known)

    return [entry.name for entry in entries if not is_known(entry)]


def refuse_foreign(folder: Path, known: Sequence[str] = MODEL_FILES) -> None:
    """Raise an error if a folder to replace has files that do not belong to a model.

    Raises:
        OptionError: there are such files; the error names the first.
    """
    found = foreign_files(folder, known)
    if found:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        raise OptionError(
            "output",
            f"{folder}: contains {found[0]!r}{more}, which no model has and overwriting would remove; name"
            " another folder, or move the files",
        )


def replace_folder(new: Path, place: Path) -> None:
    """Rename a folder; an existing folder of that name is replaced in one step.

    Afterwards the replaced folder has the name `new`, and the caller removes it.

    Args:
        new: the finished folder, on the same disk.
        place: new path of the folder.

    Raises:
        OSError: the disk refuses.
    """
    if not place.exists():
        new.replace(place)
    elif not _exchange(new, place):
        # A kill between these renames leaves both folders, next to the place.
        old = new.with_name(new.name + ".replaced")
        place.replace(old)
        try:
            new.replace(place)
        except OSError:
            old.replace(place)
            raise
        old.replace(new)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder against other runs, and make it if needed; remove it again if it stays empty.

    The lock is on the folder itself and ends with the last process that holds it. Some network disks have no
    locks; there the folder is not locked.

    Args:
        folder: the output folder.

    Raises:
        OptionError: another process works in it.
        OSError: it cannot be made or opened.
    """
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OptionError(
                "output", f"{folder}: another process works in it; wait for it, or give another folder"
            ) from None
        except OSError:
            pass
        yield
    finally:
        with contextlib.suppress(OSError):
            for one in made:
                one.rmdir()
        os.close(fd)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names (Linux's renameat2); return False if the system or the disk does not support it."""
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:
        return False
    names = os.fsencode(one), os.fsencode(other)
    done: int = rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], ctypes.c_uint(_EXCHANGE))
    return done == 0
