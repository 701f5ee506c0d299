"""Build a native kernel with the system's compiler, once, into the user's cache.

Each instruction set (level) is compiled to one shared library, in about a second; the processor determines
which one runs. The sources do not include headers of torch. The OpenMP runtime is the one that torch has
loaded, so both share one pool of threads. This module is below all packages with kernels.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from llmkit.errors import LLMKitError, NoticeWarning
from llmkit.temporary import lasting_folder, temporary_folder
from llmkit.user_folder import cache_folder

T = TypeVar("T")
FLAGS = ("-O3", "-fPIC", "-std=c++17", "-fopenmp", "-fno-math-errno", "-Wno-psabi")
_TELLING = threading.Lock()  # taken for good by the first build that tells
_TEMPORARY = threading.Lock()
_OWN: list[Path] = []  # this process's folder, if the user's cache cannot be written
_X86 = ("x86_64", "AMD64")
_ARM = ("aarch64", "arm64")


class CannotBuildError(Exception):
    """There is no compiler, it failed, or its result cannot be loaded."""


@dataclass(frozen=True)
class Level:
    """An instruction set.

    Args:
        name: of the level; the function in the library ends with it.
        flags: the compiler's flags.
        needs: the processor's flags, as the operating system lists them.
        machines: the names of `platform.machine` that it belongs to; empty for any.
    """

    name: str
    flags: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset()
    machines: tuple[str, ...] = _X86


PORTABLE = Level("portable", machines=())
ARM_MACHINES = _ARM


@dataclass(frozen=True)
class NativeSource:
    """The source of a kernel.

    Args:
        name: of the library's file and of its functions (``llmkit_NAME_LEVEL``).
        folder: the folder of the sources; a package built for one kind of machine may bring libraries in it.
        files: the sources; the first is compiled and includes the others.
        levels: the instruction sets, the fastest first.
        flags: flags of the compiler besides `FLAGS` and the level's.
    """

    name: str
    folder: Path
    files: tuple[str, ...]
    levels: tuple[Level, ...]
    flags: tuple[str, ...] = ()

    def available(self) -> tuple[str, ...]:
        """The levels that this processor has, the fastest first."""
        have, machine = processor_flags(), platform.machine()
        return tuple(
            level.name
            for level in self.levels
            if level.needs <= have and (not level.machines or machine in level.machines)
        )

    def build(self, level: str) -> Path:
        """The shared library for a level; compiled if it is not there.

        Raises:
            CannotBuildError: there is no compiler, or it failed.
        """
        compiler = (
            shutil.which(os.environ.get("CXX") or "c++") or shutil.which("g++") or shutil.which("clang++")
        )
        flags = next(one.flags for one in self.levels if one.name == level)
        command = [*FLAGS, *self.flags, *flags, f"-DNAME=llmkit_{self.name}_{level}"]
        parts = [*((self.folder / name).read_bytes() for name in self.files), *map(str.encode, command)]
        key = hashlib.sha256(b"\0".join(parts)).hexdigest()
        name = f"{self.name}-{level}-{platform.machine()}-{key[:16]}.so"
        for folder in (self.folder, cache_folder("native"), *_OWN):
            # `os.path`: a user may have no permission to look into a folder, which is no error here.
            if os.path.isfile(folder / name) and (folder == self.folder or _is_own(folder, folder / name)):
                return folder / name
        if compiler is None:
            raise CannotBuildError("there is no C++ compiler (c++, g++ or clang++)")
        _tell()
        source = str(self.folder / self.files[0])
        try:
            with temporary_folder("native") as folder:
                subprocess.run(
                    [compiler, *command, "-shared", source, "-o", str(folder / name)],
                    check=True,
                    capture_output=True,
                    text=True,
                    timeout=300,
                    env={**os.environ, "TMPDIR": str(folder)},
                )
                return _kept(name, (folder / name).read_bytes())
        except (OSError, LLMKitError, subprocess.SubprocessError) as error:
            if isinstance(error, subprocess.TimeoutExpired):  # its `stderr` is bytes, also with text=True
                raise CannotBuildError(f"{compiler} took longer than {error.timeout:g} s") from error
            said = " ".join((getattr(error, "stderr", None) or str(error)).split())[:200]
            raise CannotBuildError(f"{compiler} failed: {said}") from error

    def load(self, path: Path, symbol: str) -> Any:
        """A function of a library that `build` gave.

        Raises:
            CannotBuildError: the library does not load. A built one is removed: the next process builds it
                again, by another compiler perhaps.
        """
        import torch  # noqa: F401  (its OpenMP runtime must be in the process first)

        try:
            return getattr(ctypes.CDLL(str(path)), symbol)
        except (OSError, AttributeError) as error:
            if path.parent != self.folder:
                with suppress(OSError):  # a cache may be read-only
                    path.unlink()
            raise CannotBuildError(f"{path} does not load: {error}") from error


def first_built(levels: Sequence[str], load: Callable[[str], T]) -> T:
    """Return the result of `load` for the first level that can be built.

    Args:
        levels: names of levels, the fastest first; an old compiler may not know the newest.
        load: function that builds one.

    Raises:
        CannotBuildError: none can be built; the reason is that of the first.
    """
    failures: list[CannotBuildError] = []
    for level in levels:
        try:
            return load(level)
        except CannotBuildError as error:
            failures.append(error)
    raise failures[0]


def _tell() -> None:
    """Tell a person at a terminal, once in a process, why the start takes some seconds."""
    if sys.stderr is not None and sys.stderr.isatty() and _TELLING.acquire(blocking=False):
        note = "compiling native code for this processor, once; it is kept for later runs"
        warnings.warn(note, NoticeWarning, stacklevel=2)


def _kept(name: str, library: bytes) -> Path:
    """Write a library into the cache, whole or not at all, whoever else builds it now; return its path."""
    folder = cache_folder("native")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_own(folder):
            raise PermissionError(f"others can write into {folder}")
        _place(library, folder / name)
    except OSError:
        # A cache that cannot be written costs some seconds in each process.
        with _TEMPORARY:
            if not _OWN:
                _OWN.append(lasting_folder("native"))
        folder = _OWN[0]
        _place(library, folder / name)
    return folder / name


def _place(library: bytes, path: Path) -> None:
    """Write a file that only this user can change; `whole_file` would keep the mode of an older one."""
    handle, partial = tempfile.mkstemp(suffix=".so", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(library)
        os.replace(partial, path)
    except BaseException:
        os.unlink(partial)
        raise


def _is_own(*paths: Path) -> bool:
    """Return True if only this user and the system's owner can have written these files, which are run."""
    if not hasattr(os, "getuid"):
        return True
    try:
        found = [path.stat() for path in paths]
    except OSError:
        return False
    return all(one.st_uid in (0, os.getuid()) and not one.st_mode & stat.S_IWOTH for one in found)


@cache
def processor_flags() -> frozenset[str]:
    """The processor's flags, as the operating system lists them (Linux: ``flags`` on x86, ``Features`` on
    Arm)."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return frozenset()
    line = next((line for line in text.splitlines() if line.startswith(("flags", "Features"))), "")
    return frozenset(line.partition(":")[2].split())
