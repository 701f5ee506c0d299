"""Find the attention kernel of the option `attn`, and verify a user's own kernel before its first use.

A kernel from a file is verified once: the user's cache keeps the hash of each file that passed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from llmkit import __version__
from llmkit.errors import OptionError
from llmkit.user_folder import cache_folder

if TYPE_CHECKING:
    from llmkit.attention.registry import Kernel
    from llmkit.runtime.spec import ModelSpec


def find_kernel(spec: ModelSpec, device: str) -> Kernel | None:
    """Return the kernel that `spec.attn` names; None if it names none.

    Args:
        spec: the request.
        device: device of the model.

    Raises:
        OptionError: the kernel does not exist, may not run, does not run on the device, or is wrong.
    """
    if spec.attn is None:
        return None
    from llmkit.attention.registry import find, require_device

    kernel = find(spec.attn, trust_remote_code=spec.trust_remote_code)
    require_device(kernel, device)
    if kernel.file is not None and spec.verify_attn:
        _prove(kernel, device)
    return kernel


def _prove(kernel: Kernel, device: str) -> None:
    """Verify a kernel with the quick cases, unless this file has passed on such a device before."""
    from llmkit.attention.verify import verify
    from llmkit.attention.verify_model import small_model, verify_inside

    mark = cache_folder("kernels") / f"{kernel.interface_name}-{device.partition(':')[0]}-{__version__}"
    if os.path.exists(mark):  # False too if the user has no permission to look
        return
    results = [
        *verify(kernel, device=device, quick=True),
        *verify_inside(kernel, small_model(kernel).to(device)),
    ]
    failed = [one for one in results if one.passed is False]
    if failed:
        first = failed[0]
        off = f"off by {first.error:.2g}, {first.tolerance:.0e} allowed" if first.error is not None else ""
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        raise OptionError(
            "attn",
            f"{kernel.name} is wrong: {first.name}{more} ({first.note or off}); `llmkit kernels verify"
            f" {kernel.name}` shows all cases, `no_verify` runs it without this check",
        )
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError:
        pass  # it is verified again the next time
