"""`load(spec)`: the only function that loads a model, with its tokenizer, placed and ready.

Only this package calls `from_pretrained` on a model.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from llmkit.errors import OptionError
from llmkit.heap import return_free, returning_memory
from llmkit.runtime.adapter import check_adapter, put_adapter
from llmkit.runtime.architecture import is_extractive_qa, is_masked_lm, saved_architecture
from llmkit.runtime.checkpoint import adapter_base, adapter_task, inspect_checkpoint
from llmkit.runtime.device import choose_device, choose_dtype
from llmkit.runtime.generation_config import complete, remove_unsupported
from llmkit.runtime.gguf.load import inspect_gguf, load_gguf_weights
from llmkit.runtime.loaded_model import LoadedModel
from llmkit.runtime.locate import Location, locate
from llmkit.runtime.outline import outline_of
from llmkit.runtime.quantized import check_options, quantize_loaded
from llmkit.runtime.streamed import load_quantizing, load_tensors
from llmkit.runtime.tokenizer import check_special_tokens, has_tokenizer, load_tokenizer
from llmkit.runtime.weights import check_config, load_weights

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from llmkit.formats.gguf.checkpoint import GGUFCheckpoint
    from llmkit.runtime.checkpoint import Checkpoint
    from llmkit.runtime.device import Placement
    from llmkit.runtime.spec import ModelSpec

__all__ = ["LoadedModel", "is_extractive_qa", "is_masked_lm", "load", "load_outline", "saved_architecture"]


def load(spec: ModelSpec) -> LoadedModel:
    """Find, check, load and place the model of `spec`.

    An adapter's folder as `spec.name` loads its base model with the adapter on it. The adapter's own
    tokenizer and generation_config.json, if it has them, replace the model's.

    Args:
        spec: the request.

    Raises:
        InputError: there is no such model, or it cannot do the task; the message says what to do.
        LLMKitError: a download or the loading itself failed.
    """
    import torch

    if spec.engine not in (None, "transformers"):
        raise OptionError("engine", "returns only text, and this needs the model itself; omit it")
    if spec.draft is not None:
        raise OptionError("draft", "applies only to text generation; omit it")
    check_options(spec)
    location, adapter = _find(spec)
    if spec.quantize is not None and adapter is not None:
        raise OptionError(
            "quantize", "cannot be combined with an adapter; merge the adapter into its model first"
        )
    checkpoint, opened = _inspect(location, spec)
    # The device decides the dtype, and the dtype the size.
    device = choose_device(spec.device, checkpoint.parameters * 4).device
    dtype, why = choose_dtype(spec.dtype, getattr(torch, checkpoint.stored), device, checkpoint.stored_types)
    placement = choose_device(spec.device, checkpoint.parameters * dtype.itemsize)
    notes = [
        f"device {placement.device}: {placement.reason}",
        f"dtype {str(dtype).removeprefix('torch.')}: {why}",
    ]
    own = adapter is not None and has_tokenizer(adapter.folder)
    with returning_memory():
        if opened is not None and not own:
            tokenizer = opened.tokenizer()
            notes += opened.notes
        else:
            tokenizer = load_tokenizer(adapter.folder if adapter and own else checkpoint.folder, spec)
        return_free()
        model = _model(checkpoint, opened, adapter, spec, dtype, placement, notes)
    remove_unsupported(model, spec.name)
    complete(model, spec.name)
    notes.append(f"attention {spec.attn or model.config._attn_implementation}")
    check_special_tokens(tokenizer, model, spec.name, notes)
    if spec.task == "text-generation" and not model.config.is_encoder_decoder:
        tokenizer.padding_side = "left"
    return LoadedModel(
        model=model.eval(),
        tokenizer=tokenizer,
        spec=spec,
        device=torch.device(placement.device),
        dtype=dtype,
        revision=location.revision,
        folder=location.folder,
        context_length=_context_length(model),
        adapter=adapter.folder if adapter is not None else None,
        notes=notes,
    )


def load_outline(spec: ModelSpec) -> LoadedModel:
    """Load a model without its weights, for a program that has them: its tokenizer, configs and context.

    Args:
        spec: the request, for a task that generates text.

    Returns:
        A model whose weights are on torch's device ``meta`` and hold nothing.

    Raises:
        InputError, LLMKitError: as `load`.
    """
    import torch

    location, adapter = _find(spec)
    checkpoint, opened = _inspect(location, spec)
    own = adapter is not None and has_tokenizer(adapter.folder)
    notes: list[str] = []
    if opened is not None and not own:
        tokenizer = opened.tokenizer()
    else:
        tokenizer = load_tokenizer(adapter.folder if adapter and own else checkpoint.folder, spec)
    folders = [location.folder] if opened is None else []
    model = outline_of(checkpoint, opened, [*folders, *([adapter.folder] if adapter else [])], spec)
    remove_unsupported(model, spec.name)
    complete(model, spec.name)
    check_special_tokens(tokenizer, model, spec.name, notes)
    return LoadedModel(
        model=model.eval(),
        tokenizer=tokenizer,
        spec=spec,
        device=torch.device("meta"),
        dtype=getattr(torch, checkpoint.stored),
        revision=location.revision,
        folder=location.folder,
        context_length=_context_length(model),
        adapter=adapter.folder if adapter is not None else None,
        notes=notes,
    )


def _model(
    checkpoint: Checkpoint,
    opened: GGUFCheckpoint | None,
    adapter: Location | None,
    spec: ModelSpec,
    dtype: torch.dtype,
    placement: Placement,
    notes: list[str],
) -> PreTrainedModel:
    """Load the weights, with the adapter on them, or quantized; `notes` gets a sentence for each choice."""
    if spec.quantize is not None:
        read = load_quantizing(checkpoint, opened, spec, dtype, placement)
        if read is not None:
            notes.append(read[1])
            return read[0]
    # An adapter for extractive QA brings the head that its base may lack.
    brings_head = adapter is not None and adapter_task(adapter.folder) == "QUESTION_ANS"
    wanted = replace(spec, new_head=spec.new_head or brings_head)
    model = load_tensors(checkpoint, opened, wanted, dtype, placement)
    if model is None and opened is not None:
        model = load_gguf_weights(opened, spec, dtype, placement)
    elif model is None:
        model = load_weights(checkpoint, wanted, dtype, placement)
    if adapter is not None:
        model = put_adapter(model, adapter.folder, spec)
        notes.append(f"adapter {adapter.folder}")
    if spec.quantize is not None:
        notes.append(quantize_loaded(model, spec))
    return model


def _inspect(location: Location, spec: ModelSpec) -> tuple[Checkpoint, GGUFCheckpoint | None]:
    """Inspect a model's folder, or its GGUF file."""
    if location.is_gguf:
        return inspect_gguf(location.folder, spec)
    checkpoint = inspect_checkpoint(
        location.folder,
        spec.name,
        task=spec.task,
        allow_bin=spec.allow_bin,
        trusted=spec.trust_remote_code,
    )
    check_config(checkpoint, spec)
    return checkpoint, None


