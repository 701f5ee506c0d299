"""The instruction sets of the native product, and its function for each; see `llmkit.native_build`."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, cast

from llmkit.native_build import ARM_MACHINES, PORTABLE, CannotBuildError, Level, NativeSource, first_built

__all__ = ["CannotBuildError", "best", "levels", "load"]

_AVX512 = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"})
_AVX2 = frozenset({"avx2", "fma", "bmi2", "f16c"})
SOURCE = NativeSource(
    "product",
    Path(__file__).parent / "native",
    ("product.cpp", "lanes.h"),
    (
        Level(
            "avx512vnni",
            ("-march=x86-64-v4", "-mavx512vnni", "-mprefer-vector-width=512"),
            _AVX512 | {"avx512_vnni"},
        ),
        Level("avxvnni", ("-march=x86-64-v3", "-mavxvnni"), _AVX2 | {"avx_vnni"}),
        Level("avx2", ("-march=x86-64-v3",), _AVX2),
        Level("neon", ("-march=armv8.2-a+dotprod",), frozenset({"asimddp"}), ARM_MACHINES),
        PORTABLE,
    ),
    # A row's result must not depend on which template computes it.
    ("-ffp-contract=off",),
)


@cache
def levels() -> tuple[str, ...]:
    """The instruction sets that this processor has, the fastest first."""
    return SOURCE.available()


@cache
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
    """The product's function for one of `levels`; built if it is not there.

    Raises:
        CannotBuildError: it cannot be built.
    """
    found = _tried(level)
    if isinstance(found, CannotBuildError):
        raise found
    return found


def reader(level: str) -> Callable[..., int]:
    """A function (address, 64-bit words, threads) that reads memory and gives the words' sum, for a level.

    Raises:
        CannotBuildError: it cannot be built.
    """
    load(level)
    found: Any = SOURCE.load(SOURCE.build(level), f"llmkit_product_{level}_read")
    found.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int]
    found.restype = ctypes.c_uint64
    return cast("Callable[..., int]", found)


@cache
def _tried(level: str) -> Callable[..., int] | CannotBuildError:
    """Return the function, or the reason why there is none; a failed build is not repeated."""
    try:
        found: Any = SOURCE.load(SOURCE.build(level), f"llmkit_product_{level}")
    except CannotBuildError as error:
        return error
    pointer, long, number = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
    found.argtypes = [pointer, pointer, pointer, long, long, number, number]
    found.restype = number
    return cast("Callable[..., int]", found)
