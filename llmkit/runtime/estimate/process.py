"""Memory of this process and of the device: peak and free memory.

Public: `measured_peak`, `available`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def measured_peak(device: torch.device) -> int:
    """Return the peak in bytes so far: of this process (on a CPU), or of the allocated memory (on a GPU)."""
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource
    import sys

    # Prefer /proc: getrusage also counts the program that ran in this process before `exec`.
    status = Path("/proc/self/status")
    own = (
        status.read_text(encoding="utf-8", errors="replace").partition("VmHWM:")[2]
        if status.is_file()
        else ""
    )
    if own:
        return int(own.split()[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def available(device: torch.device) -> int:
    """Return the bytes that training may use: nine tenths of free memory, plus what this process has."""
    import psutil
    import torch

    if device.type == "cuda":
        return int(0.9 * torch.cuda.mem_get_info(device)[0]) + torch.cuda.memory_allocated(device)
    return int(0.9 * psutil.virtual_memory().available) + int(psutil.Process().memory_info().rss)
