"""Instruction sets of the native attention kernel, and its function for each; see `llmkit.native_build`."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, cast

from llmkit.native_build import PORTABLE, CannotBuildError, Level, NativeSource, first_built

__all__ = ["CannotBuildError", "best", "levels", "load"]

_SOURCES = ("attend.cpp", "common.h", "tiles.h")
_AVX512 = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"})
_WIDE = ("-march=x86-64-v4", "-mprefer-vector-width=512")
_SOURCE = NativeSource(
    "attend",
    Path(__file__).parent / "native",
    _SOURCES,
    (
        Level(
            "amx",
            (*_WIDE, "-mavx512bf16", "-mavx512vbmi", "-mamx-tile", "-mamx-bf16"),
            _AVX512 | {"avx512_bf16", "avx512vbmi", "amx_tile", "amx_bf16"},
        ),
        Level("avx512bf16", (*_WIDE, "-mavx512bf16"), _AVX512 | {"avx512_bf16"}),
        Level("avx512", _WIDE, _AVX512),
        Level("avx2", ("-march=x86-64-v3",), frozenset({"avx2", "fma", "bmi2", "f16c"})),
        PORTABLE,
    ),
    ("-ffp-contract=fast",),
)


@cache
def levels() -> tuple[str, ...]:
    """The instruction sets that this processor has, the fastest first."""
    return _SOURCE.available()


def best() -> str:
    """The fastest of the processor's levels that can be built here.

    Raises:
        CannotBuildError: none can; of the first it is said why.
    """

    def tried(level: str) -> str:
        load(level)
        return level

    return first_built(levels(), tried)


def load(level: str) -> Callable[..., int]:
    """The kernel's function for one of `levels`; built if it is not there.

    Raises:
        CannotBuildError: it cannot be built.
    """
    found = _tried(level)
    if isinstance(found, CannotBuildError):
        raise found
    return found


@cache
def _tried(level: str) -> Callable[..., int] | CannotBuildError:
    """Return the function, or the reason why there is none; a failed build is not repeated."""
    try:
        found: Any = _SOURCE.load(_built(level), f"llmkit_attend_{level}")
    except CannotBuildError as error:
        return error
    pointer, number = ctypes.c_void_p, ctypes.c_int
    found.argtypes = [*[pointer] * 7, ctypes.c_float, number, number, number]
    found.restype = number
    return cast("Callable[..., int]", found)


def _built(level: str) -> Path:
    """The shared library for a level."""
    return _SOURCE.build(level)
