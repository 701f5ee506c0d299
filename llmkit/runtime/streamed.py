"""Load a model one tensor at a time: without a second copy of its weights, or to quantize without floats.

Public: `load_tensors`, `load_quantizing`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from llmkit.errors import InputError, OptionError, one_line
from llmkit.formats.gguf.packed import in_eight_bits
from llmkit.formats.safetensors import TYPES, StoredMatrix, StoredTensor, read_rows
from llmkit.heap import return_free
from llmkit.runtime.attention_kernel import find_kernel
from llmkit.runtime.quantized import BITS, GROUP, read_generation_config
from llmkit.runtime.weights import auto_class, check_attention

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn
    from transformers import PreTrainedModel

    from llmkit.formats.gguf.checkpoint import GGUFCheckpoint
    from llmkit.formats.gguf.header import TensorInfo
    from llmkit.linear.formats import MatrixRows, QuantizedWeight
    from llmkit.linear.registry import LinearKernel
    from llmkit.runtime.checkpoint import Checkpoint
    from llmkit.runtime.device import Placement
    from llmkit.runtime.spec import ModelSpec


_AT_ONCE = 1 << 22  # bytes that are compared
_TOGETHER = 32  # layers after which free memory goes back to the system


class _TensorSource(Protocol):
    """The tensors of a file, by the names that the model gives them."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shapes in the model."""

    def read(self, name: str, dtype: torch.dtype) -> torch.Tensor:
        """Read a tensor."""

    def mapped(self, name: str, dtype: torch.dtype) -> torch.Tensor:
        """Map a tensor from its file if it has the type there, else read it."""

    def rows(self, name: str) -> MatrixRows:
        """Return a matrix whose rows are read on demand, or the matrix itself."""

    def packed(self, name: str) -> tuple[QuantizedWeight, str] | None:
        """Return a matrix as it is packed in the file, and the name of its type; None if it is not."""

    def same(self, name: str, other: str) -> bool:
        """Return True if two tensors are stored with the same bytes."""


class _Folder:
    def __init__(self, weights: Mapping[str, StoredTensor]) -> None:
        self._weights = weights
        self._files: dict[Path, Any] = {}
        self.shapes = {name: one.shape for name, one in weights.items()}

    def read(self, name: str, dtype: torch.dtype) -> torch.Tensor:
        return read_rows(self._weights[name]).to(dtype)

    def mapped(self, name: str, dtype: torch.dtype) -> torch.Tensor:
        from safetensors import SafetensorError, safe_open

        stored = self._weights[name]
        if TYPES[stored.dtype][0] != str(dtype).removeprefix("torch."):
            return self.read(name, dtype)
        try:
            if stored.path not in self._files:
                self._files[stored.path] = safe_open(stored.path, framework="pt")
            found: torch.Tensor = self._files[stored.path].get_tensor(name)
        except SafetensorError as error:
            raise InputError(
                f"{stored.path} is damaged: {one_line(error)}; download or copy it again"
            ) from error
        return found

    def rows(self, name: str) -> MatrixRows:
        return StoredMatrix(self._weights[name])

    def packed(self, name: str) -> None:
        return None

    def same(self, name: str, other: str) -> bool:
        one, two = self._weights[name], self._weights[other]
        return (one.dtype, one.shape) == (two.dtype, two.shape) and _same_bytes(one, two)


class _GGUF:
    def __init__(self, opened: GGUFCheckpoint) -> None:
        self._opened = opened
        self._places = opened.places()
        self.shapes = {name: opened.shape(info) for name, info in self._places.items()}

    def read(self, name: str, dtype: torch.dtype) -> torch.Tensor:
        return self._opened.tensor(self._places[name], dtype)

    mapped = read

    def rows(self, name: str) -> MatrixRows:
        import torch

        return self.read(name, torch.float32)

    def packed(self, name: str) -> tuple[QuantizedWeight, str] | None:
        found = self._opened.packed(self._places[name])
        return None if found is None else (found, self._places[name].kind)

    def same(self, name: str, other: str) -> bool:
        one, two = self._places[name], self._places[other]
        return (one.kind, one.shape) == (two.kind, two.shape) and _same_bytes(one, two)


