"""Linear layer and embedding with quantized weights, which replace torch's.

A state dict of them has the names and tensors of compressed-tensors' ``pack-quantized`` files, whatever
layout the kernel keeps in memory.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn

from llmkit.errors import InputError
from llmkit.lean_imports import empty_meta
from llmkit.linear.formats import QuantizedWeight, pack_int32, unpack_int32
from llmkit.linear.registry import LinearKernel, PackedWeight

NAMES = ("weight_packed", "weight_scale", "weight_shape")
OFFSET = "weight_offset"
"""Beside `NAMES`, of weights that have one; compressed-tensors' files have no such numbers."""
_WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class QuantizedModule(nn.Module):
    """A packed weight in integer buffers, which a change of the model's dtype does not affect."""

    def __init__(self, weight: PackedWeight, kernel: LinearKernel, dtype: torch.dtype) -> None:
        super().__init__()
        self.kernel = kernel
        self.dtype = dtype
        self.bits, self.group = weight.bits, weight.group
        self.sizes = (weight.outputs, weight.inputs)
        self._ready: PackedWeight | None = None
        self._put(weight)

    def _put(self, weight: PackedWeight) -> None:
        self._types = {name: tensor.dtype for name, tensor in weight.tensors.items()}
        for name, tensor in weight.tensors.items():
            whole = tensor.view(_WHOLE[tensor.element_size()]) if tensor.is_floating_point() else tensor
            self.register_buffer(f"packed_{name}", whole, persistent=False)
        self._ready = None

    def packed(self) -> PackedWeight:
        """The weight in the kernel's layout; the tensors are this module's own."""
        ready = self._ready
        if ready is None:
            tensors = {
                name: cast(torch.Tensor, getattr(self, f"packed_{name}")).view(dtype)
                for name, dtype in self._types.items()
            }
            bias = cast("torch.Tensor | None", getattr(self, "bias", None))
            ready = self._ready = PackedWeight(tensors, self.bits, self.group, *self.sizes, bias)
        return ready

    def quantized(self) -> QuantizedWeight:
        """The weight's values and scales, on the CPU."""
        return self.kernel.unpacked(self.packed())

    @property
    def is_gguf(self) -> bool:
        """True if the weight has a GGUF file's numbers."""
        return torch.float16 in self._types.values()

    @property
    def weight(self) -> torch.Tensor:
        """A tensor with the weight's shape and the layer's dtype, without content. Models read the type of a
        layer's weight; a model that computes with it fails, because it is on ``meta``. `quantized` has the
        numbers.
        """
        return empty_meta(self.sizes, self.dtype)

    def extra_repr(self) -> str:
        outputs, inputs = self.sizes
        group = f", group={self.group}" if self.group < inputs else ""
        return f"{inputs}, {outputs}, bits={self.bits}{group}, kernel={self.kernel.name}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_ready": None}  # addresses belong to this object alone

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        before = self.dtype
        super()._apply(fn, recurse)
        self.dtype = fn(torch.empty(0, dtype=before)).dtype
        self._ready = None
        return self

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        weight = self.quantized()
        for name, tensor in stored(weight).items():
            destination[prefix + name] = tensor

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, metadata: Any, strict: Any, missing: Any, *rest: Any
    ) -> None:
        found = {name: state_dict.get(prefix + name) for name in NAMES}
        if all(tensor is not None for tensor in found.values()):
            offset = state_dict.get(prefix + OFFSET)
            weight = from_stored(found, self.bits, self.group, self.sizes, self.is_gguf, offset)
            self._put(self.kernel.packed(weight))
        elif strict:
            missing.extend(prefix + name for name, tensor in found.items() if tensor is None)
        own = {*NAMES, OFFSET}
        others = {key: value for key, value in state_dict.items() if key.removeprefix(prefix) not in own}
        super()._load_from_state_dict(others, prefix, metadata, strict, missing, *rest)


