"""Hidden folder next to the output, for a model that is being written; a later command continues in it.

`.NAME.unfinished` is next to the output NAME and contains:

    run.json          the header: everything that the result depends on
    result/           the files of the result so far
    shards.jsonl      finished parts: {"name": "model-00001-of-00002.safetensors", "bytes": 4, "sha256": ...}

A later command with the same header keeps the parts that match the hash in their line. With another header it
starts again. The folder is locked while a command works in it.

Public: `UnfinishedFolder`, `unfinished_folder`, `clear_leftover`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import llmkit
from llmkit.errors import OptionError
from llmkit.records.output_folder import replace_folder
from llmkit.whole_file import SUFFIX, write_whole

_OPENING = b'{\n  "llmkit": '  # of the mark
_MARK, _PARTS, _RESULT, _REPLACED = "run.json", "shards.jsonl", "result", "result.replaced"


@dataclass
class UnfinishedFolder:
    """The folder of a result that is being written.

    Attributes:
        place: the output, with links followed.
        folder: the hidden folder next to it.
        accepted: True keeps the result; otherwise it is removed.
    """

    place: Path
    folder: Path
    accepted: bool = False
    _whole: set[str] = field(default_factory=set)

    @property
    def continued(self) -> int:
        """Number of parts that an earlier command finished."""
        return len(self._whole)

    @property
    def result(self) -> Path:
        """The folder of the result's files."""
        return self.folder / _RESULT

    def is_whole(self, name: str) -> bool:
        """Return True if an earlier command finished this part and its bytes are unchanged."""
        return name in self._whole

    def add(self, name: str) -> None:
        """Record that a part is finished: a file in `result`."""
        path = self.result / name
        line = {"name": name, "bytes": path.stat().st_size, "sha256": _sha256(path)}
        with (self.folder / _PARTS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def replace_place(self) -> None:
        """Replace the output by the result folder in one step.

        Raises:
            OSError: the disk refuses.
        """
        self.forget_parts()
        replace_folder(self.result, self.place)

    def forget_parts(self) -> None:
        """Forget the finished parts, because `result` may now contain an older model."""
        (self.folder / _PARTS).unlink(missing_ok=True)

    def _parts(self) -> dict[str, tuple[int, str]]:
        found = {}
        with contextlib.suppress(FileNotFoundError):
            for line in (self.folder / _PARTS).read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    part = json.loads(line)
                    found[str(part["name"])] = int(part["bytes"]), str(part["sha256"])
                except (ValueError, KeyError, TypeError):
                    break  # a kill truncates only the last line
        return found

    def _begin(self, header: dict[str, Any]) -> None:
        """Keep the finished parts of an earlier command with the same header, and remove everything else."""
        if not _reads(self.folder / _MARK, header):
            _empty(self.folder, frozenset({_MARK}))  # the mark identifies the folder as llmkit's
            write_whole(self.folder / _MARK, json.dumps(header, indent=2) + "\n")
        self.result.mkdir(exist_ok=True)
        for name, (size, digest) in self._parts().items():
            file = self.result / name
            if file.is_file() and file.stat().st_size == size and _sha256(file) == digest:
                self._whole.add(name)
        _empty(self.result, frozenset(self._whole))
        for path in self.folder.iterdir():
            if path.name not in (_MARK, _PARTS, _RESULT):
                _remove(path)


@contextlib.contextmanager
def unfinished_folder(place: Path, header: dict[str, Any]) -> Iterator[UnfinishedFolder]:
    """Open the hidden folder next to an output, and remove it at the end.

    After a signal the folder stays if a part is finished, so that the next command continues.

    Args:
        place: the output, an absolute path without links.
        header: everything that the result depends on, as JSON.

    Raises:
        OptionError: another process works in the folder, or llmkit did not create it.
        OSError: it cannot be made.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    path = _beside(place)
    with _locked(path):
        work = UnfinishedFolder(place, path)
        _put_back(path, place)
        work._begin(json.loads(json.dumps({"llmkit": llmkit.__version__, **header})))
        stay = False
        try:
            yield work
        except Exception:
            raise
        except BaseException:
            stay = bool(work._parts())
            raise
        finally:
            if not stay:
                _discard(path)


def clear_leftover(place: Path) -> None:
    """Remove the hidden folder of a killed command if it has no reusable files.

    Args:
        place: the output, an absolute path without links.
    """
    path = _beside(place)
    if path.is_symlink() or not path.is_dir():
        return
    with contextlib.suppress(OSError, OptionError), _locked(path):
        _put_back(path, place)
        if not UnfinishedFolder(place, path)._parts():
            _discard(path)


def _beside(place: Path) -> Path:
    name = place.name
    if len(os.fsencode(name)) > 200:  # file systems allow 255 bytes
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return place.with_name(f".{name}{SUFFIX}")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Make the folder if needed, check that llmkit created it, and lock it."""
    with contextlib.suppress(FileExistsError):
        path.mkdir()
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except NotADirectoryError:
        raise _foreign(path) from None
    try:
        if not _lock(path, fd):
            raise OptionError("output", f"{path}: another process writes there; wait for it")
        if not _is_ours(path, fd):
            raise _foreign(path)
        yield
    finally:
        os.close(fd)


def _lock(path: Path, fd: int) -> bool:
    """Lock a folder; return False if another process has it, or removed it in between."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a disk without locks
    return path.exists() and os.path.samestat(os.fstat(fd), path.lstat())


def _is_ours(path: Path, fd: int) -> bool:
    """Return True if the user owns a folder and it contains only files that llmkit creates."""
    found = os.fstat(fd)
    if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode):
        return False
    with contextlib.suppress(OSError), (path / _MARK).open("rb") as mark:
        if mark.read(len(_OPENING)) == _OPENING:
            return True
    return all(
        entry.name in (_MARK, _PARTS, _RESULT, _REPLACED)
        or (entry.name.startswith(".llmkit-") and entry.name.endswith(SUFFIX))
        for entry in path.iterdir()
    )


def _foreign(path: Path) -> OptionError:
    return OptionError(
        "output",
        f"{path} exists, but llmkit needs this name while it writes a model, and did not create this"
        " folder; move it, or give another output",
    )


def _put_back(path: Path, place: Path) -> None:
    """Restore the name of an older model, if a kill came between the two renames that replace it."""
    older = path / _REPLACED
    if older.is_dir() and not place.exists():
        older.rename(place)


def _discard(folder: Path) -> None:
    with contextlib.suppress(OSError):
        _empty(folder, frozenset({_MARK}))
        (folder / _MARK).unlink(missing_ok=True)
        folder.rmdir()


def _reads(path: Path, header: dict[str, Any]) -> bool:
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")) == header)
    except (OSError, ValueError):
        return False


def _empty(folder: Path, keep: frozenset[str] = frozenset()) -> None:
    for path in folder.iterdir():
        if path.name not in keep:
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
