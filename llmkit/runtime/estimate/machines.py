"""Machines to estimate for: their memory, bandwidth, arithmetic and power, from data sheets or a user's file.

Public: `Machine`, `MACHINES`, `machine_named`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from llmkit.errors import InputError, OptionError, did_you_mean

_GB, _TERA = 1e9, 1e12


@dataclass(frozen=True)
class Machine:
    """A device, in the units of data sheets.

    Attributes:
        name: its name.
        memory_gb: memory in GB of 10^9 bytes.
        bandwidth_gbs: bandwidth of that memory in GB/s.
        tflops: dense operations per second in 10^12, of bfloat16 or float16.
        tflops_float32: the same of float32, without TensorFloat-32.
        watts: power at full load; 0 if it is not known.
        source: source of the numbers, with the year.
        kind: ``gpu``, or ``cpu``, whose memory also holds the process.
    """

    name: str
    memory_gb: float
    bandwidth_gbs: float
    tflops: float
    tflops_float32: float
    watts: float = 0.0
    source: str = ""
    kind: str = "gpu"

    @property
    def memory(self) -> float:
        """Return its memory in bytes."""
        return self.memory_gb * _GB

    def read_seconds(self, size: float) -> float:
        """Return the seconds that reading `size` bytes takes at least."""
        return size / (self.bandwidth_gbs * _GB)

    def compute_seconds(self, operations: float, dtype: str) -> float:
        """Return the seconds that so many operations take at least."""
        return operations / ((self.tflops_float32 if dtype == "float32" else self.tflops) * _TERA)


# Dense figures: data sheets often print twice as much, for sparse matrices.
MACHINES = {
    one.name: one
    for one in (
        Machine("t4", 16, 320, 65, 8.1, 70, "NVIDIA T4 data sheet, 2019 (float16)"),
        Machine("rtx3090", 24, 936, 71, 35.6, 350, "NVIDIA GA102 whitepaper, 2021"),
        Machine("rtx4090", 24, 1008, 165.2, 82.6, 450, "NVIDIA Ada whitepaper, 2022"),
        Machine("l4", 24, 300, 121, 30.3, 72, "NVIDIA L4 data sheet, 2023"),
        Machine("a100", 80, 2039, 312, 19.5, 400, "NVIDIA A100 80GB SXM data sheet, 2021"),
        Machine("h100", 80, 3350, 989, 67, 700, "NVIDIA H100 SXM data sheet, 2023"),
        Machine("h200", 141, 4800, 989, 67, 700, "NVIDIA H200 SXM data sheet, 2024"),
        # 2 channels x 8 bytes x 5.6 GHz; 8 cores x 4 GHz x 32 operations (two AVX2 units).
        Machine(
            "cpu", 32, 89.6, 1.0, 1.0, 65, "by arithmetic: 8 cores with AVX2, 2 channels DDR5-5600", "cpu"
        ),
    )
}


def machine_named(name: str) -> Machine:
    """Return a known machine, or the one that a JSON file describes.

    Raises:
        OptionError: no machine has this name.
        InputError: the file is not an object with the attributes of `Machine`.
    """
    if name.lower() in MACHINES:
        return MACHINES[name.lower()]
    if not name.endswith(".json"):
        raise OptionError(
            "on",
            f"{name} is not known{did_you_mean(name, MACHINES)}; use this, {', '.join(MACHINES)} or a .json"
            " file",
        )
    try:
        found = json.loads(Path(name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{name}: not readable as JSON ({error})") from None
    return _checked(found, name)


def _checked(found: Any, name: str) -> Machine:
    known = {one.name: one.type for one in fields(Machine)}
    if not isinstance(found, dict) or not found.keys() <= known.keys():
        raise InputError(f"{name}: must be an object with {', '.join(known)}")
    values: dict[str, Any] = {"name": Path(name).stem, "source": name, **found}
    for key, value in values.items():
        if known[key] == "str":
            if not isinstance(value, str):
                raise InputError(f"{name}: {key} must be a text")
        elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(f"{name}: {key} must be a number")
        elif value < 0 or (value == 0 and key != "watts"):
            raise InputError(f"{name}: {key} must be above 0")
    if values.get("kind", "gpu") not in ("gpu", "cpu"):
        raise InputError(f"{name}: kind must be gpu or cpu")
    missing = [key for key in ("memory_gb", "bandwidth_gbs", "tflops", "tflops_float32") if key not in values]
    if missing:
        raise InputError(f"{name}: {missing[0]} is missing")
    return Machine(**values)
