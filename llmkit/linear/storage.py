"""Save a quantized model as compressed-tensors' ``pack-quantized`` files, and load such files.

The folder contains ``config.json`` with a ``quantization_config``, and ``model.safetensors``. transformers
reads it with the compressed-tensors package, and uses exactly the same numbers.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from llmkit.errors import InputError, OptionError, one_line
from llmkit.linear.formats import GROUPS, MatrixRows, QuantizedWeight, quantize
from llmkit.linear.modules import NAMES, QuantizedEmbedding, QuantizedLinear, QuantizedModule, from_stored
from llmkit.linear.quantize import (
    Quantization,
    choose_kernel,
    forget_ties,
    is_linear,
    replace_module,
    size_of,
    tied_module,
    token_embeddings,
)
from llmkit.linear.registry import LinearKernel, PackedWeight
from llmkit.permissions import use_umask
from llmkit.records.unfinished.shards import MAX_SHARD_SIZE, Parts, save_shards

METHOD = "compressed-tensors"
FORMAT = "pack-quantized"
SCALES = "llmkit_embeddings.safetensors"
"""Holds the scales of embeddings that are saved as numbers; other programs do not read it."""


def save_quantized(
    model: Any,
    folder: Path,
    *,
    embeddings: str = "float",
    max_shard_size: str = MAX_SHARD_SIZE,
    parts: Parts | None = None,
) -> None:
    """Write a quantized model's config and weights; the tokenizer is the caller's.

    transformers cannot load quantized embeddings. So they, and output layers tied to them, are written in the
    model's dtype, with their scales in `SCALES`; `load_quantized_into` restores exactly the same 8 bits from
    them. The same model gives the same bytes.

    Args:
        model: a transformers model that `quantize_model` or `load_quantized_into` has worked on.
        folder: where; it is made if it is not there.
        embeddings: ``float`` as above, or ``int8``: half as large, for llmkit alone.
        max_shard_size: of a file, as huggingface_hub takes it.
        parts: files that an earlier command finished; None writes all.

    Raises:
        InputError: nothing in the model is quantized, or its weights are packed as in a GGUF file.
        OptionError: `embeddings` is neither.
        OSError: the folder cannot be written.
    """
    from safetensors.torch import save_file

    if embeddings not in {"float", "int8"}:
        raise OptionError("embeddings", f"must be float or int8, not {embeddings}")
    settings = quantization_config(model, embeddings)
    folder.mkdir(parents=True, exist_ok=True)
    tensors, scales = model.state_dict(), {}
    modules = dict(model.named_modules())
    for first, names in _tables(model).items():
        for name in names:
            own = {key: tensors.pop(f"{name}.{key}") for key in NAMES}
            if name != first:
                continue
            if embeddings == "int8":
                tensors |= {f"{name}.{key}": tensor for key, tensor in own.items()}
            else:
                tensors[f"{name}.weight"] = modules[name].quantized().dequantize(modules[name].dtype)
                scales[f"{name}.weight_scale"] = own["weight_scale"]
    save_shards(_unshared(tensors), folder, max_shard_size=max_shard_size, parts=parts)
    (folder / SCALES).unlink(missing_ok=True)
    if scales:
        save_file(scales, folder / SCALES, metadata={"format": "pt"})
    config = copy.deepcopy(model.config)
    config.quantization_config = settings
    config.save_pretrained(folder)
    generation = getattr(model, "generation_config", None)
    if generation is not None:
        generation.save_pretrained(folder)
    use_umask(folder)


def _unshared(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Omit tensors that share the memory of another one; tied layers are tied again when loaded."""
    seen: set[tuple[int, torch.Size, torch.dtype]] = set()
    found = {}
    for name, tensor in tensors.items():
        place = tensor.data_ptr(), tensor.shape, tensor.dtype
        if tensor.numel() and place in seen:
            continue
        seen.add(place)
        found[name] = tensor
    return found


