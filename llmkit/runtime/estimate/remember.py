"""Keep measurements of this machine in the cache folder, so that each is made once.

Public: `remembered`, `machine_key`.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llmkit.user_folder import cache_folder
from llmkit.whole_file import write_whole

_MOST = 1 << 20  # bytes of a file of measurements


def remembered(
    kind: str,
    key: dict[str, Any],
    measure: Callable[[], dict[str, float]],
    *,
    again: bool = False,
    keep: Callable[[], bool] = lambda: True,
) -> dict[str, float]:
    """Return numbers that were measured for a key, or measure them now and keep them.

    Args:
        kind: name of the measurement.
        key: what the numbers depend on; the machine and its libraries are added.
        measure: makes the measurement.
        again: measure even if there are numbers.
        keep: asked after the measurement; False does not keep it.

    Returns:
        Finite numbers by name.
    """
    whole = json.dumps({**machine_key(), **key}, sort_keys=True)
    path = cache_folder("estimate") / f"{kind}-{hashlib.sha256(whole.encode()).hexdigest()[:24]}.json"
    if not again and (found := _read(path, whole)) is not None:
        return found
    values = measure()
    if not keep():
        return values
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps({"key": whole, "values": values}))
    except OSError:
        pass  # it is measured again the next time
    return values


def machine_key() -> dict[str, Any]:
    """Return what every measurement depends on: processor, threads, and versions."""
    import torch
    import transformers

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }


def _read(path: Path, key: str) -> dict[str, float] | None:
    """Return the numbers of a file; None if it is missing, damaged, or of another key."""
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.stat().st_size < _MOST else None
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("key") != key or not isinstance(found.get("values"), dict):
        return None
    values: dict[str, float] = {}
    for name, value in found["values"].items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return None
        values[name] = value
    return values


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line), "")
