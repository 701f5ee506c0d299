"""Load a model from a GGUF file: its weights are unpacked to the dtype that it computes in.

Public: `inspect_gguf`, `load_gguf_weights`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, OptionError
from llmkit.formats.gguf.checkpoint import GGUFCheckpoint, as_checkpoint
from llmkit.runtime.attention_kernel import find_kernel
from llmkit.runtime.checkpoint import Checkpoint

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from llmkit.runtime.device import Placement
    from llmkit.runtime.spec import ModelSpec


def inspect_gguf(path: Path, spec: ModelSpec) -> tuple[Checkpoint, GGUFCheckpoint]:
    """Read the model type of a GGUF file; raise an error if it cannot run the task.

    Raises:
        InputError: damaged, of an architecture that is not read, or for another task.
    """
    if spec.four_bits:
        raise OptionError("four_bits", "cannot be combined with a GGUF file; convert it to safetensors first")
    if spec.task not in ("text-generation", "text2text-generation", "feature-extraction"):
        raise InputError(f"{spec.name} is a GGUF model, which generates text and is not for {spec.task}")
    opened = as_checkpoint(path)
    encoder_decoder = opened.config["model_type"] == "t5"
    config = {**opened.config, "is_encoder_decoder": encoder_decoder}
    return Checkpoint(path, config, opened.stored, opened.parameters, types=opened.kinds), opened


def load_gguf_weights(
    opened: GGUFCheckpoint, spec: ModelSpec, dtype: torch.dtype, placement: Placement
) -> PreTrainedModel:
    """Make the model of a GGUF file, with the end tokens that the file names.

    Args:
        opened: from `inspect_gguf`.
        spec: the request.
        dtype: precision to compute in.
        placement: from `choose_device`.

    Raises:
        InputError: the file does not make a model.
    """
    from llmkit.runtime.parts import model_from_parts
    from llmkit.runtime.weights import check_attention

    if placement.device_map is not None:
        raise InputError(f"{spec.name} does not fit on {placement.device}; convert it to safetensors first")
    kernel = find_kernel(spec, placement.device)
    options: dict[str, Any] = {}
    if kernel is not None:
        from llmkit.attention.interface import register

        options["attn_implementation"] = register(kernel)
    model: Any = model_from_parts(
        opened.config, opened.state_dict(dtype), dtype=dtype, name=spec.name, **options
    )
    opened.set_ends(model)
    if placement.device != "cpu":
        model = model.to(placement.device)
    if kernel is not None:
        check_attention(model, kernel, options["attn_implementation"])
    return model
