"""A file of rows in object storage: journaled on the local disk, and uploaded at the end.

Object storage cannot append and has no fsync, so the partial file and the journal are on the local disk: in
`$LLMKIT_SPOOL`, or else the user's state folder. At the end one upload creates the object; S3, Google Cloud
Storage, Azure and the Hub show it only when it is complete. A run that is killed, also during the upload,
continues from the same spool folder. If the local disk is lost with the driver, set a spool folder on a disk
that is not.

Public: `open_output`, `check_output`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, Self

from llmkit.errors import InputError, LLMKitError, OptionError
from llmkit.records import finished, output
from llmkit.records.disk import cannot_write
from llmkit.records.output import JournaledOutput
from llmkit.records.remote.reading import persistently
from llmkit.records.remote.urls import file_system, url_of
from llmkit.user_folder import state_folder


def open_output(
    path: str | Path,
    header: dict[str, Any],
    *,
    resume: bool = False,
    overwrite: bool = False,
    adopt: Collection[str] = (),
) -> JournaledOutput:
    """Return the output of a local path or of a URL, to be entered; see `JournaledOutput`."""
    url = url_of(path)
    if url is None:
        return JournaledOutput(path, header, resume=resume, overwrite=overwrite, adopt=adopt)
    return RemoteOutput(url, header, resume=resume, overwrite=overwrite, adopt=adopt)


def check_output(path: str | Path, *, resume: bool = False, overwrite: bool = False) -> None:
    """Refuse an output that `open_output` would refuse, before any work.

    Raises:
        InputError: see `records.output.check`; an object of this name exists.
    """
    url = url_of(path)
    if url is None:
        output.check(path, resume=resume, overwrite=overwrite)
        return
    _refuse_existing(url, resume=resume, overwrite=overwrite)
    output.check(_spool(url), resume=resume, overwrite=overwrite)


class RemoteOutput(JournaledOutput):
    """A journaled output whose finished file is uploaded; see `JournaledOutput`.

    Args:
        url: the object.
        header, resume, overwrite, adopt: see `JournaledOutput`.
    """

    def __init__(
        self,
        url: str,
        header: dict[str, Any],
        *,
        resume: bool = False,
        overwrite: bool = False,
        adopt: Collection[str] = (),
    ) -> None:
        super().__init__(_spool(url), header, resume=resume, overwrite=overwrite, adopt=adopt)
        self._url = url

    def __enter__(self) -> Self:
        _refuse_existing(self._url, resume=self._resume, overwrite=self._overwrite)
        if self._resume and not self._left_here() and self._size() is not None:
            self._recognize()
            return self
        super().__enter__()
        if self.finished:  # an upload was interrupted
            self._upload()
        return self

    def finish(self) -> None:
        """Finish the file, upload it, and remove it here."""
        super().finish()
        self._upload()

    def _left_here(self) -> bool:
        """Return True if the spool folder contains an unfinished run, or a file to upload."""
        return self._paths.partial.exists() or self._paths.journal.exists() or self._paths.final.exists()

    def _recognize(self) -> None:
        """Accept the object as the finished output of a run with the same header.

        Raises:
            InputError: there is no record of such a run.
        """
        found = finished.recall(self._paths.final)
        if found is None or self._size() != found.finished.bytes:
            raise InputError(
                f"{self._url} exists without a record on this machine of a finished run;"
                " overwrite=True replaces it"
            )
        self._require_same(found)
        self.done_rows, self.failed = found.finished.done_rows, found.finished.failed
        self.finished = True

    def _size(self) -> int | None:
        """Return the size of the object; None if there is none."""
        fs, path = file_system(self._url)
        found: int | None = persistently(lambda: fs.size(path) if fs.exists(path) else None, self._url)
        return found

    def _upload(self) -> None:
        """Create the object in one step, and check its size.

        Raises:
            LLMKitError: all attempts failed; the file stays on the local disk.
        """
        local = self._paths.final
        fs, path = file_system(self._url)
        size = local.stat().st_size

        def put() -> None:
            fs.put_file(str(local), path)
            fs.invalidate_cache()
            if fs.size(path) != size:
                raise ConnectionError("the object and the file differ in size")

        try:
            persistently(put, self._url)
        except LLMKitError as error:
            kept = f"the rows are done and kept in {local}: resume=True uploads them"
            raise LLMKitError(f"{error} ({kept})") from error
        local.unlink()


def _refuse_existing(url: str, *, resume: bool, overwrite: bool) -> None:
    """Refuse an existing object, unless `overwrite` or `resume` is set.

    Raises:
        OptionError: it exists.
    """
    fs, path = file_system(url)
    if persistently(lambda: fs.isdir(path), url):
        raise OptionError("output", f"{url} is a folder; give an object in it")
    if not (resume or overwrite) and persistently(lambda: fs.exists(path), url):
        raise OptionError(
            "output", f"{url} exists: overwrite=True replaces it, resume=True continues an unfinished run"
        )


def _spool(url: str) -> Path:
    """Return the path on the local disk at which the file of a URL is written."""
    folder = Path(os.environ.get("LLMKIT_SPOOL") or state_folder("spool"))
    folder /= hashlib.sha256(url.encode()).hexdigest()[:16]
    name = url.rpartition("/")[2]
    if not name:
        raise OptionError("output", f"{url} names no object")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise cannot_write(
            folder, error, option="output", advice=f"rows of {url} are first written there"
        ) from error
    return folder / name