class QuantizedLinear(QuantizedModule):
    """A quantized linear layer: x W' + bias, for inference.

    Args:
        weight: its weight.
        bias: (outputs,), or None.
        kernel: kernel of the product.
        dtype: type that `weight.dtype` reports; x may have any floating-point type.
    """

    def __init__(
        self,
        weight: QuantizedWeight | PackedWeight,
        bias: torch.Tensor | None,
        kernel: LinearKernel,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        packed = kernel.packed(weight) if isinstance(weight, QuantizedWeight) else weight
        super().__init__(packed, kernel, dtype)
        self.out_features, self.in_features = self.sizes
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
        self._ready = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Args: x: (..., inputs). Returns: (..., outputs), in x's type."""
        if torch.is_grad_enabled() and x.requires_grad:
            return _Straight.apply(x, self)
        return self.multiply(x)

    def multiply(self, x: torch.Tensor) -> torch.Tensor:
        """`forward` without a gradient."""
        kernel, dtype = self.kernel, x.dtype
        if x.shape[-1] != self.in_features:
            raise InputError(f"a layer of {self.in_features} inputs got {x.shape[-1]}")
        if str(dtype)[6:] not in kernel.dtypes:
            x = x.to(getattr(torch, kernel.dtypes[0]))
        if not x.is_contiguous():
            x = x.contiguous()
        if not x.numel():
            return x.new_zeros((*x.shape[:-1], self.out_features), dtype=dtype)
        found = kernel.function(x, self._ready or self.packed())
        return found if found.dtype == dtype else found.to(dtype)


class QuantizedEmbedding(QuantizedModule):
    """An embedding of 8 bits.

    Args:
        weight: its weight (tokens, dimensions), in a layout of `kernel`, which must have `rows`; an output
            layer tied to it shares the tensors.
        kernel: kernel that defines the layout.
        dtype: of the result.
        factor: factor of the result, as in Bart and Gemma: a number or a tensor.
    """

    def __init__(
        self,
        weight: PackedWeight,
        kernel: LinearKernel,
        dtype: torch.dtype,
        factor: float | torch.Tensor | None = None,
    ) -> None:
        super().__init__(weight, kernel, dtype)
        self.num_embeddings, self.embedding_dim = self.sizes
        self.padding_idx: int | None = None
        self.factor: float | torch.Tensor | None
        if isinstance(factor, torch.Tensor):
            self.register_buffer("factor", factor, persistent=False)
        else:
            self.factor = factor

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}, bits=8, kernel={self.kernel.name}"

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Args: input: token ids (...). Returns: (..., dimensions)."""
        assert self.kernel.rows is not None
        found = self.kernel.rows(self.packed(), input, self.dtype)
        factor = self.factor
        if factor is None:
            return found
        return found * (factor.to(self.dtype) if isinstance(factor, torch.Tensor) else factor)


class _Straight(torch.autograd.Function):
    """The gradient of x W' + bias with respect to x, as if x had not been rounded."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, layer: QuantizedLinear) -> torch.Tensor:
        ctx.layer = layer
        return layer.multiply(x)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (gradient,) = gradients
        weight = ctx.layer.quantized().dequantize(gradient.dtype).to(gradient.device)
        return gradient @ weight, None


def stored(weight: QuantizedWeight) -> dict[str, torch.Tensor]:
    """A weight as the tensors of a file."""
    tensors = {
        "weight_packed": pack_int32(weight.values, weight.bits),
        "weight_scale": weight.scale,
        "weight_shape": torch.tensor(weight.shape),
    }
    return tensors if weight.offset is None else tensors | {OFFSET: weight.offset}


def from_stored(
    tensors: dict[str, torch.Tensor],
    bits: int,
    group: int,
    sizes: tuple[int, int],
    halves: bool = False,
    offset: torch.Tensor | None = None,
) -> QuantizedWeight:
    """A weight from the tensors of a file.

    Args:
        tensors: of `NAMES`.
        bits, group: as the file's configuration says.
        sizes: outputs and inputs that the layer must have.
        halves: keep scales in float16, as of a GGUF file; else they become bfloat16.
        offset: of `OFFSET`.

    Raises:
        InputError: the tensors contradict each other or the layer.
    """
    outputs, inputs = sizes
    shape = tuple(tensors["weight_shape"].tolist())
    if shape != sizes:
        raise InputError(f"weight_shape is {list(shape)}, and the layer has {list(sizes)}")
    packed, scale = tensors["weight_packed"], tensors["weight_scale"]
    if packed.shape[0] != outputs or tuple(scale.shape) != (outputs, inputs // group) or inputs % group:
        raise InputError(
            f"weight_packed {list(packed.shape)} and weight_scale {list(scale.shape)} do not belong to a"
            f" layer {list(sizes)} in groups of {group}"
        )
    if not scale.is_floating_point() or not bool(torch.isfinite(scale).all()):
        raise InputError("weight_scale is not of finite numbers")
    values = unpack_int32(packed, bits, inputs)
    kept = scale.to(torch.float16 if halves else torch.bfloat16)
    return QuantizedWeight(values, kept, bits, group, offset)
