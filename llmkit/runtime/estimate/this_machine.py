"""The machine that this runs on: its memory, and its measured bandwidth and arithmetic.

Public: `find_machine`, `this_machine`, `measure_speed`, `Speed`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmkit.runtime.estimate.machines import Machine, machine_named
from llmkit.runtime.estimate.remember import remembered

if TYPE_CHECKING:
    import torch

_CPU_SIZE, _GPU_SIZE = 1024, 8192


@dataclass(frozen=True)
class Speed:
    """Measured limits of a device.

    Attributes:
        bandwidth: bytes read from memory in a second.
        operations: floating-point operations in a second, in a large matrix product.
        notes: remarks on the measurement, if it differs from the usual one.
    """

    bandwidth: float
    operations: float
    notes: tuple[str, ...] = ()


def find_machine(name: str) -> Machine:
    """Return this machine for ``this``, else as `machine_named`."""
    return this_machine() if name.lower() == "this" else machine_named(name)


def this_machine() -> Machine:
    """Return this machine with its first GPU, or with its processor; measured once and remembered.

    The memory is what is free now, plus what this process has.
    """
    import torch

    from llmkit.runtime.estimate.process import available

    device = "cuda:0" if torch.cuda.is_available() else "cpu"

    def measure() -> dict[str, float]:
        plain, half = (measure_speed(device, dtype) for dtype in (torch.float32, torch.bfloat16))
        return {"bandwidth": plain.bandwidth, "float32": plain.operations, "bfloat16": half.operations}

    found = remembered("machine", {"device": device}, measure)
    name = torch.cuda.get_device_name(0) if device != "cpu" else "this machine"
    return Machine(
        name=name,
        memory_gb=round(available(torch.device(device)) / 0.9 / 1e9, 1),
        bandwidth_gbs=round(found["bandwidth"] / 1e9, 1),
        tflops=round(found["bfloat16"] / 1e12, 3),
        tflops_float32=round(found["float32"] / 1e12, 3),
        source=f"measured here, with {torch.get_num_threads()} threads; memory that is free now",
        kind="cpu" if device == "cpu" else "gpu",
    )


def measure_speed(device: str, dtype: torch.dtype, size: int | None = None) -> Speed:
    """Measure the bandwidth of memory, and the arithmetic of a matrix product.

    Args:
        device: a device of torch.
        dtype: of the product.
        size: rows and columns of its matrices; None is large enough for the device.
    """
    import torch

    from llmkit.linear.benchmark import read_bandwidth
    from llmkit.native_build import CannotBuildError

    notes: list[str] = []
    bandwidth = 0.0
    if device == "cpu":
        try:
            bandwidth = read_bandwidth()
        except CannotBuildError as error:
            notes.append(
                f"bandwidth measured by a sum in torch, since no native loop could be built: {error}"
            )
    else:
        notes.append("bandwidth measured by a copy")
    if not bandwidth:
        big = torch.ones(1 << 24, dtype=torch.int64, device=device)
        if device == "cpu":
            bandwidth = big.nbytes / _fastest(lambda: big.sum(), device)
        else:
            into = torch.empty_like(big)
            bandwidth = 2 * big.nbytes / _fastest(lambda: into.copy_(big), device)
    size = size or (_CPU_SIZE if device == "cpu" else _GPU_SIZE)
    a = torch.randn(size, size, device=device).to(dtype)
    operations = 2 * size**3 / _fastest(lambda: a @ a, device)
    return Speed(bandwidth, operations, tuple(notes))


def _fastest(run: Callable[[], object], device: str, times: int = 20) -> float:
    """Return the seconds of the fastest call; a short call is rarely disturbed every time."""
    import torch

    taken = []
    for _ in range(times):
        started = time.perf_counter()
        run()
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        elif device == "mps":
            torch.mps.synchronize()
        taken.append(time.perf_counter() - started)
    return min(taken)
