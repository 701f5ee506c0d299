"""Attention kernels: what each declares, how it is registered, and the proof that it is right.

``@llmkit.attention.kernel`` marks a function as a kernel; nothing here imports torch until it is needed.
"""

from __future__ import annotations

from llmkit.attention.registry import Kernel, kernel

__all__ = ["Kernel", "kernel"]