def quantization_config(model: nn.Module, embeddings: str = "float") -> dict[str, Any]:
    """The ``quantization_config`` of a quantized model, as compressed-tensors writes it.

    The most frequent format of linear layers is that of the target ``Linear``; other layers are named.

    Args:
        model: the model.
        embeddings: as of `save_quantized`.

    Raises:
        InputError: nothing in the model is quantized.
    """
    if any(isinstance(one, QuantizedModule) and one.is_gguf for one in model.modules()):
        raise InputError(
            "its weights are packed as in a GGUF file, which this format does not support; quantize the model"
            " that the file was made of"
        )
    tables = {name for names in _tables(model).values() for name in names}
    formats: dict[tuple[int, int], list[str]] = {}
    ignored = []
    for name, module in model.named_modules():
        if isinstance(module, QuantizedModule) and (embeddings == "int8" or name not in tables):
            formats.setdefault((module.bits, module.group if module.bits == 4 else 0), []).append(name)
        elif isinstance(module, nn.Linear | QuantizedLinear) or is_linear(module):
            ignored.append(name)
    if not formats:
        raise InputError("the model is not quantized; save it as a usual model")
    main = max(formats, key=lambda key: len(set(formats[key]) - tables))
    groups = {}
    for number, key in enumerate(sorted(formats, key=lambda key: (key != main, key))):
        named = [name for name in formats[key] if key != main or name in tables]
        groups[f"group_{number}"] = _group(*key, ["Linear", *named] if key == main else named)
    return {
        "config_groups": groups,
        "format": FORMAT,
        "ignore": ignored,
        "quant_method": METHOD,
        "quantization_status": "compressed",
        "global_compression_ratio": None,
        "kv_cache_scheme": None,
    }


def _tables(model: nn.Module) -> dict[str, list[str]]:
    """The quantized token embeddings: by the first name of each, all modules that share its tensors."""
    names: dict[int, list[str]] = {}
    tables = set()
    for name, module in model.named_modules():
        if isinstance(module, QuantizedModule):
            address = next(iter(module.packed().tensors.values())).data_ptr()
            names.setdefault(address, []).append(name)
            if isinstance(module, QuantizedEmbedding):
                tables.add(address)
    return {found[0]: found for address, found in names.items() if address in tables}


def _group(bits: int, size: int, targets: list[str]) -> dict[str, Any]:
    weights = {
        "num_bits": bits,
        "type": "int",
        "symmetric": True,
        "strategy": "group" if bits == 4 else "channel",
        "group_size": size if bits == 4 else None,
        "dynamic": False,
        "observer": "minmax",
        "actorder": None,
        "block_structure": None,
        "observer_kwargs": {},
    }
    return {
        "targets": targets,
        "weights": weights,
        "input_activations": None,
        "output_activations": None,
        "format": FORMAT,
    }


