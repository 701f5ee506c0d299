"""C interface of the native code for encoder-decoder models: its library, functions and structures."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

from llmkit.engines.transformers import native_library
from llmkit.engines.transformers.native_library import NativeMatrix
from llmkit.native_build import first_built

# Matrix registers (AMX) are not used: products of sources are in 8 bits, or memory limits them.
LEVELS = tuple(level for level in native_library.LEVELS if level.name != "amx")
SOURCES = (
    native_library.source("source", "seq2seq.h", "attend.h", "panels.h", "shares.h", levels=LEVELS),
    native_library.source("target", "seq2seq.h", "attend.h", levels=LEVELS),
)
_POINTER, _NUMBER, _REAL = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float


class NativeNorm(ctypes.Structure):
    """`Norm` of seq2seq.h."""

    _fields_ = [("weight", _POINTER), ("bias", _POINTER)]


class NativeFeed(ctypes.Structure):
    """`Feed` of seq2seq.h."""

    _fields_ = [*((name, NativeMatrix) for name in ("up", "gate", "down")), ("norm", NativeNorm)]


class NativeSourceLayer(ctypes.Structure):
    """`SourceLayer` of seq2seq.h."""

    _fields_ = [*((name, NativeMatrix) for name in "qkvo"), ("norm", NativeNorm), ("feed", NativeFeed)]


class NativeTargetLayer(ctypes.Structure):
    """`TargetLayer` of seq2seq.h."""

    _fields_ = [
        *((name, NativeMatrix) for name in "qkvo"),
        ("norm", NativeNorm),
        *((f"cross_{name}", NativeMatrix) for name in "qkvo"),
        ("cross_norm", NativeNorm),
        ("feed", NativeFeed),
        *((name, _POINTER) for name in ("keys", "values", "cross_keys", "cross_values")),
    ]


class NativeSide(ctypes.Structure):
    """`Side` of seq2seq.h."""

    _fields_ = [
        *((name, _NUMBER) for name in ("count", "heads", "head_dim", "inner", "activation", "reach")),
        ("bias", _POINTER),
        ("norm", NativeNorm),
        ("scale", _REAL),
        ("epsilon", _REAL),
    ]


class NativeTranslator(ctypes.Structure):
    """`Translator` of seq2seq.h."""

    _fields_ = [
        ("encoder", ctypes.POINTER(NativeSourceLayer)),
        ("decoder", ctypes.POINTER(NativeTargetLayer)),
        ("source", NativeSide),
        ("target", NativeSide),
        ("head", NativeMatrix),
        *((name, _NUMBER) for name in ("hidden", "cache_kind", "before")),
    ]


@dataclass(frozen=True)
class TranslatorFunctions:
    """The native functions for one instruction set.

    Attributes:
        level: name of the instruction set.
        source: reads sources: (model, sources, their number, hidden states, threads).
        target: decodes a token of each sequence: (model, rows, their number, hidden states, logits, threads).
            Both return 0 on success and 1 if there is no memory.
    """

    level: str
    source: Any
    target: Any


@cache
def translator_functions() -> TranslatorFunctions:
    """Return the functions of this processor's best instruction set, built if need be.

    Raises:
        CannotBuildError: there is none that can be built here.
    """
    return first_built(SOURCES[0].available(), load)


def load(level: str) -> TranslatorFunctions:
    """Return the functions of an instruction set, built if need be.

    Raises:
        CannotBuildError: it cannot be built here.
    """
    read, decode = native_library.build_all(SOURCES, level)
    pointer, number = ctypes.c_void_p, ctypes.c_int
    read.argtypes = [pointer, pointer, number, pointer, number]
    decode.argtypes = [pointer, pointer, number, pointer, pointer, number]
    read.restype = decode.restype = number
    return TranslatorFunctions(level, read, decode)