def _same_bytes(one: StoredTensor | TensorInfo, two: StoredTensor | TensorInfo) -> bool:
    with one.path.open("rb") as first, two.path.open("rb") as second:
        first.seek(one.offset)
        second.seek(two.offset)
        sizes = [_AT_ONCE] * (one.nbytes // _AT_ONCE) + [one.nbytes % _AT_ONCE]
        return one.nbytes == two.nbytes and all(first.read(size) == second.read(size) for size in sizes)


def load_tensors(
    checkpoint: Checkpoint,
    opened: GGUFCheckpoint | None,
    spec: ModelSpec,
    dtype: torch.dtype,
    placement: Placement,
) -> PreTrainedModel | None:
    """Load a model as transformers does, reading each tensor once; for one whose file names what it needs.

    Tensors that the file has in `dtype` are mapped from it. transformers maps the whole file and converts
    from there, so that both copies count as the process's own.

    Args:
        checkpoint: from `inspect_checkpoint` or `inspect_gguf`.
        opened: the GGUF file; None for a folder.
        spec: the request.
        dtype: precision to compute in.
        placement: from `choose_device`.

    Returns:
        The model; None if it is not on the CPU, runs its own code, is quantized, keeps some layers in float32
        or does not fit its files: transformers loads these, or says what is wrong.

    Raises:
        InputError: a damaged file.
        OptionError: the attention kernel cannot be used.
    """
    if spec.trust_remote_code or spec.new_head or spec.four_bits or placement.device_map is not None:
        return None
    prepared = _prepare(checkpoint, opened, spec, dtype, placement)
    if prepared is None or _keeps_float32(prepared[0], dtype):
        return None
    model, source = prepared
    own = model.state_dict(keep_vars=True)
    names = _names_in_file(own, source)
    read: dict[int, torch.Tensor] = {}
    for tensor in own.values():
        if id(tensor) not in read:
            read[id(tensor)] = source.mapped(names[id(tensor)], tensor.dtype)
    model.load_state_dict({name: read[id(tensor)] for name, tensor in own.items()}, assign=True)
    model.tie_weights(recompute_mapping=False)
    return _finish(model, checkpoint, opened, spec, placement)


def _keeps_float32(model: Any, dtype: torch.dtype) -> bool:
    """Return True if transformers keeps some layers of a class in float32."""
    import torch

    if dtype == torch.float32:
        return False
    kinds = {type(module) for module in model.modules()}
    names = ["_keep_in_fp32_modules_strict", *(["_keep_in_fp32_modules"] * (dtype == torch.float16))]
    return any(getattr(kind, name, None) for kind in kinds for name in names)


def load_quantizing(
    checkpoint: Checkpoint,
    opened: GGUFCheckpoint | None,
    spec: ModelSpec,
    dtype: torch.dtype,
    placement: Placement,
) -> tuple[PreTrainedModel, str] | None:
    """Load a model in 8 or 4 bits, each tensor quantized as soon as it is read.

    Packed matrices of a GGUF file stay unchanged if the kernel supports their layout and they have no more
    bits than requested.

    Args:
        checkpoint: from `inspect_checkpoint` or `inspect_gguf`.
        opened: the GGUF file; None for a folder.
        spec: the request; `quantize` is set.
        dtype: precision of what is not quantized.
        placement: from `choose_device`.

    Returns:
        The model and a sentence about it; None if the files do not name their tensors as the model does, or
        do not fit it: whoever loads the whole model can convert them, or says what is wrong.

    Raises:
        InputError: a damaged file, or weights that are not finite.
        OptionError: the kernel cannot be used.
    """
    prepared = _prepare(checkpoint, opened, spec, dtype, placement)
    if prepared is None:
        return None
    model, source = prepared
    note = _fill(model, source, spec)
    return _finish(model, checkpoint, opened, spec, placement), note


def _prepare(
    checkpoint: Checkpoint,
    opened: GGUFCheckpoint | None,
    spec: ModelSpec,
    dtype: torch.dtype,
    placement: Placement,
) -> tuple[Any, _TensorSource] | None:
    """Return the model without its weights, and its tensors; None if they do not fit each other."""
    if placement.device != "cpu" or "quantization_config" in checkpoint.config:
        return None
    if opened is None and not checkpoint.weights:
        return None
    model = _unfilled(checkpoint, opened, spec, dtype)
    source: _TensorSource = _Folder(checkpoint.weights) if opened is None else _GGUF(opened)
    if model is None:
        return None
    _tie(model, source)
    return (model, source) if _fits(model, source, checkpoint) else None


def _finish(
    model: Any,
    checkpoint: Checkpoint,
    opened: GGUFCheckpoint | None,
    spec: ModelSpec,
    placement: Placement,
) -> PreTrainedModel:
    """Give a model its generation config and its attention kernel."""
    if opened is None:
        read_generation_config(model, checkpoint.folder, spec.name)
    else:
        opened.set_ends(model)
    kernel = find_kernel(spec, placement.device)
    if kernel is not None:
        from llmkit.attention.interface import register

        name = register(kernel)
        model.set_attn_implementation(name)
        check_attention(model, kernel, name)
    found: PreTrainedModel = model
    return found


def _unfilled(
    checkpoint: Checkpoint, opened: GGUFCheckpoint | None, spec: ModelSpec, dtype: torch.dtype
) -> Any:
    """Return a model with uninitialized weights; None if its config describes no model."""
    import torch
    from transformers import AutoConfig
    from transformers.initialization import no_init_weights

    from llmkit.runtime.parts import class_and_config

    try:
        with no_init_weights(), torch.device("cpu"):
            if opened is not None:
                model_class, config = class_and_config(opened.config, spec.name)
                model = model_class._from_config(config, dtype=dtype)
            else:
                config = AutoConfig.from_pretrained(
                    checkpoint.folder, local_files_only=True, trust_remote_code=spec.trust_remote_code
                )
                model = auto_class(checkpoint, spec).from_config(
                    config, dtype=dtype, trust_remote_code=spec.trust_remote_code
                )
    except Exception:
        # Loading the whole model meets the same fault, and has the message for it.
        return None
    return model.eval()  # else layers are dropped at random when the attention kernel is checked


def _tie(model: Any, source: _TensorSource) -> None:
    """Tie weights as transformers does: if the file has both of a pair and they differ, they stay so."""
    ties = getattr(model, "all_tied_weights_keys", None) or {}
    for target, origin in list(ties.items()):
        if {target, origin} <= source.shapes.keys() and not source.same(target, origin):
            del ties[target]
    model.tie_weights(recompute_mapping=False)


def _fits(model: Any, source: _TensorSource, checkpoint: Checkpoint) -> bool:
    """Return True if the file has the model's tensors, under its names, and no others."""
    own = model.state_dict(keep_vars=True)
    groups: dict[int, list[str]] = {}
    for name, tensor in own.items():
        groups.setdefault(id(tensor), []).append(name)
    return (
        source.shapes.keys() <= own.keys()
        and all(tuple(own[name].shape) == shape for name, shape in source.shapes.items())
        and all(any(name in source.shapes for name in names) for names in groups.values())
        and all(one.dtype in TYPES for one in checkpoint.weights.values())
    )


def _names_in_file(own: Mapping[str, torch.Tensor], source: _TensorSource) -> dict[int, str]:
    """Return the name in the file of each of a model's tensors, by its id; tied ones have one of several."""
    names: dict[int, str] = {}
    for name, tensor in own.items():
        if name in source.shapes:
            names.setdefault(id(tensor), name)
    return names


def _fill(model: Any, source: _TensorSource, spec: ModelSpec) -> str:
    """Read all weights into a model, and quantize its matrices."""
    from llmkit.linear.quantize import choose_kernel, quantizable, quantize_model

    bits = BITS[spec.quantize or ""]
    kernel = choose_kernel(spec.linear, model, bits)
    own = model.state_dict(keep_vars=True)
    names = _names_in_file(own, source)
    modules = dict(model.named_modules())
    wanted = {name: id(modules[name].weight) for name in quantizable(model)}
    matrices = set(wanted.values())
    rest = {
        name: source.read(names[id(tensor)], tensor.dtype)
        for name, tensor in own.items()
        if id(tensor) not in matrices
    }
    files = {name: names[weight] for name, weight in wanted.items()}
    model.load_state_dict(rest, strict=False, assign=True)
    model.tie_weights(recompute_mapping=False)
    kept: Counter[str] = Counter()

    def rounding(name: str, layer: nn.Module, most: int, group: int) -> QuantizedWeight:
        packed = _as_packed(source, files[name], kernel, layer, most, kept)
        return packed or _rounded(source, files[name], layer, most, group)

    def finished(number: int, _: int) -> None:
        if number % _TOGETHER == 0:
            return_free()

    done = quantize_model(model, bits, GROUP, kernel=kernel, rounding=rounding, progress=finished)
    packed = f", {sum(kept.values())} of them as packed in the file ({', '.join(kept)})" if kept else ""
    return (
        f"{len(done.layers)} layers in {spec.quantize}{packed}, {done.bytes_before / 1e6:.0f} to"
        f" {done.bytes_after / 1e6:.0f} MB, products by {done.kernel}"
    )


def _as_packed(
    source: _TensorSource, name: str, kernel: LinearKernel, layer: Any, most: int, kept: Counter[str]
) -> QuantizedWeight | None:
    """Return a matrix as the file has it, if the kernel can use it and it has at most `most` bits."""
    import torch

    if not kernel.gguf:
        return None
    found = source.packed(name)
    if found is None or found[0].bits > most or found[0].bits not in kernel.bits:
        return None
    weight, kind = found
    if isinstance(layer, torch.nn.Embedding) and weight.bits != 8:
        eight = in_eight_bits(weight)  # rows are looked up in 8 bits alone
        if eight is None:
            return None
        weight = eight
    kept[kind] += 1
    return weight


def _rounded(source: _TensorSource, name: str, layer: Any, bits: int, group: int) -> QuantizedWeight:
    from llmkit.linear.formats import quantize

    try:
        if type(layer).__name__ == "Conv1D":
            import torch

            return quantize(source.read(name, torch.float32).T, bits, group)
        return quantize(source.rows(name), bits, group)
    except OptionError:
        raise
    except InputError as error:
        raise InputError(f"{name}: {one_line(error)}") from error
