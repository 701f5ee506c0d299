"""What the user asked for, and nothing about how it is found: the one type that every room passes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ModelSpec:
    """A model and how to run it.

    Attributes:
        name: Hub id (``org/name``), local folder, or the name of an embedded model.
        task: ``text-generation`` (causal or encoder-decoder, as the checkpoint is),
            ``text2text-generation``, ``question-answering``, ``fill-mask`` or ``feature-extraction``.
        revision: branch, tag or commit on the Hub.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        attn: attention kernel: one of `llmkit kernels list`, ``FILE.py:FUNCTION``, or a Hub repository; None
            leaves the choice to transformers.
        verify_attn: prove a kernel from a file before its first use.
        adapter: folder or Hub id of a LoRA adapter to put on the model.
        trust_remote_code: run Python code that comes with the model.
        allow_bin: read ``pytorch_model.bin`` (with ``weights_only=True``) where there is no safetensors file.
        offline: never ask the network.
        cache_dir: where downloads are kept; None is the Hub's own cache.
        bundled: the embedded model is meant, even where a folder has its name too.
    """

    name: str
    task: str = "text-generation"
    revision: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    attn: str | None = None
    verify_attn: bool = True
    adapter: str | None = None
    trust_remote_code: bool = False
    allow_bin: bool = False
    offline: bool = False
    cache_dir: Path | None = None
    bundled: bool = False
