"""The attention kernel that `--attn` names, proven before its first use and seen to be called.

A user's own file is verified once: what passed is remembered by the file's content in the user's cache.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from llmkit import __version__
from llmkit.errors import InputError, NoticeWarning

if TYPE_CHECKING:
    from llmkit.attention.registry import Kernel
    from llmkit.runtime.spec import ModelSpec


def find_kernel(spec: ModelSpec, device: str) -> Kernel | None:
    """The kernel that `spec.attn` names; None where it names none.

    Args:
        spec: what was asked for.
        device: where the model is going to be.

    Raises:
        InputError: there is none, it may not be run, it does not run there, or it is wrong.
    """
    if spec.attn is None:
        return None
    from llmkit.attention.registry import find, require_device

    kernel = find(spec.attn, trust_remote_code=spec.trust_remote_code)
    require_device(kernel, device)
    if kernel.name == "flex_attention" and device == "cpu":
        warnings.warn(
            "torch compiles flex_attention before its first use, which takes minutes on a CPU",
            NoticeWarning,
            stacklevel=2,
        )
    if kernel.file is not None and spec.verify_attn:
        _prove(kernel, device)
    return kernel


def _prove(kernel: Kernel, device: str) -> None:
    """Verify a kernel quickly, unless this very file has passed before on such a device."""
    from llmkit.attention.verify import verify
    from llmkit.attention.verify_model import small_model, verify_inside

    mark = _cache() / f"{kernel.interface_name}-{device.partition(':')[0]}-{__version__}"
    if mark.exists():
        return
    results = [
        *verify(kernel, device=device, quick=True),
        *verify_inside(kernel, small_model(kernel).to(device)),
    ]
    failed = [one for one in results if one.passed is False]
    if failed:
        first = failed[0]
        off = f"off by {first.error:.2g}, {first.tolerance:.0e} allowed" if first.error is not None else ""
        wrong = first.note or off
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        raise InputError(
            f"--attn {kernel.name} is wrong: {first.name}{more} ({wrong}); `llmkit kernels verify"
            f" {kernel.name}` shows all, --no-verify runs it as it is"
        )
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError:
        pass  # it is proven again the next time


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "llmkit" / "kernels"
