"""llmkit: load, use, teach and judge the language models that you run yourself.

The names below are imported when first touched, so that ``import llmkit`` costs milliseconds. So is
`llmkit.attention`, with the decorator for attention kernels.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from llmkit.errors import InputError, LLMKitError
    from llmkit.runtime.load import LoadedModel, load
    from llmkit.runtime.spec import ModelSpec
    from llmkit.tasks.generation import GenerationOptions, generate, stream
    from llmkit.tasks.pipeline import pipeline
    from llmkit.training.pretraining.pretrain import pretrain

_HOME = {
    "GenerationOptions": "llmkit.tasks.generation",
    "InputError": "llmkit.errors",
    "LLMKitError": "llmkit.errors",
    "LoadedModel": "llmkit.runtime.load",
    "ModelSpec": "llmkit.runtime.spec",
    "generate": "llmkit.tasks.generation",
    "load": "llmkit.runtime.load",
    "stream": "llmkit.tasks.generation",
    "pipeline": "llmkit.tasks.pipeline",
    "pretrain": "llmkit.training.pretraining.pretrain",
}

__all__ = [
    "GenerationOptions",
    "InputError",
    "LLMKitError",
    "LoadedModel",
    "ModelSpec",
    "__version__",
    "generate",
    "load",
    "pipeline",
    "pretrain",
    "stream",
]


def __getattr__(name: str) -> Any:
    if name == "attention":
        return importlib.import_module("llmkit.attention")
    if name not in _HOME:
        raise AttributeError(f"module 'llmkit' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
