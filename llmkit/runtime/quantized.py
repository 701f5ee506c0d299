"""Quantized models: layers of a loaded model in 8 or 4 bits, and folders that were saved so.

Public: `quantize_loaded`, `saved_settings`, `load_saved`, `read_generation_config`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, OptionError, one_line

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from llmkit.runtime.checkpoint import Checkpoint
    from llmkit.runtime.spec import ModelSpec

BITS = {"int8": 8, "int4": 4}
"""Values of the option `quantize`."""
GROUP = 32
"""Inputs that share a scale in 4 bits."""


def check_options(spec: ModelSpec) -> None:
    """Refuse values of `quantize` and `linear` that cannot be used.

    Raises:
        OptionError: it names the option.
    """
    if spec.quantize is not None and spec.quantize not in BITS:
        raise OptionError("quantize", f"{spec.quantize}: use int8 or int4")
    if spec.quantize is not None and (spec.adapter is not None or spec.four_bits):
        raise OptionError(
            "quantize", "cannot be combined with an adapter; merge the adapter into its model first"
        )


def saved_settings(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Return the quantization of a folder in compressed-tensors' packed format; None if it has another."""
    settings = checkpoint.config.get("quantization_config")
    if not isinstance(settings, dict) or settings.get("format") != "pack-quantized":
        return None
    return settings


def quantize_loaded(model: PreTrainedModel, spec: ModelSpec) -> str:
    """Quantize a loaded model in place, and return a sentence about it.

    Raises:
        OptionError: the kernel cannot be used.
        InputError: the model has no layer that can be quantized.
    """
    from llmkit.linear.quantize import quantize_model

    assert spec.quantize is not None
    done = quantize_model(model, BITS[spec.quantize], GROUP, kernel=spec.linear)
    return (
        f"{len(done.layers)} layers in {spec.quantize}, {done.bytes_before / 1e6:.0f} to"
        f" {done.bytes_after / 1e6:.0f} MB, products by {done.kernel}"
    )


def load_saved(auto_class: Any, checkpoint: Checkpoint, spec: ModelSpec, dtype: torch.dtype) -> Any:
    """Load a folder that was saved in 8 or 4 bits; its float weights never exist.

    Args:
        auto_class: transformers' Auto class for the task.
        checkpoint: the folder, whose `saved_settings` is not None.
        spec: the request.
        dtype: precision of what is not quantized.

    Raises:
        InputError: its tensors do not fit its config, or it was quantized in another way.
    """
    import torch
    from transformers import AutoConfig
    from transformers.initialization import no_init_weights

    from llmkit.formats.safetensors import StoredTensors
    from llmkit.linear.storage import load_quantized_into

    if spec.quantize is not None:
        raise OptionError("quantize", f"has no effect: {spec.name} is quantized already; omit it")
    folder = checkpoint.folder
    config = AutoConfig.from_pretrained(
        folder, local_files_only=True, trust_remote_code=spec.trust_remote_code
    )
    settings = saved_settings(checkpoint)
    assert settings is not None
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with no_init_weights(), torch.device("cpu"):
        model = auto_class.from_config(config, dtype=dtype, trust_remote_code=spec.trust_remote_code)
    tensors = StoredTensors(folder, spec.name)
    load_quantized_into(model, tensors, settings, kernel=spec.linear, matrix=tensors.matrix)
    read_generation_config(model, folder, spec.name)
    return model


def read_generation_config(model: Any, folder: Path, name: str) -> None:
    """Give a model the generation_config.json of its folder, if there is one.

    Raises:
        InputError: the file is not valid; `name` is the model's, for the message.
    """
    from transformers import GenerationConfig

    if (folder / "generation_config.json").is_file():
        try:
            model.generation_config = GenerationConfig.from_pretrained(folder)
        except (OSError, ValueError) as error:
            raise InputError(f"{name}: generation_config.json: {one_line(error)}") from error