def load_quantized_into(
    model: Any,
    tensors: Mapping[str, torch.Tensor],
    settings: Mapping[str, Any],
    *,
    kernel: str | LinearKernel | None = None,
    embeddings: bool = True,
    matrix: Callable[[str], MatrixRows] | None = None,
) -> Quantization:
    """Put the weights of a quantized folder into a model.

    Args:
        model: an instance of the architecture whose parameters hold anything; built under
            `transformers.initialization.no_init_weights`, so that its float weights never take memory.
        tensors: all tensors of the folder's files; they may be mapped from them.
        settings: ``quantization_config`` of the folder's config.json.
        kernel: a kernel or its name; None for the fastest here.
        embeddings: keep token embeddings that are saved as numbers, and output layers tied to them, in 8
            bits.
        matrix: returns a matrix of `tensors` by its name, whose rows may still lie in the file; None takes
            those of `tensors`.

    Raises:
        InputError: the file's format is none of ours, or its tensors do not fit the model.
        OptionError: the kernel cannot be used.
    """
    schemes = _schemes(settings)
    used = choose_kernel(kernel, model, min(bits for _, bits, _ in schemes))
    ties = dict(getattr(model, "all_tied_weights_keys", {}) or {})
    modules = dict(model.named_modules())
    found = Quantization(*schemes[0][1:], used.name, bytes_before=size_of(model))
    packed_names = [key.removesuffix(".weight_packed") for key in tensors if key.endswith(".weight_packed")]
    packed: dict[str, PackedWeight] = {}
    if embeddings:  # first, while little memory is taken: they are the largest
        for name, weight in _float_tables(model, tensors, matrix or tensors.__getitem__):
            packed[name] = used.packed(weight)
            found.layers[name] = (8, weight.group)
            _swap(model, name, modules[name], used, packed[name], None)
    for name in packed_names:
        layer = modules.get(name)
        if layer is None or not hasattr(layer, "weight"):
            raise InputError(f"{name}.weight_packed: the model has no such layer")
        weight = _weight(name, layer, tensors, schemes)
        packed[name] = used.packed(weight)
        found.layers[name] = (weight.bits, weight.group)
        _swap(model, name, layer, used, packed[name], tensors.get(f"{name}.bias"))
    for target, source in ties.items():
        for one, other in ((target, source), (source, target)):
            name, origin = one.removesuffix(".weight"), other.removesuffix(".weight")
            if origin in packed and name not in packed and name in modules:
                packed[name] = packed[origin]
                found.layers[name] = found.layers[origin]
                _swap(model, name, modules[name], used, packed[origin], tensors.get(f"{name}.bias"))
    forget_ties(model)
    _load_rest(model, tensors)
    found.bytes_after = size_of(model)
    return found


def _float_tables(
    model: nn.Module, tensors: Mapping[str, torch.Tensor], matrix: Callable[[str], MatrixRows]
) -> Iterator[tuple[str, QuantizedWeight]]:
    """Token embeddings that the file has as numbers, in 8 bits: by their saved scales if there are some."""
    tables = {id(table) for table in token_embeddings(model)}
    for name, module in list(model.named_modules()):
        if id(module) not in tables or f"{name}.weight" not in tensors:
            continue
        numbers, scale = matrix(f"{name}.weight"), tensors.get(f"{name}.weight_scale")
        shape = tuple(module.weight.shape)
        if tuple(numbers.shape) != shape or (scale is not None and tuple(scale.shape) != (shape[0], 1)):
            raise InputError(f"{name}.weight or its scale does not fit the model's {list(shape)}")
        try:
            weight = quantize(numbers, 8, scale=scale)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        yield name, weight


def _schemes(settings: Mapping[str, Any]) -> list[tuple[list[str], int, int]]:
    """Targets, bits and group (0: a row) of each group of a configuration, checked."""
    if settings.get("quant_method") != METHOD or settings.get("format") != FORMAT:
        raise InputError(
            f"its quantization is {settings.get('quant_method')} {settings.get('format')}; of quantized"
            f" models llmkit reads {METHOD} {FORMAT}"
        )
    groups = settings.get("config_groups")
    if not isinstance(groups, Mapping) or not groups:
        raise InputError("quantization_config: config_groups is empty or no object")
    return [_scheme(str(name), group) for name, group in groups.items()]


def _scheme(name: str, group: Any) -> tuple[list[str], int, int]:
    weights = group.get("weights") if isinstance(group, Mapping) else None
    targets = group.get("targets") if isinstance(group, Mapping) else None
    if not isinstance(weights, Mapping) or not isinstance(targets, list):
        raise InputError(f"quantization_config: {name} has no weights or no targets")
    bits, strategy = weights.get("num_bits"), weights.get("strategy")
    size = weights.get("group_size") if strategy == "group" else 0
    by_channel, by_group = (bits, strategy) == (8, "channel"), (bits, strategy) == (4, "group")
    if not (by_channel or (by_group and size in GROUPS)) or (
        weights.get("type") != "int"
        or weights.get("symmetric") is not True
        or weights.get("actorder") in {"group", "dynamic"}
    ):
        raise InputError(
            f"quantization_config: {name} has weights of {bits} bits by {strategy} {size or ''}; llmkit reads"
            " symmetric integers of 8 bits by channel, and of 4 bits in groups of"
            f" {', '.join(map(str, GROUPS))}"
        )
    if group.get("input_activations") is not None:
        raise InputError(
            f"quantization_config: {name} quantizes activations; llmkit supports only quantized weights"
        )
    return [str(target) for target in targets], 8 if by_channel else 4, int(size or 0)


