"""Write a Hugging Face folder and read it again."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.convert.proof import Check, compare, outputs_of
from llmkit.convert.quiet import quiet
from llmkit.records.unfinished.shards import MAX_SHARD_SIZE, Parts, save_shards

if TYPE_CHECKING:
    import torch

    from llmkit.convert.source import SourceModel

# Maximum relative difference for each type, from rounding alone.
BOUNDS = {"float32": 1e-5, "float16": 0.02, "bfloat16": 0.1}


def write(
    source: SourceModel,
    folder: Path,
    dtype: str,
    *,
    parts: Parts | None = None,
    max_shard_size: str = MAX_SHARD_SIZE,
) -> None:
    """Write the source in `dtype` with its tokenizer and generation settings.

    Args:
        source: any model.
        folder: existing folder for the files.
        dtype: float32, float16 or bfloat16.
        parts: weight files that an earlier command finished; None writes all.
        max_shard_size: maximum size of a weight file, such as ``5GB``.
    """
    import torch
    from transformers.core_model_loading import revert_weight_conversion
    from transformers.dynamic_module_utils import custom_object_save
    from transformers.modeling_utils import remove_tied_weights_from_state_dict

    with quiet():
        wanted = getattr(torch, dtype)
        config: Any = copy.deepcopy(source.model.config)
        config.dtype = wanted
        state = {name: value.to(wanted) if value.is_floating_point() else value
                 for name, value in source.model.state_dict().items()}  # fmt: skip
        state = remove_tied_weights_from_state_dict(_tied(source, state), source.model)
        state = revert_weight_conversion(source.model, state)
        save_shards(state, folder, parts=parts, max_shard_size=max_shard_size)
        config.architectures = [type(source.model).__name__]
        if source.model.is_remote_code():
            custom_object_save(source.model, folder, config=config)
        config.save_pretrained(folder)
        if source.model.can_generate():
            source.model.generation_config.save_pretrained(folder)
        if source.tokenizer is not None:
            source.tokenizer.save_pretrained(folder)


def _tied(source: SourceModel, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Keep shared tensors shared after rounding, so that they are written once."""
    first: dict[int, torch.Tensor] = {}
    for name, value in source.model.state_dict().items():
        state[name] = first.setdefault(value.data_ptr(), state[name]) if value.numel() else state[name]
    return state


def own_check(
    folder: Path, source: SourceModel, rows: list[list[int]], expected: list[torch.Tensor]
) -> Check:
    """Read the folder's files into a new model of the same class, and compare."""
    import json

    import torch
    from safetensors.torch import load_file

    from llmkit.runtime.parts import model_from_parts

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    weights: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        weights |= load_file(file)
    model = model_from_parts(config, weights, dtype=torch.float32, name=str(folder))
    return compare("transformers", expected, outputs_of(model, rows), logits=source.gives_logits)
