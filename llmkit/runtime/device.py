"""Which device, which precision, and where each layer goes: the choices behind `auto`, with their reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError

if TYPE_CHECKING:
    import torch

# Share of a device's free memory that weights may take; the rest is for the cache and activations.
_WEIGHT_SHARE = 0.8


@dataclass(frozen=True)
class Placement:
    """Where a model goes.

    Attributes:
        device: the device of its inputs.
        device_map: None for one device, ``"auto"`` where accelerate spreads the layers.
        reason: why, for `-v`.
    """

    device: str
    device_map: str | None
    reason: str


def choose_device(asked: str, weight_bytes: int) -> Placement:
    """Turn `--device` into a placement for weights of `weight_bytes` bytes (in the dtype they will have).

    Raises:
        InputError: the device named is not on this machine.
    """
    import torch

    if asked == "auto":
        if torch.cuda.is_available():
            free = [torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count())]
            return plan_placement(weight_bytes, free, "cuda", _free_ram())
        if torch.backends.mps.is_available():
            return Placement("mps", None, "no CUDA device, Metal is there")
        return plan_placement(weight_bytes, [], "cpu", _free_ram())
    kind, _, number = asked.partition(":")
    if kind == "cpu" and not number:
        return plan_placement(weight_bytes, [], "cpu", _free_ram())
    if kind == "mps" and not number:
        if not torch.backends.mps.is_available():
            raise InputError("--device mps: no Metal device on this machine; see `llmkit doctor`")
        return Placement("mps", None, "asked for")
    if kind == "cuda" and (not number or number.isdigit()):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(number or 0) >= count:
            raise InputError(
                f"--device {asked}: this machine has {count} CUDA devices that torch can use;"
                " see `llmkit doctor`"
            )
        return Placement(asked, None, "asked for")
    raise InputError(f"--device {asked}: not a device; use auto, cpu, cuda, cuda:N or mps")


def plan_placement(weight_bytes: int, gpu_free: list[int], kind: str, ram_free: int) -> Placement:
    """Pick one device if the weights fit it, else let accelerate spread them over all there is.

    Args:
        weight_bytes: size of all weights in bytes.
        gpu_free: free bytes of each GPU, in order; empty for none.
        kind: ``cuda`` or ``cpu``.
        ram_free: free bytes of main memory.
    """
    if kind == "cuda":
        roomiest = max(range(len(gpu_free)), key=lambda i: gpu_free[i])
        if weight_bytes <= _WEIGHT_SHARE * gpu_free[roomiest]:
            return Placement(f"cuda:{roomiest}", None, "the GPU with the most free memory holds it")
        if weight_bytes <= _WEIGHT_SHARE * sum(gpu_free):
            return Placement("cuda:0", "auto", f"spread over {len(gpu_free)} GPUs")
        return Placement("cuda:0", "auto", "larger than the GPUs: layers offloaded to main memory or disk")
    if weight_bytes <= _WEIGHT_SHARE * ram_free:
        return Placement("cpu", None, "no GPU that torch can use")
    return Placement("cpu", "auto", "larger than main memory: layers offloaded to disk")


def choose_dtype(asked: str, stored: torch.dtype, device: str) -> tuple[torch.dtype, str]:
    """Turn `--dtype` into a torch dtype for weights stored as `stored`, with the reason.

    On CPUs float16 arithmetic is emulated and runs several times slower than float32; bfloat16 is fast
    where the processor has instructions for it. So: what is stored as bfloat16 stays so where the
    hardware helps, everything else becomes float32, which holds both exactly.
    """
    import torch

    named = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if asked in named:
        return named[asked], "asked for"
    if asked != "auto":
        raise InputError(f"--dtype {asked}: use auto, float32, bfloat16 or float16")
    if stored not in named.values():
        return torch.float32, f"stored as {stored}, which models do not run in"
    if device.startswith("cpu"):
        if stored == torch.bfloat16 and cpu_has_bfloat16():
            return torch.bfloat16, "stored as bfloat16, and this CPU computes in it"
        return torch.float32, f"stored as {_name(stored)}, and float32 is the fast exact choice on this CPU"
    if device.startswith("cuda") and stored == torch.bfloat16 and not torch.cuda.is_bf16_supported(False):
        return torch.float32, "stored as bfloat16, which this GPU does not compute in"
    return stored, f"as stored; {device.split(':')[0]} is fast in {_name(stored)}"


def cpu_has_bfloat16() -> bool:
    """Whether this CPU has bfloat16 arithmetic (AVX512-BF16 or AMX; Arm's reports through oneDNN)."""
    import platform

    import torch

    if platform.machine() in {"arm64", "aarch64"}:
        return bool(torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported())
    cpu: Any = torch.cpu
    return bool(cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported())


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _free_ram() -> int:
    import psutil

    return int(psutil.virtual_memory().available)
