"""Time products of few rows, as in decoding; compare with torch and with the memory limit.

The weights are used in turn and together exceed the processor's caches, so each call reads its weight from
memory, as in a large model.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from llmkit.errors import one_line
from llmkit.linear import native_build
from llmkit.linear.formats import QuantizedWeight, fitting_group
from llmkit.linear.registry import LinearKernel, PackedWeight

ROTATED = 1 << 27
"""Bytes of weights that a call rotates over, at least."""
_MOST_COPIES = 256
SHAPES = ((576, 1536), (2048, 2048), (8192, 2048))
"""Inputs and outputs: the layers of a 135M and of a 1B model."""
PLAIN, PREPACKED, DYNAMIC = "F.linear", "oneDNN prepacked", "quantized.linear_dynamic"


@dataclass(frozen=True)
class ProductTiming:
    """A way to multiply, on a shape.

    Attributes:
        way: name of a kernel with bits and group, or of a method of torch.
        inputs, outputs, rows: the sizes.
        seconds: median of a call; None where it cannot run.
        bandwidth: bytes of the weight read in a second.
        times: speedup over `F.linear` in the same dtype.
        note: reason why there is no time.
    """

    way: str
    inputs: int
    outputs: int
    rows: int
    seconds: float | None
    bandwidth: float | None
    times: float | None
    note: str = ""


def read_bandwidth() -> float:
    """Bytes a second that torch's threads read from memory, by a native loop.

    Raises:
        CannotBuildError: there is no compiler.
    """
    read = native_build.reader(native_build.best())
    buffer = torch.ones(ROTATED // 4, dtype=torch.int64)
    part = (4 << 20) // buffer.itemsize  # a short read is rarely disturbed by other programs
    taken = []
    for first in range(0, buffer.numel() - part + 1, part):
        started = time.perf_counter()
        read(buffer[first:].data_ptr(), part, torch.get_num_threads())
        taken.append(time.perf_counter() - started)
    return part * buffer.itemsize / min(taken)


@dataclass
class _Way:
    name: str
    run: Callable[[torch.Tensor, Any], torch.Tensor]
    weights: list[Any]
    nbytes: int
    at: int = 0

    def next(self) -> Any:
        self.at = (self.at + 1) % len(self.weights)
        return self.weights[self.at]


def compare(
    kernels: Sequence[LinearKernel],
    *,
    dtype: torch.dtype = torch.bfloat16,
    shapes: Sequence[tuple[int, int]] = SHAPES,
    rows: Sequence[int] = (1, 8, 32),
    groups: Sequence[int] = (32, 128),
    rounds: int = 100,
    patience: float = 5.0,
) -> list[ProductTiming]:
    """Time kernels and torch's products by turns on the CPU, so that a noisy machine disturbs all of them
    alike.

    Args:
        kernels: which; each with all of its bits.
        dtype: of x, and of the weights of `F.linear`.
        shapes: inputs and outputs of layers.
        rows: rows of x.
        groups: groups of 4-bit weights; one that does not divide the inputs is made smaller.
        rounds: calls of each way; the median counts.
        patience: seconds after which a shape gets no more rounds.
    """
    found = []
    for inputs, outputs in shapes:
        ways = _ways(kernels, inputs, outputs, groups, dtype)
        for count in rows:
            x = torch.randn(count, inputs, generator=torch.Generator().manual_seed(0)).to(dtype)
            times, failed = _times(ways, x, rounds, patience)
            medians = {name: statistics.median(taken) for name, taken in times.items() if taken}
            for way in ways:
                seconds = medians.get(way.name)
                found.append(
                    ProductTiming(
                        way.name,
                        inputs,
                        outputs,
                        count,
                        seconds,
                        way.nbytes / seconds if seconds else None,
                        medians[PLAIN] / seconds if seconds else None,
                        failed.get(way.name, ""),
                    )
                )
    return found


def _times(
    ways: Sequence[_Way], x: torch.Tensor, rounds: int, patience: float
) -> tuple[dict[str, list[float]], dict[str, str]]:
    times: dict[str, list[float]] = {way.name: [] for way in ways}
    failed: dict[str, str] = {}
    began = time.perf_counter()
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces the end of its quantized types
        for number in range(rounds + 2):
            for way in ways:
                if way.name in failed:
                    continue
                weight = way.next()
                started = time.perf_counter()
                try:
                    way.run(x, weight)
                except Exception as error:
                    # A kernel that cannot run a shape is reported, and the others are still timed.
                    failed[way.name] = f"{type(error).__name__}: {one_line(error, 200)}"
                    continue
                if number > 1:  # the first two warm up
                    times[way.name].append(time.perf_counter() - started)
            if number > 10 and time.perf_counter() - began > patience:
                break
    return times, failed


def _ways(
    kernels: Sequence[LinearKernel], inputs: int, outputs: int, groups: Sequence[int], dtype: torch.dtype
) -> list[_Way]:
    made = torch.Generator().manual_seed(inputs + outputs)
    weight = torch.randn(outputs, inputs, generator=made).to(dtype)
    copies = _copies(weight.nbytes)
    found = [
        _Way(PLAIN, torch.nn.functional.linear, [weight.clone() for _ in range(copies)], weight.nbytes),
        *_torch_ways(weight, copies),
    ]
    for kernel in kernels:
        for bits in kernel.bits:
            sizes = {fitting_group(inputs, group) for group in groups} - {None} if bits == 4 else {inputs}
            for size in sorted(size for size in sizes if size is not None):
                packed = kernel.packed(_random(outputs, inputs, bits, size, made))
                nbytes = sum(tensor.nbytes for tensor in packed.tensors.values())
                name = f"{kernel.name} int{bits}" + (f" g{size}" if bits == 4 else "")
                weights = [_copy(packed) for _ in range(_copies(nbytes))]
                found.append(_Way(name, kernel.function, weights, nbytes))
    return found


def _onednn_multiplies_bfloat16() -> bool:
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _torch_ways(weight: torch.Tensor, copies: int) -> list[_Way]:
    found = []
    if weight.dtype == torch.bfloat16 and _onednn_multiplies_bfloat16():
        reorder, multiply = torch.ops.mkldnn._reorder_linear_weight, torch.ops.mkldnn._linear_pointwise
        reordered = [reorder(weight) for _ in range(copies)]
        found.append(
            _Way(PREPACKED, lambda x, w: multiply(x, w, None, "none", [], ""), reordered, weight.nbytes)
        )
    if "x86" in torch.backends.quantized.supported_engines and hasattr(torch.ops.quantized, "linear_prepack"):
        torch.backends.quantized.engine = "x86"
        outputs = weight.shape[0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rounded = torch.quantize_per_channel(
                weight.float(),
                torch.full((outputs,), 0.03),
                torch.zeros(outputs, dtype=torch.long),
                0,
                torch.qint8,
            )
            nbytes = weight.numel()
            packed = [torch.ops.quantized.linear_prepack(rounded, None) for _ in range(_copies(nbytes))]
        run = torch.ops.quantized.linear_dynamic
        found.append(_Way(DYNAMIC, lambda x, w: run(x.float(), w).to(x.dtype), packed, nbytes))
    return found


def _copies(nbytes: int) -> int:
    return min(_MOST_COPIES, max(2, -(-ROTATED // nbytes)))


def _random(outputs: int, inputs: int, bits: int, group: int, made: torch.Generator) -> QuantizedWeight:
    high = 127 if bits == 8 else 7
    values = torch.randint(-high, high + 1, (outputs, inputs), generator=made).to(torch.int8)
    scale = torch.rand(outputs, inputs // group, generator=made) * 0.01
    return QuantizedWeight(values, scale.to(torch.bfloat16), bits, group)


def _copy(packed: PackedWeight) -> PackedWeight:
    tensors = {name: tensor.clone() for name, tensor in packed.tensors.items()}
    return PackedWeight(tensors, packed.bits, packed.group, packed.outputs, packed.inputs)
