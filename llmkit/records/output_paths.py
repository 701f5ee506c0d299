"""An output file's place on the disk: the files beside it, what may be there already, and the lock.

Public: `OutputPaths`.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from llmkit.errors import InputError
from llmkit.records import journal

_OTHER_FORMATS = (".gz", ".csv", ".tsv", ".parquet")


class OutputPaths:
    """Where an output goes.

    A symbolic link is followed, so that the last rename does not replace the link.

    Attributes:
        final: the file.
        partial: the finished windows of an unfinished run; it carries the lock.
        journal: see `llmkit.records.journal`.
        new_journal: the next journal, until it is renamed.

    Raises:
        InputError: a file cannot be written there.
    """

    def __init__(self, path: str | Path) -> None:
        name = str(path)
        if name in ("", "-"):
            raise InputError("--output takes a file; without it, rows go to stdout")
        if name.lower().endswith(_OTHER_FORMATS):
            raise InputError(f"{name}: the output is plain JSONL; give it a name such as out.jsonl")
        self.final = Path(os.path.realpath(name))
        self.partial = self.final.with_name(self.final.name + ".partial")
        self.journal = self.final.with_name(self.final.name + ".journal")
        self.new_journal = self.final.with_name(self.final.name + ".journal.new")
        folder = self.final.parent
        try:
            if self.final.is_dir():
                raise InputError(f"{name} is a folder; name a file in it")
            if self.final.exists() and not self.final.is_file():
                # The rename at the end would replace a device or a pipe.
                raise InputError(f"{name} is not a regular file; leave --output out and redirect stdout")
            if not folder.is_dir():
                raise InputError(f"{name}: there is no folder {folder}; make it first")
        except OSError as error:
            raise InputError(f"{name}: {error.strerror}") from error
        if not os.access(folder, os.W_OK):
            raise InputError(f"{name}: no permission to write in {folder}; write the output elsewhere")

    def check(self, *, resume: bool, overwrite: bool) -> bool:
        """Whether a resumed run is finished already.

        Raises:
            InputError: what is there does not go with these flags, or another process is writing it.
        """
        if resume and overwrite:
            raise InputError("--resume goes on with a run and --overwrite starts anew: give one of them")
        if self._is_locked():
            raise self._busy()
        if resume:
            return self.final.exists() and not self.partial.exists()
        if not overwrite:
            self._refuse_existing()
        return False

    def lock(self, *, fresh: bool) -> int:
        """Open the partial file, make it if need be, and lock it: the lock ends when the process does.

        Args:
            fresh: nothing may be there.

        Returns:
            Its file descriptor.

        Raises:
            InputError: another process has it, or it cannot be opened or locked.
        """
        try:
            fd = os.open(self.partial, os.O_RDWR | os.O_CREAT | (os.O_EXCL if fresh else 0), 0o666)
        except FileExistsError:
            raise self._busy() from None
        except OSError as error:
            raise InputError(f"{self.partial}: {error.strerror}; write the output elsewhere") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between the two calls another process may have finished and given the file its last name.
            if not os.path.samestat(os.fstat(fd), os.stat(self.partial)):
                raise BlockingIOError
        except OSError as error:
            os.close(fd)
            if isinstance(error, BlockingIOError | FileNotFoundError):
                raise self._busy() from None
            raise InputError(
                f"{self.partial}: cannot be locked ({error.strerror}); write the output to a local disk"
            ) from error
        if fresh and self.final.exists():
            self.partial.unlink()
            os.close(fd)
            self._refuse_existing()
        return fd

    def sync_folder(self) -> None:
        """Make renames in the folder survive a power cut."""
        fd = os.open(self.final.parent, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _refuse_existing(self) -> None:
        # A journal beside a finished file only means that the kill came after the last rename.
        if self.partial.exists() or (self.journal.exists() and not self.final.exists()):
            raise InputError(
                f"{self.final}: an unfinished run is here: --resume goes on, --overwrite starts anew"
            )
        if self.final.exists():
            raise InputError(
                f"{self.final} exists: --overwrite replaces it, --resume goes on with an unfinished run"
            )

    def _is_locked(self) -> bool:
        try:
            fd = os.open(self.partial, os.O_RDONLY)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise InputError(f"{self.partial}: {error.strerror}; write the output elsewhere") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False  # no locks on this disk: `lock` will say so
        finally:
            os.close(fd)
        return False

    def _busy(self) -> InputError:
        try:
            who = f"another process (pid {journal.read(self.journal).pid})"
        except (OSError, InputError):
            who = "another process"
        return InputError(f"{self.final}: {who} is writing it; wait for it, or write elsewhere")