def _find(spec: ModelSpec) -> tuple[Location, Location | None]:
    """Return the locations of the model and of the adapter that continues it."""
    location = locate(spec.name, spec)
    adapter: Location | None = None
    base = adapter_base(location.folder)
    unpinned = replace(spec, revision=None)  # the revision is that of `spec.name`
    if base is not None:
        # An embedded adapter continues an embedded model.
        bundled = unpinned.bundled or location.revision == "embedded"
        adapter, location = location, locate(base, replace(unpinned, bundled=bundled))
    if spec.adapter is not None:
        if adapter is not None:
            raise OptionError(
                "adapter", f"goes on a base model, and {spec.name} is an adapter itself: give its base model"
            )
        adapter = locate(spec.adapter, unpinned)
    if adapter is not None:
        check_adapter(adapter.folder, spec)
    return location, adapter


def _context_length(model: PreTrainedModel) -> int | None:
    """Return the number of positions of the architecture; None for relative ones (T5) and ALiBi (BLOOM)."""
    config = model.config.get_text_config(decoder=True)
    if getattr(config, "relative_attention_num_buckets", None) and config.model_type != "led":
        return None
    for name in ("max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length"):
        value = getattr(config, name, None)
        if isinstance(value, int) and value > 0:
            return value - _padding_rows(model)
    return None


def _padding_rows(model: PreTrainedModel) -> int:
    """Return the number of positions that RoBERTa's family skips: it counts from the padding's index."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return int(module.padding_idx) + 1
    return 0
