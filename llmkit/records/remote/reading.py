"""Read an object in blocks; reconnect at the same byte after a lost connection."""

from __future__ import annotations

import io
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

from llmkit.errors import InputError, LLMKitError, one_line
from llmkit.records.remote.urls import file_system

T = TypeVar("T")
CHUNK = 4 << 20
_TRIES = 6
_FIRST_PAUSE = 0.2  # seconds; doubled each time


class RemoteFile(io.RawIOBase):
    """An object as a file that can seek.

    Args:
        url: its URL.

    Attributes:
        size: bytes.

    Raises:
        InputError: there is no such object, or it may not be read.
        LLMKitError: the storage does not respond; while reading: the object has changed.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._fs, self._path = file_system(url)
        info = persistently(lambda: self._fs.info(self._path), url)
        if info.get("type") == "directory":
            raise InputError(f"{url} is a folder; give an object in it")
        self.size = int(info["size"])
        self._version = _version(info)
        self._at = 0

    def identity(self) -> dict[str, Any]:
        """Return the identity of this object as JSON: name, size and version."""
        return {"name": self._path.rpartition("/")[2], "bytes": self.size, "version": self._version}

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def readinto(self, buffer: Any) -> int:
        start, stop = self._at, min(self._at + len(buffer), self.size)
        if start >= stop:
            return 0
        data = persistently(lambda: self._piece(start, stop), self._url)
        buffer[: len(data)] = data
        self._at += len(data)
        if self._at == self.size:
            self._check_version()
        return len(data)

    def _piece(self, start: int, stop: int) -> bytes:
        data: bytes = self._fs.cat_file(self._path, start=start, end=stop)
        if len(data) != stop - start:
            self._check_version()
            raise ConnectionError(f"received {len(data)} of {stop - start} bytes")
        return data

    def _check_version(self) -> None:
        info = persistently(lambda: self._fs.info(self._path), self._url)
        if (int(info["size"]), _version(info)) != (self.size, self._version):
            raise LLMKitError(f"{self._url} has changed while it was read; start again")


def _version(info: dict[str, Any]) -> str:
    """Return a value that changes with an object's content: its ETag, or a similar value of the storage."""
    keys = ("ETag", "etag", "md5Hash", "content_md5", "blob_id", "created", "LastModified", "mtime")
    found = next((info[key] for key in keys if info.get(key) is not None), "")
    return str(found).strip('"')


def persistently(work: Callable[[], T], url: str) -> T:
    """Call `work`; after a lost connection, wait and call it again.

    Raises:
        InputError: there is no such object, or access is refused.
        LLMKitError: all attempts failed.
    """
    pause = _FIRST_PAUSE
    for number in range(_TRIES):
        try:
            return work()
        except LLMKitError:
            raise
        except FileNotFoundError:
            raise InputError(f"{url}: no such object") from None
        except PermissionError as error:
            raise InputError(f"{url}: access refused: {one_line(error, 120)}") from error
        except Exception as error:  # each storage library has errors of its own
            if type(error).__name__ in (
                "NoCredentialsError",
                "PartialCredentialsError",
                "ParamValidationError",
            ):
                raise InputError(f"{url}: {one_line(error, 200)}") from error
            if number == _TRIES - 1:
                raise LLMKitError(f"{url}: {one_line(error, 200)}; {_TRIES} tries failed") from error
        time.sleep(pause * random.uniform(0.5, 1.5))
        pause *= 2
    raise AssertionError("unreachable")
