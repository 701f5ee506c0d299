"""Choose the files of a repository that loading needs, and refuse unsupported kinds of weights.

Public: `files_to_fetch`, `check_weight_names`, `CARD_FILES`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError
from llmkit.runtime.gguf.files import choose_gguf, shards_of

if TYPE_CHECKING:
    from llmkit.runtime.spec import ModelSpec

# Files that loading reads next to the weights; Python files are added if the user trusts them.
_SMALL_FILES = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken", "*.spm", "*.vocab")
CARD_FILES = ("README.md", "LICENSE*", "LICENCE*", "NOTICE*")
"""The card and the license."""


def files_to_fetch(name: str, files: Sequence[str], spec: ModelSpec, variant: str | None = None) -> list[str]:
    """Return the files of a repository that loading reads.

    Args:
        name: the repository, for messages.
        files: all its files.
        spec: the request: which kinds of files it allows.
        variant: a GGUF file or its type, see `choose_gguf`; None for the model in Hugging Face layout, or for
            the repository's only GGUF file if it has no other model.

    Raises:
        InputError: it holds no weights that are read; the message says what to do.
    """
    top = [f for f in files if "/" not in f]
    weights = [f for f in top if f.endswith(".safetensors")]
    if variant is not None or (not weights and any(f.endswith(".gguf") for f in top)):
        return shards_of(choose_gguf(files if variant else top, variant, name), files)
    wanted = [f for f in top if any(fnmatch(f, pattern) for pattern in _SMALL_FILES)]
    if "modules.json" in top:  # steps of sentence-transformers after the model
        wanted += [f for f in files if re.fullmatch(r"\d+_\w+/(config\.json|model\.safetensors)", f)]
    if spec.trust_remote_code:
        wanted += [f for f in files if f.endswith(".py")]
    # Many repositories have a consolidated copy of the same weights next to the sharded ones.
    named = [f for f in weights if re.fullmatch(r"(adapter_)?model(-\d+-of-\d+)?\.safetensors", f)]
    weights = named or weights
    if not weights and spec.allow_bin:
        weights = [f for f in top if re.fullmatch(r"(pytorch|adapter)_model(-\d+-of-\d+)?\.bin", f)]
    if not weights:
        check_weight_names(name, top, allow_bin=spec.allow_bin)
    return wanted + weights


def check_weight_names(name: Any, files: Sequence[str], *, allow_bin: bool) -> None:
    """Refuse a checkpoint with weights of a kind that is not read; the error says what to do.

    Args:
        name: the model, for the message.
        files: names of the files in its folder.
        allow_bin: pickled PyTorch weights may be read.

    Raises:
        InputError: the weights are missing or of another kind.
    """
    if any(f.endswith(".safetensors") for f in files):
        return
    if any(f.endswith(".bin") and "model" in f for f in files):
        if allow_bin:
            return
        raise InputError(
            f"{name} has only pytorch_model.bin, a pickle file; if you trust its source, set allow_bin=True"
            " (torch then reads weights only)"
        )
    if any(f.endswith((".h5", ".ckpt.index", ".data-00000-of-00001")) for f in files):
        raise InputError(
            f"{name} is a TensorFlow checkpoint; convert it to safetensors first, with `llmkit convert`"
        )
    if any(f.endswith(".msgpack") for f in files):
        raise InputError(
            f"{name} is a Flax checkpoint; convert it to safetensors first, with `llmkit convert`"
        )
    if any(f.endswith(".gguf") for f in files):
        raise InputError(f"{name} contains GGUF files; give one of them, as {name}:FILE")
    raise InputError(f"{name} has no weights: no model.safetensors in it")
