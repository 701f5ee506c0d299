"""Test cases for kernels: lengths, heads, padding, windows, caches, dtypes, and gradients."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

from llmkit.attention.registry import Kernel

TOLERANCES = {"float64": 1e-10, "float32": 2e-5, "bfloat16": 3e-2, "float16": 4e-3}
"""Largest allowed difference from float64 on inputs from N(0, 1); outputs are of the order of 1."""
BACKWARD = 5.0
"""Factor of the tolerance for gradients, which are sums over queries or keys."""
BLOCK = 64
"""A usual block size of kernels; a case has one token more."""


_IN_EVERY_DTYPE = (
    "causal",
    "left padding",
    "fewer key and value heads",
    "cached decoding, one token",
    "cached decoding, several tokens",
    "gradients",
)


@dataclass(frozen=True)
class Case:
    """One input to a kernel.

    Attributes:
        name: name for people.
        batch, heads, kv_heads, queries, keys, head_dim: sizes.
        causal: each query sees the keys up to its own; the last query sees the last key.
        padding: `left` or `right`: a different share of each row is padding; None for no padding.
        window: most keys that a query sees, its own included.
        softcap, sinks, bias: features of the models that have them.
        packed: two texts in a row that do not see each other.
        first_row_fully_masked: the first row sees no key.
        strided: the inputs are views, as a model's projections are.
        dtype: dtype of the inputs.
        backward: gradients are compared too.
    """

    name: str
    batch: int = 2
    heads: int = 4
    kv_heads: int = 4
    queries: int = 17
    keys: int = 17
    head_dim: int = 64
    causal: bool = True
    padding: str | None = None
    window: int | None = None
    softcap: float | None = None
    sinks: bool = False
    bias: bool = False
    packed: bool = False
    first_row_fully_masked: bool = False
    strided: bool = False
    dtype: str = "float32"
    backward: bool = False

    @property
    def needs(self) -> frozenset[str]:
        """The abilities that the case needs."""
        asked = {
            "softcap": self.softcap is not None,
            "sinks": self.sinks,
            "position_bias": self.bias,
            "backward": self.backward,
        }
        return frozenset(name for name, yes in asked.items() if yes)


def matrix(kernel: Kernel, *, quick: bool = False) -> list[Case]:
    """Return the cases for a kernel, in all of its dtypes; `quick` gives those that fail most often."""
    dtypes = [name for name in TOLERANCES if name in kernel.dtypes]
    first = "float32" if "float32" in dtypes else dtypes[0]
    size = kernel.head_dims[0] if kernel.head_dims else 64
    short = Case("", head_dim=size, dtype=first)
    cases = [
        replace(short, name="causal"),
        replace(short, name="not causal", causal=False),
        replace(short, name="left padding", padding="left"),
        replace(short, name="fewer key and value heads", kv_heads=2),
        replace(short, name="cached decoding, one token", queries=1, keys=33),
        replace(short, name="cached decoding, several tokens", queries=5, keys=33),
        replace(short, name="a fully masked row", first_row_fully_masked=True),
        replace(short, name="packed sequences", packed=True),
        replace(short, name="gradients", backward=True, kv_heads=2),
    ]
    if quick:
        return cases
    cases += [
        replace(short, name="one token", queries=1, keys=1),
        replace(short, name="one past a block", queries=BLOCK + 1, keys=BLOCK + 1),
        replace(short, name="long", batch=1, queries=1000, keys=1000),
        replace(short, name="batch of one", batch=1),
        replace(short, name="one key and value head", kv_heads=1, queries=33, keys=33),
        replace(short, name="right padding", padding="right"),
        replace(short, name="left padding, cached", padding="left", queries=3, keys=40),
        replace(short, name="left padding, long", padding="left", queries=130, keys=130, kv_heads=2),
        replace(short, name="sliding window", window=5),
        replace(short, name="sliding window, cached", window=7, queries=2, keys=40),
        replace(short, name="sliding window, left padding", window=5, padding="left"),
        replace(short, name="cross-attention", causal=False, queries=9, keys=40),
        replace(short, name="cross-attention, padding", causal=False, queries=9, keys=40, padding="right"),
        replace(short, name="views of a projection", strided=True, kv_heads=2),
        replace(short, name="softcap", softcap=2.0),
        replace(short, name="sinks", sinks=True),
        replace(short, name="position bias", bias=True),
        replace(short, name="position bias, left padding", bias=True, padding="left"),
        replace(short, name="gradients, left padding", backward=True, padding="left"),
        replace(short, name="gradients, a fully masked row", backward=True, first_row_fully_masked=True),
        replace(short, name="gradients, several texts", backward=True, packed=True),
    ]
    cases += [
        replace(short, name=f"head size {other}", head_dim=other)
        for other in (kernel.head_dims or (32, 80, 96, 128))
        if other != size
    ]
    for dtype, one in itertools.product(dtypes, _IN_EVERY_DTYPE):
        if dtype != first:
            same = next(case for case in cases if case.name == one)
            cases.append(replace(same, name=f"{one}, {dtype}", dtype=dtype))
    return cases
