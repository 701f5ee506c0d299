"""Build the native kernel with the system's compiler, once, into the user's cache.

There is one shared library for each instruction set, built in about a second; the processor's flags decide
which one runs. The code does not include torch. It uses the OpenMP runtime that torch has loaded, so both
share one pool of threads.
"""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, cast

from llmkit.errors import one_line

_PACKAGED = Path(__file__).parent / "native"
"""Folder of the sources; a package for one kind of machine may have the compiled kernel there."""
_SOURCES = ("attend.cpp", "common.h", "tiles.h")
_FLAGS = ("-O3", "-fPIC", "-std=c++17", "-fopenmp", "-ffp-contract=fast", "-fno-math-errno", "-Wno-psabi")
_X86 = {"x86_64", "AMD64"}
# Fastest first: name, compiler flags, and processor flags that it needs.
_AVX512 = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"})
LEVELS: tuple[tuple[str, tuple[str, ...], frozenset[str]], ...] = (
    (
        "amx",
        (
            "-march=x86-64-v4",
            "-mavx512bf16",
            "-mavx512vbmi",
            "-mamx-tile",
            "-mamx-bf16",
            "-mprefer-vector-width=512",
        ),
        _AVX512 | {"avx512_bf16", "avx512vbmi", "amx_tile", "amx_bf16"},
    ),
    (
        "avx512bf16",
        ("-march=x86-64-v4", "-mavx512bf16", "-mprefer-vector-width=512"),
        _AVX512 | {"avx512_bf16"},
    ),
    (
        "avx512",
        ("-march=x86-64-v4", "-mprefer-vector-width=512"),
        _AVX512,
    ),
    ("avx2", ("-march=x86-64-v3",), frozenset({"avx2", "fma", "bmi2", "f16c"})),
    ("portable", (), frozenset()),
)


class CannotBuildError(Exception):
    """There is no compiler, it failed, or its result cannot be loaded."""


@cache
def levels() -> tuple[str, ...]:
    """Return the instruction sets of this processor, the fastest first."""
    have = _processor()
    x86 = platform.machine() in _X86
    return tuple(name for name, _, needs in LEVELS if needs <= have and (x86 or name == "portable"))


def best() -> str:
    """Return the fastest level that can be built here; an old compiler may not know the newest.

    Raises:
        CannotBuildError: none can be built; the error is that of the first.
    """
    failures = []
    for level in levels():
        found = _tried(level)
        if not isinstance(found, CannotBuildError):
            return level
        failures.append(found)
    raise failures[0]


def load(level: str) -> Callable[..., int]:
    """Return the kernel's function for one of `LEVELS`; build it if needed.

    Raises:
        CannotBuildError: it cannot be built or loaded.
    """
    found = _tried(level)
    if isinstance(found, CannotBuildError):
        raise found
    return found


@cache
def _tried(level: str) -> Callable[..., int] | CannotBuildError:
    """Return the function or the error; a compiler that fails is called once only."""
    try:
        return _loaded(level)
    except CannotBuildError as error:
        return error


def _loaded(level: str) -> Callable[..., int]:
    import torch  # noqa: F401  (its OpenMP runtime must be in the process first)

    path = _built(level)
    try:
        found: Any = getattr(ctypes.CDLL(str(path)), f"llmkit_attend_{level}")
    except (OSError, AttributeError) as error:
        if path.parent != _PACKAGED:
            path.unlink(missing_ok=True)  # the next process builds it again, perhaps with another compiler
        raise CannotBuildError(f"{path} does not load: {error}") from error
    pointer, number = ctypes.c_void_p, ctypes.c_int
    found.argtypes = [*[pointer] * 7, ctypes.c_float, number, number, number]
    found.restype = number
    return cast("Callable[..., int]", found)


def _built(level: str) -> Path:
    """Return the shared library of a level; build it if needed."""
    compiler = shutil.which(os.environ.get("CXX") or "c++") or shutil.which("g++") or shutil.which("clang++")
    flags = next(flags for name, flags, _ in LEVELS if name == level)
    command = [*_FLAGS, *flags, f"-DNAME=llmkit_attend_{level}"]
    parts = [*((_PACKAGED / name).read_bytes() for name in _SOURCES), *(flag.encode() for flag in command)]
    key = hashlib.sha256(b"\0".join(parts)).hexdigest()
    name = f"attend-{level}-{platform.machine()}-{key[:16]}.so"
    for folder in (_PACKAGED, _cache()):
        if (folder / name).is_file():
            return folder / name
    if compiler is None:
        raise CannotBuildError("there is no C++ compiler (c++, g++ or clang++)")
    try:
        folder = _cache()
        folder.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(suffix=".so", dir=folder)
        os.close(handle)
    except OSError:
        # Without a writable cache each process builds it again, in about a second.
        folder = Path(tempfile.mkdtemp(prefix="llmkit-native-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        partial = str(folder / "partial.so")
    try:
        subprocess.run(
            [compiler, *command, "-shared", str(_PACKAGED / _SOURCES[0]), "-o", partial],
            check=True,
            capture_output=True,
            text=True,
            timeout=300,
        )
        os.replace(partial, folder / name)  # atomic, since other processes may build it too
    except (OSError, subprocess.SubprocessError) as error:
        Path(partial).unlink(missing_ok=True)
        reason = one_line(getattr(error, "stderr", None) or str(error), 200)
        raise CannotBuildError(f"{compiler} failed: {reason}") from error
    return folder / name


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "llmkit" / "native"


@cache
def _processor() -> frozenset[str]:
    """Return the processor's flags, as the operating system lists them."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return frozenset()
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return frozenset(line.partition(":")[2].split())