def _weight(
    name: str, layer: Any, tensors: Mapping[str, torch.Tensor], schemes: list[tuple[list[str], int, int]]
) -> QuantizedWeight:
    """The weight of a layer of the file, checked against the model."""
    matching = [
        (bits, size) for targets, bits, size in schemes if any(_matches(target, name) for target in targets)
    ] or [
        (bits, size)
        for targets, bits, size in schemes
        if type(layer).__name__ in targets or "Linear" in targets
    ]
    if not matching:
        raise InputError(f"{name}: no group of the quantization_config names this layer")
    bits, size = matching[0]
    own = {key: tensors.get(f"{name}.{key}") for key in NAMES}
    lacking = [key for key, tensor in own.items() if tensor is None]
    if lacking:
        raise InputError(f"{name}: the file has no {lacking[0]}")
    outputs, inputs = layer.weight.shape
    if type(layer).__name__ == "Conv1D":
        outputs, inputs = inputs, outputs
    try:
        return from_stored(own, bits, size or inputs, (outputs, inputs))  # type: ignore[arg-type]
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _matches(target: str, name: str) -> bool:
    if not target.startswith("re:"):
        return target == name
    # From a file: without parentheses and with few stars no name takes long to match.
    if not re.fullmatch(r"[\w.*\\$^-]{1,200}", target[3:]) or target.count("*") > 4:
        raise InputError(f"quantization_config: the target {target[:80]} is too complex")
    return re.match(target[3:], name) is not None


def _swap(
    model: nn.Module,
    name: str,
    layer: Any,
    kernel: LinearKernel,
    packed: PackedWeight,
    bias: torch.Tensor | None,
) -> None:
    new = tied_module(layer, kernel, packed)
    if isinstance(new, QuantizedLinear) and new.bias is not None:
        if bias is None:
            raise InputError(f"{name}: the file has no bias")
        if bias.shape != new.bias.shape:
            raise InputError(f"{name}.bias has {list(bias.shape)}, and the layer {list(new.bias.shape)}")
        new.bias = nn.Parameter(bias.to(layer.weight.dtype), requires_grad=False)
    replace_module(model, layer, new)


def _load_rest(model: Any, tensors: Mapping[str, torch.Tensor]) -> None:
    """Load what is not quantized, in the model's dtype."""
    own = _floats(model)
    ties, fitting = getattr(model, "all_tied_weights_keys", {}) or {}, {}
    for name, tensor in own.items():
        if name in tensors:
            fitting[name] = tensors[name].to(tensor.dtype)
        elif name not in {*ties, *ties.values()}:
            raise InputError(f"the file has no {name}")
    try:
        model.load_state_dict(fitting, strict=False, assign=True)
    except RuntimeError as error:
        raise InputError(f"the file's weights do not fit the model: {one_line(error)}") from error
    if ties:
        model.tie_weights(recompute_mapping=False)


def _floats(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return a model's state dict, tied names included, without packed weights, which it would unpack."""
    found = {}
    for prefix, module in model.named_modules(remove_duplicate=False):
        lasting = {k: v for k, v in module._buffers.items() if k not in module._non_persistent_buffers_set}
        for name, tensor in (module._parameters | lasting).items():
            if tensor is not None:
                found[f"{prefix}.{name}" if prefix else name] = tensor
    return found
