"""Paths of an output file and its companion files, checks of existing files, and the lock.

Public: `OutputPaths`.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
from pathlib import Path

from llmkit.errors import InputError, LLMKitError, OptionError
from llmkit.records import finished, journal
from llmkit.records.convert_rows import CONVERTERS
from llmkit.records.disk import cannot_write, check_folder
from llmkit.records.journal import Journal

_OTHER_FORMATS = (".gz", ".tsv")


class OutputPaths:
    """Paths of one output.

    Symbolic links are resolved, so that the last rename does not replace the link.

    Attributes:
        final: the file.
        partial: the finished windows of an unfinished run; the lock is on this file.
        journal: see `llmkit.records.journal`.
        new_journal: the next journal, until it is renamed.
        convert: function that makes the file from the finished partial file, which is JSONL; None for JSONL.
        converted: the new file, until it is renamed.

    Raises:
        OptionError: a file cannot be written there.
    """

    def __init__(self, path: str | Path) -> None:
        name = str(path)
        if name in ("", "-"):
            raise OptionError("output", "must name a file; without it, rows go to stdout")
        if name.lower().endswith(_OTHER_FORMATS):
            raise OptionError(
                "output",
                f"{name}: a result is JSONL, CSV or Parquet; use a name such as out.jsonl or out.csv",
            )
        self.final = Path(os.path.realpath(name))
        suffix = Path(name).suffix.lower()
        self.convert = CONVERTERS.get(suffix)
        self.converted = self.final.with_name(self.final.name + ".converted")
        self.partial = self.final.with_name(self.final.name + ".partial")
        self.journal = self.final.with_name(self.final.name + ".journal")
        self.new_journal = self.final.with_name(self.final.name + ".journal.new")
        folder = self.final.parent
        try:
            if self.final.is_dir():
                raise OptionError("output", f"{name} is a folder; give a file in it")
            if self.final.exists() and not self.final.is_file():
                # The rename at the end would replace a device or a pipe.
                raise OptionError("output", f"{name} is not a regular file; omit it and redirect stdout")
            if not folder.is_dir():
                raise OptionError("output", f"{name}: there is no folder {folder}; make it first")
        except OSError as error:
            raise OptionError("output", f"{name}: {error.strerror}") from error
        check_folder(folder, "output", name)

    def check(self, *, resume: bool, overwrite: bool) -> None:
        """Refuse existing files that do not fit these options.

        With `overwrite`, the record of the old file is removed at once: a run that is killed before its first
        row must not leave a file that looks like its result.

        Raises:
            InputError: the files do not fit, or another process is writing them.
        """
        if resume and overwrite:
            raise OptionError("resume", "continues a run and `overwrite` starts again: give one of them")
        if self._is_locked():
            raise self._busy()
        self._refuse_foreign()
        if overwrite:
            finished.forget(self.final)
        elif resume:
            self.finished_run()
        else:
            self._refuse_existing()

    def finished_run(self) -> Journal | None:
        """Return the journal of the run that finished the file; None if there is a run to resume or to start.

        Raises:
            InputError: the file exists without a record that a run finished it.
        """
        if self.partial.exists() or not self.final.exists():
            return None
        found: Journal | None = None
        if self.convert is None:
            # A kill between the last rename and the removal of the journal leaves the journal.
            with contextlib.suppress(OSError, InputError):
                found = journal.read(self.journal)
        found = found or finished.recall(self.final)
        if found is None:
            raise InputError(
                f"{self.final} exists without a record of a finished run; overwrite=True replaces it"
            )
        if finished.sha256(self.final, found.finished.bytes) != found.finished.output:
            raise InputError(f"{self.final} has changed since a run finished it; overwrite=True replaces it")
        return found

    def lock(self, *, fresh: bool) -> int:
        """Open the partial file, create it if needed, and lock it. The lock ends with the process.

        Args:
            fresh: refuse an existing file.

        Returns:
            Its file descriptor.

        Raises:
            InputError: another process has it, or it cannot be opened or locked.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | (os.O_EXCL if fresh else 0)
        try:
            fd = os.open(self.partial, flags, 0o666)
        except FileExistsError:
            raise self._busy() from None
        except OSError as error:
            raise self._unusable(self.partial, error) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between the two calls another process may have finished and renamed the file.
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

    def open_new_journal(self) -> int:
        """Create the next journal; call it while holding the lock.

        Links are not followed. A file of a killed run is removed first.

        Returns:
            Its file descriptor, for appending.

        Raises:
            InputError: a file of this name exists and is not a journal.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_APPEND
        try:
            return os.open(self.new_journal, flags, 0o666)
        except FileExistsError:
            self._refuse_unknown(self.new_journal)
            os.unlink(self.new_journal)
            return os.open(self.new_journal, flags, 0o666)

    def open_converted(self) -> io.BufferedRandom:
        """Create the file for the converted rows; call it while holding the lock. Links are not followed. A
        file of a killed run is removed first.
        """
        self.converted.unlink(missing_ok=True)
        return open(os.open(self.converted, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666), "w+b")

    def sync_folder(self) -> None:
        """Flush renames in the folder to the disk, so that they survive a power failure."""
        fd = os.open(self.final.parent, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _refuse_existing(self) -> None:
        # A journal next to a finished file is left by a kill after the last rename.
        if self.partial.exists() or (self.journal.exists() and not self.final.exists()):
            raise OptionError(
                "output",
                f"{self.final}: an unfinished run is here: resume=True continues it, overwrite=True starts"
                " again",
            )
        if self.final.exists():
            raise OptionError(
                "output",
                f"{self.final} exists: overwrite=True replaces it, resume=True continues an unfinished run",
            )

    def _refuse_foreign(self) -> None:
        """Refuse existing files with names that a run uses, if no run wrote them."""
        for path in (self.journal, self.new_journal):
            if path.is_symlink() or path.exists():
                self._refuse_unknown(path)
        # Rows are converted only while the partial file exists.
        if self.convert and os.path.lexists(self.converted) and not self.partial.exists():
            raise self._foreign(self.converted)
        try:
            size = 0 if self.partial.is_dir() else self.partial.lstat().st_size
        except OSError:
            return
        # A run writes its journal before the first byte of its partial file.
        if self.partial.is_symlink() or (size and not self.journal.exists()):
            raise self._foreign(self.partial)

    def _refuse_unknown(self, path: Path) -> None:
        try:
            known = not path.is_symlink() and path.is_file() and journal.is_journal(path)
        except OSError as error:
            raise self._unusable(path, error) from error
        if not known:
            raise self._foreign(path)

    def _foreign(self, path: Path) -> InputError:
        return InputError(
            f"{path} exists: a run needs this name, and no run of this version wrote the file; move it,"
            " or write the output elsewhere"
        )

    def _unusable(self, path: Path, error: OSError) -> LLMKitError:
        return cannot_write(path, error, advice="write the output elsewhere")

    def _is_locked(self) -> bool:
        try:
            fd = os.open(self.partial, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._unusable(self.partial, error) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False  # no locks on this disk; `lock` reports that
        finally:
            os.close(fd)
        return False

    def _busy(self) -> InputError:
        try:
            who = f"another process (pid {journal.read(self.journal).pid})"
        except (OSError, InputError):
            who = "another process"
        return InputError(f"{self.final}: {who} is writing it; wait for it, or write elsewhere")
