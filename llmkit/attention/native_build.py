"""Build the native kernel with the system's compiler, once, into the user's cache.

One object file for each instruction set, a second each; which one runs is chosen by what the processor has.
Nothing of torch is included. OpenMP's runtime is the one that torch has loaded under the same name, so that
both share one pool of threads.
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

_BROUGHT = Path(__file__).parent / "native"
"""Where a package that is built for one kind of machine may bring the compiled kernel along."""
_SOURCES = ("attend.cpp", "common.h", "tiles.h")
_FLAGS = ("-O3", "-fPIC", "-std=c++17", "-fopenmp", "-ffp-contract=fast", "-fno-math-errno", "-Wno-psabi")
_X86 = {"x86_64", "AMD64"}
# From the fastest on: a name, the compiler's flags, and the processor's flags that it needs.
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
    """The instruction sets that this processor has, the fastest first."""
    have = _processor()
    x86 = platform.machine() in _X86
    return tuple(name for name, _, needs in LEVELS if needs <= have and (x86 or name == "portable"))


def best() -> str:
    """The fastest of the processor's levels that can be built here: an old compiler may not know the newest.

    Raises:
        CannotBuildError: none can; of the first it is said why.
    """
    failures = []
    for level in levels():
        found = _tried(level)
        if not isinstance(found, CannotBuildError):
            return level
        failures.append(found)
    raise failures[0]


def load(level: str) -> Callable[..., int]:
    """The kernel's function for one of `LEVELS`; built if it is not there.

    Raises:
        CannotBuildError: it cannot be had.
    """
    found = _tried(level)
    if isinstance(found, CannotBuildError):
        raise found
    return found


@cache
def _tried(level: str) -> Callable[..., int] | CannotBuildError:
    """The function, or why there is none: a compiler that fails is asked once."""
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
        if path.parent != _BROUGHT:
            path.unlink(missing_ok=True)  # the next process builds it anew, by another compiler perhaps
        raise CannotBuildError(f"{path} does not load: {error}") from error
    pointer, number = ctypes.c_void_p, ctypes.c_int
    found.argtypes = [*[pointer] * 7, ctypes.c_float, number, number, number]
    found.restype = number
    return cast("Callable[..., int]", found)


def _built(level: str) -> Path:
    """The shared library for a level."""
    compiler = shutil.which(os.environ.get("CXX") or "c++") or shutil.which("g++") or shutil.which("clang++")
    flags = next(flags for name, flags, _ in LEVELS if name == level)
    command = [*_FLAGS, *flags, f"-DNAME=llmkit_attend_{level}"]
    parts = [*((_BROUGHT / name).read_bytes() for name in _SOURCES), *(flag.encode() for flag in command)]
    key = hashlib.sha256(b"\0".join(parts)).hexdigest()
    name = f"attend-{level}-{platform.machine()}-{key[:16]}.so"
    for folder in (_BROUGHT, _cache()):
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
        # A cache that cannot be written costs a second in each process.
        folder = Path(tempfile.mkdtemp(prefix="llmkit-native-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        partial = str(folder / "partial.so")
    try:
        subprocess.run(
            [compiler, *command, "-shared", str(_BROUGHT / _SOURCES[0]), "-o", partial],
            check=True,
            capture_output=True,
            text=True,
            timeout=300,
        )
        os.replace(partial, folder / name)  # whole or not at all, whoever else builds it now
    except (OSError, subprocess.SubprocessError) as error:
        Path(partial).unlink(missing_ok=True)
        said = " ".join((getattr(error, "stderr", None) or str(error)).split())[:200]
        raise CannotBuildError(f"{compiler} failed: {said}") from error
    return folder / name


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "llmkit" / "native"


@cache
def _processor() -> frozenset[str]:
    """The processor's flags, as the operating system lists them."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return frozenset()
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return frozenset(line.partition(":")[2].split())
