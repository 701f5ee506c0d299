"""Choose device, precision and placement of the layers for `auto`, with the reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.errors import OptionError

if TYPE_CHECKING:
    import torch

# Share of a device's free memory for the weights; the rest is for the cache and activations.
_WEIGHT_SHARE = 0.8


@dataclass(frozen=True)
class Placement:
    """Device of a model, or of its inputs if its layers are spread.

    Attributes:
        device: device of the inputs.
        device_map: None for one device; ``"auto"`` lets accelerate spread the layers.
        reason: reason of the choice, for `-v`.
    """

    device: str
    device_map: str | None
    reason: str


def choose_device(asked: str, weight_bytes: int) -> Placement:
    """Turn the option `device` into a placement.

    Args:
        asked: value of the option.
        weight_bytes: size of the weights in the dtype that they will have, in bytes.

    Raises:
        OptionError: this machine does not have the device.
    """
    import torch

    if asked == "auto":
        if torch.cuda.is_available():
            free = [torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count())]
            return plan_placement(weight_bytes, free, "cuda", _free_ram())
        if torch.backends.mps.is_available():
            return Placement("mps", None, "no CUDA device, but Metal")
        return plan_placement(weight_bytes, [], "cpu", _free_ram())
    kind, _, number = asked.partition(":")
    if kind == "cpu" and not number:
        return plan_placement(weight_bytes, [], "cpu", _free_ram())
    if kind == "mps" and not number:
        if not torch.backends.mps.is_available():
            raise OptionError("device", "mps: no Metal device on this machine; see `llmkit doctor`")
        return Placement("mps", None, "requested")
    if kind == "cuda" and (not number or number.isdecimal()):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(number or 0) >= count:
            raise OptionError(
                "device",
                f"{asked}: this machine has {count} CUDA devices that torch can use; see `llmkit doctor`",
            )
        return Placement(asked, None, "requested")
    raise OptionError("device", f"{asked}: not a device; use auto, cpu, cuda, cuda:N or mps")


def plan_placement(weight_bytes: int, gpu_free: list[int], kind: str, ram_free: int) -> Placement:
    """Choose one device if the weights fit on it; otherwise let accelerate spread them.

    Args:
        weight_bytes: size of all weights in bytes.
        gpu_free: free bytes of each GPU, in order; empty without GPUs.
        kind: ``cuda`` or ``cpu``.
        ram_free: free bytes of main memory.
    """
    if kind == "cuda":
        largest = max(range(len(gpu_free)), key=lambda i: gpu_free[i])
        if weight_bytes <= _WEIGHT_SHARE * gpu_free[largest]:
            return Placement(f"cuda:{largest}", None, "it fits on the GPU with the most free memory")
        if weight_bytes <= _WEIGHT_SHARE * sum(gpu_free):
            return Placement("cuda:0", "auto", f"spread over {len(gpu_free)} GPUs")
        return Placement("cuda:0", "auto", "larger than the GPUs: layers offloaded to main memory or disk")
    if weight_bytes <= _WEIGHT_SHARE * ram_free:
        return Placement("cpu", None, "no GPU that torch can use")
    return Placement("cpu", "auto", "larger than main memory: layers offloaded to disk")


def choose_dtype(
    asked: str, stored: torch.dtype, device: str, types: str | None = None
) -> tuple[torch.dtype, str]:
    """Turn the option `dtype` into a torch dtype for weights stored as `stored`, with the reason.

    `types` names the types of quantized weights in the reason; `stored` is then the type of their values.

    On CPUs float16 arithmetic is emulated and runs several times slower than float32. bfloat16 is fast if
    the processor has instructions for it. So weights stored as bfloat16 stay bfloat16 on such processors;
    all others become float32, which holds both formats exactly.

    Raises:
        OptionError: the option has no such value.
    """
    import torch

    named = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if asked in named:
        return named[asked], "requested"
    if asked != "auto":
        raise OptionError("dtype", f"{asked}: use auto, float32, bfloat16 or float16")
    if stored not in named.values():
        return torch.float32, f"stored as {stored}, which models do not run in"
    if device.startswith("cpu"):
        if stored == torch.bfloat16 and cpu_has_bfloat16():
            return torch.bfloat16, "stored as bfloat16, which is fast on this CPU"
        shown = types or _name(stored)
        return torch.float32, f"stored as {shown}, and float32 is the fast exact choice on this CPU"
    if device.startswith("cuda") and stored == torch.bfloat16 and not torch.cuda.is_bf16_supported(False):
        return torch.float32, "stored as bfloat16, which this GPU does not compute in"
    if types not in (None, _name(stored)):
        return stored, f"stored as {types}, of which this is the exact type of values"
    return stored, f"as stored; {device.split(':')[0]} is fast in {_name(stored)}"


def cpu_has_bfloat16() -> bool:
    """Return True if this CPU has bfloat16 arithmetic (AVX512-BF16 or AMX; on Arm, by oneDNN)."""
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
