"""Test inputs of kernels for quantized products."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

from llmkit.linear.registry import LinearKernel

# Allowed error of an output, as a share of sqrt(sum (x w)^2) over its products, and of the output itself. A
# single product left out of 600 changes an output by 0.04 of the former.
TOLERANCES = {
    "float32": (2e-4, 1e-6),
    "bfloat16": (1e-2, 2**-8),
    "float16": (2e-3, 2**-10),
    "float64": (1e-6, 1e-9),
}
ROUNDING = 7.0
"""Standard deviations of the error that rounded activations may cause, besides."""
SMALLEST_BLOCK = 16
"""Inputs that share an activation scale, at least: on the grid each such block holds 127 or -127."""


@dataclass(frozen=True)
class ProductCase:
    """One input to a kernel.

    Args:
        name: name of the case.
        bits, group: of the weight.
        inputs, outputs, rows: sizes.
        dtype: of x.
        bias: the layer has one.
        activations: ``grid`` of integers, which rounding to 8 bits does not change, so the result must be
            exact for any kernel; ``normal`` numbers; ``large``: some inputs are a hundred times larger.
        three: x has three dimensions.
        gguf: the weight's numbers are those of a GGUF file: float16 scales by group.
        offset: and it has offsets.
    """

    name: str
    bits: int = 8
    group: int = 32
    inputs: int = 576
    outputs: int = 192
    rows: int = 5
    dtype: str = "float32"
    bias: bool = True
    activations: str = "grid"
    three: bool = False
    gguf: bool = False
    offset: bool = False


def matrix(kernel: LinearKernel, *, quick: bool = False) -> list[ProductCase]:
    """The cases of a kernel, in all of its numbers of bits and dtypes; `quick`: one of each kind."""
    dtypes = [name for name in TOLERANCES if name in kernel.dtypes]
    found = []
    for bits in kernel.bits:
        base = ProductCase("", bits=bits, dtype=dtypes[0])
        cases = [
            replace(base, name="one row", rows=1),
            replace(base, name="several rows"),
            replace(base, name="many rows", rows=70),
            replace(base, name="no bias", bias=False),
            replace(base, name="normal activations", activations="normal", rows=9),
            replace(base, name="outputs that fill no vector", outputs=17),
            *(replace(base, name=f"one row, {size} outputs", rows=1, outputs=size) for size in (33, 40, 100)),
        ]
        cases += [replace(base, name=f"several rows, {dtype}", dtype=dtype, rows=7) for dtype in dtypes[1:]]
        if not quick:
            cases += [
                replace(base, name="large activations", activations="large", rows=9),
                replace(base, name="one output", outputs=1),
                replace(base, name="three dimensions", three=True, rows=6),
                replace(base, name="a long sum", inputs=8192, outputs=33),
                replace(base, name="smallest", inputs=16, outputs=16, group=16),
                *(replace(base, name=f"{rows} rows", rows=rows) for rows in (2, 3, 4, 8, 16, 33, 64, 65)),
            ]
            cases += [
                replace(
                    base, name=f"{rows} normal rows, {dtype}", dtype=dtype, rows=rows, activations="normal"
                )
                for dtype, rows in itertools.product(dtypes[1:], (1, 33))
            ]
            cases += (
                [replace(base, name=f"groups of {group}", group=group, inputs=768) for group in (16, 64, 128)]
                if bits == 4
                else [replace(base, name=f"{inputs} inputs", inputs=inputs) for inputs in (17, 64, 100, 688)]
            )
        if kernel.gguf:
            cases += _gguf_cases(base, dtypes)
        found += [replace(case, name=f"{bits} bits, {case.name}") for case in cases]
    return found


def _gguf_cases(base: ProductCase, dtypes: list[str]) -> list[ProductCase]:
    found = [
        replace(base, name=f"{rows} rows, as in a GGUF file, {dtype}", gguf=True, rows=rows, dtype=dtype)
        for dtype, rows in itertools.product(dtypes, (1, 9))
    ]
    if base.bits == 4:
        found += [replace(case, name=f"{case.name}, offsets", offset=True) for case in found]
    return [*found, replace(found[-1], name="normal activations, as in a GGUF file", activations="normal")]
