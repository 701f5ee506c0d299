"""Attention kernels: their declarations, their registration, and the proof that they are right.

``@llmkit.attention.kernel`` declares a function as a kernel. Importing this package does not import torch.
"""

from __future__ import annotations

from llmkit.attention.registry import Kernel, kernel

__all__ = ["Kernel", "kernel"]
