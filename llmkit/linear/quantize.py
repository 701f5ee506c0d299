"""Quantize a model in place: its linear layers, its token embeddings and its output layer."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from llmkit.errors import InputError, OptionError
from llmkit.linear.formats import BITS, GROUPS, QuantizedWeight, fitting_group, quantize
from llmkit.linear.modules import QuantizedEmbedding, QuantizedLinear, QuantizedModule
from llmkit.linear.registry import LinearKernel, PackedWeight, default, find

SMALLEST = 16
"""A layer with fewer inputs or outputs stays as it is: quantizing it saves nothing."""


@dataclass
class Quantization:
    """Record of a model's quantization.

    Attributes:
        bits, group: arguments of `quantize_model`.
        kernel: name of the kernel.
        layers: (bits, group) of each quantized module, by name.
        kept: reason for each linear layer or token embedding that stays as it is, by name.
        bytes_before, bytes_after: bytes of all parameters and buffers, tied ones counted once.
    """

    bits: int
    group: int
    kernel: str
    layers: dict[str, tuple[int, int]] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    bytes_before: int = 0
    bytes_after: int = 0


def quantize_model(
    model: nn.Module,
    bits: int,
    group: int = 32,
    *,
    kernel: str | LinearKernel | None = None,
    embeddings: bool = True,
    skip: Sequence[str] = (),
    rounding: Callable[[str, nn.Module, int, int], QuantizedWeight] | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Quantization:
    """Replace linear layers and token embeddings by quantized ones, one at a time.

    Each float weight is freed at once. Token embeddings and the output layer always get 8 bits; if they are
    tied, they stay one tensor. A layer whose width no group divides gets 8 bits. Norms, position embeddings,
    experts in one 3-D parameter and layers smaller than `SMALLEST` stay as they are.

    Args:
        model: a transformers model in eval mode, on the device that will run it.
        bits: 8 or 4.
        group: inputs that share a scale in 4 bits, of `formats.GROUPS`.
        kernel: a kernel or its name; None for the fastest on this machine.
        embeddings: quantize token embeddings and the output layer too.
        skip: names of modules, or patterns (``*.mlp.*``), that stay as they are.
        rounding: returns a layer's weight: ``rounding(name, layer, bits, group)``; it may have fewer bits.
            For tied layers it is called for the first only. None rounds to nearest.
        progress: called with the number of finished modules and of all modules.

    Raises:
        OptionError: `bits`, `group` or `kernel` cannot be used.
        InputError: the model has no layer to quantize, is quantized already, or weights that are not finite.
    """
    if bits not in BITS:
        raise OptionError("bits", f"must be 8 or 4, not {bits}")
    if group not in GROUPS:
        raise OptionError("group", f"must be one of {', '.join(map(str, sorted(GROUPS)))}, not {group}")
    used = choose_kernel(kernel, model, bits)
    found = Quantization(bits, group, used.name, bytes_before=size_of(model))
    wanted, found.kept = _wanted(model, embeddings, skip)
    if not wanted and any(isinstance(layer, QuantizedModule) for layer in model.modules()):
        raise InputError("the model is quantized already; start from the original")
    if not wanted:
        raise InputError("the model has no linear layer that can be quantized")
    tied: dict[int, PackedWeight] = {}
    for number, (name, layer, one) in enumerate(wanted):
        eight = one.eight or bits == 8 or fitting_group(width(layer), group) is None
        size = width(layer) if eight else fitting_group(width(layer), group) or group
        if not (one.eight and one.shared in tied):
            chosen = (rounding or nearest)(name, layer, 8 if eight else 4, size)
            tied[one.shared] = used.packed(chosen)
            del chosen
        packed = tied[one.shared]
        if not one.eight:
            del tied[one.shared]
        new = tied_module(layer, used, packed)
        found.layers[name] = (packed.bits, packed.group)
        replace_module(model, layer, new)
        del layer
        wanted[number] = (name, new, one)  # the float weight is free now
        if progress is not None:
            progress(number + 1, len(wanted))
    forget_ties(model)
    found.bytes_after = size_of(model)
    return found


def quantizable(model: nn.Module) -> list[str]:
    """Return the names of the modules that `quantize_model` replaces."""
    return [name for name, _, _ in _wanted(model, True, ())[0]]


def nearest(name: str, layer: nn.Module, bits: int, group: int) -> QuantizedWeight:
    """Round a layer's weight to nearest; errors contain `name`."""
    try:
        return quantize(matrix(layer), bits, group)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def choose_kernel(kernel: str | LinearKernel | None, model: nn.Module, bits: int) -> LinearKernel:
    """Return the kernel to use for a model.

    Raises:
        OptionError: the kernel does not take such weights, or does not run on the model's device.
    """
    device = next((tensor.device.type for tensor in model.parameters()), "cpu")
    device = "cpu" if device == "meta" else device
    used = default(device) if kernel is None else find(kernel) if isinstance(kernel, str) else kernel
    lacking = {8, bits} - set(used.bits)
    if lacking:
        raise OptionError("linear", f"{used.name} does not support weights of {lacking.pop()} bits")
    if device not in used.devices:
        raise OptionError("linear", f"{used.name} runs on {', '.join(used.devices)}, not on {device}")
    return used


def size_of(model: nn.Module) -> int:
    """Return the bytes of a model's parameters and buffers; shared memory counts once."""
    storages = {}
    for tensor in [*model.parameters(), *model.buffers()]:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr() or id(tensor)] = storage.nbytes()
    return sum(storages.values())


