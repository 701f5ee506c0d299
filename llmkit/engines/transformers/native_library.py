"""C interface of the native decoder: its libraries for each instruction set, its functions and structures."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from llmkit.native_build import PORTABLE, CannotBuildError, Level, NativeSource, first_built

_AVX512 = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"})
_WIDE = ("-march=x86-64-v4", "-mprefer-vector-width=512")
_PAIRS = ("-mavx512vnni", "-mavx512bf16")
LEVELS = (
    Level(
        "amx",
        (*_WIDE, *_PAIRS, "-mavx512vbmi", "-mamx-tile", "-mamx-bf16"),
        _AVX512 | {"avx512_vnni", "avx512_bf16", "avx512vbmi", "amx_tile", "amx_bf16"},
    ),
    Level("avx512bf16", (*_WIDE, *_PAIRS), _AVX512 | {"avx512_vnni", "avx512_bf16"}),
    Level("avx512vnni", (*_WIDE, "-mavx512vnni"), _AVX512 | {"avx512_vnni"}),
    Level("avx512", _WIDE, _AVX512),
    Level("avx2", ("-march=x86-64-v3",), frozenset({"avx2", "fma", "bmi2", "f16c"})),
    PORTABLE,
)
_PACKAGE = Path(__file__).parents[2]
_LINEAR, _ATTENTION = _PACKAGE / "linear" / "native", _PACKAGE / "attention" / "native"


def source(name: str, *includes: str, levels: tuple[Level, ...] = LEVELS) -> NativeSource:
    """Return a source of this package by its name, and the files that it includes."""
    products = (str(_LINEAR / one) for one in ("product.cpp", "lanes.h"))
    return NativeSource(
        name,
        Path(__file__).parent / "native",
        (f"{name}.cpp", "decoder.h", "call.h", *products, *includes),
        levels,
        ("-ffp-contract=fast", f"-I{_LINEAR}", f"-I{_ATTENTION}"),
    )


SOURCES = (
    source("step", "attend.h"),
    source(
        "prefill",
        "panels.h",
        "shares.h",
        "matrix_registers.h",
        *(str(_ATTENTION / one) for one in ("attend.cpp", "common.h", "tiles.h")),
    ),
)


class NativeMatrix(ctypes.Structure):
    """`Matrix` of decoder.h."""

    _fields_ = [
        ("weight", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("outputs", ctypes.c_int64),
        ("inputs", ctypes.c_int64),
        ("kind", ctypes.c_int64),
        ("down", ctypes.c_void_p),
        ("up", ctypes.c_void_p),
        ("rank", ctypes.c_int64),
    ]


_MATRICES = ("q", "k", "v", "o", "gate", "up", "down")
_POINTERS = ("input_norm", "post_norm", "q_norm", "k_norm", "keys", "values")
_NUMBERS = ("count", "hidden", "heads", "kv_heads", "head_dim", "inner", "rotary", "cache_kind", "activation")


class NativeLayer(ctypes.Structure):
    """`Layer` of decoder.h."""

    _fields_ = [
        *((name, NativeMatrix) for name in _MATRICES),
        *((name, ctypes.c_void_p) for name in _POINTERS),
        ("window", ctypes.c_int64),
    ]


class NativeModel(ctypes.Structure):
    """`Model` of decoder.h."""

    _fields_ = [
        ("layers", ctypes.POINTER(NativeLayer)),
        ("head", NativeMatrix),
        ("final_norm", ctypes.c_void_p),
        ("frequencies", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in _NUMBERS),
        ("epsilon", ctypes.c_float),
        ("rope_scale", ctypes.c_float),
        ("attention_scale", ctypes.c_float),
        ("rank", ctypes.c_int64),
    ]


class NativeRow(ctypes.Structure):
    """`Row` of decoder.h."""

    _fields_ = [("offset", ctypes.c_int64), ("position", ctypes.c_int64), ("logits", ctypes.c_int64)]


@dataclass(frozen=True)
class Functions:
    """The native functions for one instruction set.

    Attributes:
        level: name of the instruction set.
        step: decodes a few tokens of each sequence.
        prefill: reads prompts. Both take (model, rows, their number, hidden states, logits, their number,
            threads). They return 0 on success and 1 if there is no memory.
    """

    level: str
    step: Any
    prefill: Any


@cache
def functions() -> Functions:
    """Return the functions of this processor's best instruction set, built if need be.

    Raises:
        CannotBuildError: there is none that can be built here.
    """
    return first_built(SOURCES[0].available(), load)


def build_all(sources: Sequence[NativeSource], level: str) -> list[Any]:
    """Return the main function of each source for an instruction set; sources are built at the same time.

    Raises:
        CannotBuildError: one cannot be built here.
    """
    with ThreadPoolExecutor(len(sources)) as pool:  # compilers run as separate processes
        paths = list(pool.map(lambda source: source.build(level), sources))
    return [
        source.load(path, f"llmkit_{source.name}_{level}")
        for source, path in zip(sources, paths, strict=True)
    ]


def load(level: str) -> Functions:
    """Return the functions of an instruction set, built if need be.

    Raises:
        CannotBuildError: it cannot be built here.
    """
    found = build_all(SOURCES, level)
    if SOURCES[1].load(SOURCES[1].build(level), f"llmkit_prefill_{level}_check")():
        raise CannotBuildError(f"products of the level {level} are not those of others")
    pointer, number = ctypes.c_void_p, ctypes.c_int
    for function in found:
        function.argtypes = [pointer, pointer, number, pointer, pointer, number, number]
        function.restype = number
    return Functions(level, *found)
