"""Time kernels side by side, and compare them with the limits of the device.

Attention is limited by arithmetic if many queries share the keys, and by memory bandwidth if one query reads
a long cache. A matrix product and a copy measure both limits; a kernel's share is of the limit that binds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch

from llmkit.attention.interface import additive, causal_pattern, wrap_kernel
from llmkit.attention.registry import Kernel
from llmkit.attention.verify import reason


@dataclass(frozen=True)
class AttentionShape:
    """Sizes of a timed call: a causal prefill (queries = keys) or a decoding step."""

    name: str
    batch: int
    heads: int
    kv_heads: int
    queries: int
    keys: int
    head_dim: int

    @property
    def operations(self) -> int:
        """Multiplications and additions of both products; half of them for a causal prefill."""
        full = 4 * self.batch * self.heads * self.queries * self.keys * self.head_dim
        return full // 2 if self.queries == self.keys > 1 else full

    def moved(self, itemsize: int) -> int:
        """Return the bytes that must be read and written: queries, keys, values, output."""
        heads = 2 * self.heads * self.queries + 2 * self.kv_heads * self.keys
        return self.batch * heads * self.head_dim * itemsize


SHAPES = (
    AttentionShape("prefill 128", 1, 32, 8, 128, 128, 64),
    AttentionShape("prefill 512", 1, 32, 8, 512, 512, 64),
    AttentionShape("prefill 512, batch 4", 4, 32, 8, 512, 512, 64),
    AttentionShape("decode, 1,024 cached", 1, 32, 8, 1, 1024, 64),
    AttentionShape("decode, 1,024 cached, batch 8", 8, 32, 8, 1, 1024, 64),
)


@dataclass(frozen=True)
class Timing:
    """Time of a kernel on a shape.

    Attributes:
        kernel: name of the kernel.
        shape: name of the shape.
        seconds: median of a call; None if the kernel cannot run the shape.
        share: share of the device's limit that was reached.
        bound: the limit that binds: arithmetic or bandwidth.
        note: reason why there is no time.
    """

    kernel: str
    shape: str
    seconds: float | None
    share: float | None
    bound: str
    note: str = ""


@dataclass(frozen=True)
class Limits:
    """Limits of the device: operations a second of a matrix product, and bytes per second of a copy."""

    operations: float
    bandwidth: float


def limits(device: str, dtype: torch.dtype) -> Limits:
    """Measure the limits of a device."""
    a = torch.randn(2048, 2048, device=device).to(dtype)
    big = torch.zeros(1 << 26, dtype=torch.uint8, device=device)
    into = torch.empty_like(big)
    product = _median(lambda: a @ a, device, 5)
    copy = _median(lambda: into.copy_(big), device, 5)
    return Limits(2 * 2048**3 / product, 2 * big.numel() / copy)


def compare(
    kernels: Sequence[Kernel],
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    shapes: Sequence[AttentionShape] = SHAPES,
    rounds: int = 7,
) -> tuple[Limits, list[Timing]]:
    """Time kernels in turns, so that a noisy machine disturbs all of them equally.

    Args:
        kernels: the kernels.
        device: device to run on.
        dtype: dtype of queries, keys and values.
        shapes: the sizes to time.
        rounds: calls of each kernel; the median counts.

    Returns:
        The device's limits, and a time for each shape and kernel.
    """
    reached = limits(device, dtype)
    found = []
    for shape in shapes:
        made = torch.Generator().manual_seed(0)
        tensors = [
            torch.randn(shape.batch, heads, length, shape.head_dim, generator=made).to(device, dtype)
            for heads, length in (
                (shape.heads, shape.queries),
                (shape.kv_heads, shape.keys),
                (shape.kv_heads, shape.keys),
            )
        ]
        runs = {kernel.name: _timed_call(kernel, shape, tensors) for kernel in kernels}
        times: dict[str, list[float]] = {name: [] for name in runs}
        failed: dict[str, str] = {}
        for number in range(rounds + 1):
            for name, run in runs.items():
                if name in failed:
                    continue
                try:
                    taken = _median(run, device, 1)
                except Exception as error:
                    # The reason is reported, and the other kernels are still timed.
                    failed[name] = reason(name, error)
                    continue
                if number:
                    times[name].append(taken)
        least_work = shape.operations / reached.operations
        least_traffic = shape.moved(dtype.itemsize) / reached.bandwidth
        bound = "arithmetic" if least_work > least_traffic else "bandwidth"
        for name in runs:
            if name in failed:
                found.append(Timing(name, shape.name, None, None, bound, failed[name]))
            else:
                seconds = statistics.median(times[name])
                found.append(
                    Timing(name, shape.name, seconds, max(least_work, least_traffic) / seconds, bound)
                )
    return reached, found


def _timed_call(
    kernel: Kernel, shape: AttentionShape, tensors: Sequence[torch.Tensor]
) -> Callable[[], object]:
    query, key, value = tensors
    attention = wrap_kernel(kernel)
    mask: Any = None
    if kernel.mask in {"boolean", "additive"} and "is_causal" not in kernel.supports:
        mask = causal_pattern(shape.queries, shape.keys, query.device).expand(shape.batch, 1, -1, -1)
        mask = additive(mask, query.dtype) if kernel.mask == "additive" else mask
    module: Any = SimpleNamespace(
        is_causal=True,
        num_key_value_groups=shape.heads // shape.kv_heads,
        layer_idx=0,
        training=False,
        config=SimpleNamespace(_attn_implementation=kernel.name),
    )

    def run() -> object:
        with torch.inference_mode():
            return attention(module, query, key, value, mask, scaling=shape.head_dim**-0.5)

    return run


def _median(run: Callable[[], object], device: str, times: int) -> float:
    taken = []
    for _ in range(times):
        _wait(device)
        started = time.perf_counter()
        run()
        _wait(device)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