@dataclass(frozen=True)
class _Plan:
    """Plan for one module.

    Attributes:
        eight: always use 8 bits (embeddings and output layers).
        shared: key of the weight's tensors.
    """

    eight: bool = False
    shared: int = 0


def _wanted(
    model: nn.Module, embeddings: bool, skip: Sequence[str]
) -> tuple[list[tuple[str, nn.Module, _Plan]], dict[str, str]]:
    """Return the modules to replace, in the model's order, and the reason for each that is kept."""
    tables = token_embeddings(model)
    tokens = {id(table.weight) for table in tables}
    head = getattr(model, "get_output_embeddings", lambda: None)()
    odd = {
        id(module.weight)
        for name, module in model.named_modules()
        if isinstance(getattr(module, "weight", None), nn.Parameter)
        and id(module.weight) in tokens
        and (not (is_linear(module) or _is_table(module)) or _skipped(name, skip))
    }
    wanted: list[tuple[str, nn.Module, _Plan]] = []
    kept: dict[str, str] = {}
    for name, module in model.named_modules():
        table = any(module is one for one in tables)
        if not (table or isinstance(module, nn.Linear) or is_linear(module)):
            continue
        output = module is head or id(module.weight) in tokens
        if _skipped(name, skip):
            kept[name] = "skipped as asked"
        elif (table or output) and not embeddings:
            kept[name] = "embeddings are kept"
        elif id(module.weight) in odd:
            kept[name] = "its weight is used in a way that is not known"
        elif not (table or is_linear(module)):
            kept[name] = f"{type(module).__name__} is not known"
        elif min(module.weight.shape) < SMALLEST:
            kept[name] = "too small"
        else:
            wanted.append((name, module, _Plan(table or output, id(module.weight))))
    return wanted, kept


def _skipped(name: str, skip: Sequence[str]) -> bool:
    return any(name == one or fnmatch.fnmatchcase(name, one) for one in skip)


def token_embeddings(model: nn.Module) -> list[Any]:
    """Return the modules that look up tokens, tied ones included."""
    found: list[Any] = []
    for module in model.modules():
        getter = getattr(module, "get_input_embeddings", None)
        try:
            table: Any = None if getter is None else getter()
        except NotImplementedError:  # a part without tokens
            continue
        if isinstance(getattr(table, "weight", None), nn.Parameter) and table.weight.dim() == 2:
            found.append(table)
    shared = {id(table.weight) for table in found}
    tables = [one for one in model.modules() if isinstance(one, nn.Embedding) and id(one.weight) in shared]
    return [one for one in tables if _is_table(one)]


def _is_table(module: nn.Module) -> bool:
    """Return True for an embedding that only looks up, or also multiplies by ``embed_scale``."""
    plain = type(module) is nn.Embedding
    scaled = type(module).__name__.endswith("ScaledWordEmbedding") and hasattr(module, "embed_scale")
    return (plain or scaled) and getattr(module, "max_norm", None) is None


def is_linear(module: nn.Module) -> bool:
    """Return True for a plain linear layer, or GPT-2's with its transposed weight.

    A subclass may use its weight in another way.
    """
    return type(module) is nn.Linear or (type(module).__name__ == "Conv1D" and hasattr(module, "nf"))


def matrix(layer: Any) -> torch.Tensor:
    """Return a linear layer's weight (outputs, inputs)."""
    weight: torch.Tensor = layer.weight
    return weight.T if type(layer).__name__ == "Conv1D" else weight


def width(layer: Any) -> int:
    """Return the number of a layer's inputs."""
    return matrix(layer).shape[1]


def tied_module(layer: Any, kernel: LinearKernel, packed: PackedWeight) -> QuantizedModule:
    """Return a quantized embedding or linear layer in place of `layer`, on the tensors of `packed`."""
    if not isinstance(layer, nn.Embedding):
        bias = layer.bias
        return _on_device(QuantizedLinear(packed, bias, kernel, layer.weight.dtype), layer)
    if kernel.rows is None:
        weight = kernel.unpacked(packed)
        kernel = find("torch")
        packed = kernel.packed(weight)
    factor = getattr(layer, "embed_scale", None)
    new = QuantizedEmbedding(packed, kernel, layer.weight.dtype, factor)
    new.padding_idx = int(layer.padding_idx) if layer.padding_idx is not None else None
    return _on_device(new, layer)


def _on_device(new: QuantizedModule, layer: Any) -> QuantizedModule:
    device = layer.weight.device
    new.training = layer.training
    return new if device.type in {"cpu", "meta"} else new.to(device)


def replace_module(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Replace `old` by `new` everywhere in the model."""
    for parent, name in _places(model, old):
        setattr(parent, name, new)


def _places(model: nn.Module, module: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if child is module:
                yield parent, name


def forget_ties(model: nn.Module) -> None:
    """Remove quantized modules from transformers' list of tied weights, so that they stay untied."""
    gone = {name for name, module in model.named_modules() if isinstance(module, QuantizedModule)}
    for prefix, module in model.named_modules():
        ties = getattr(module, "all_tied_weights_keys", None)
        if ties:
            start = f"{prefix}." if prefix else ""
            module.all_tied_weights_keys = {
                target: source
                for target, source in ties.items()
                if not {(start + key).rpartition(".")[0] for key in (target, source)} & gone
            }
