"""Linear layers in the form of the native steps: addresses of weights, without copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmkit.engines.transformers import native_adapter
from llmkit.engines.transformers.native_library import NativeMatrix

if TYPE_CHECKING:
    import torch

KINDS = ("float32", "bfloat16")
"""Types of weights that are not quantized, by their number in `decoder.h`."""


def is_native(linear: Any) -> bool:
    """Return True if the native steps can multiply by a layer's weight."""
    import torch

    if not native_adapter.is_plain(linear):
        return False
    linear = native_adapter.base_layer(linear)
    if type(linear) is torch.nn.Linear:
        return bool(linear.weight.is_contiguous()) and _name(linear.weight.dtype) in KINDS
    return _quantized(linear) is not None


def read_alike(linears: Sequence[Any]) -> bool:
    """Return True if layers want the numbers that they read in one form, which a step makes once for all."""
    return len({_form(linear) for linear in linears}) == 1


def weight_bytes(linear: Any) -> int:
    """Return the bytes of a layer's weight; `is_native` must be True for the layer."""
    base = native_adapter.base_layer(linear)
    bits = base.bits if _quantized(base) is not None else 8 * base.weight.element_size()
    return int(base.out_features * base.in_features * bits // 8)


class NativeWeights:
    """Makes structures for C, and keeps references to the tensors whose memory they point to.

    Attributes:
        rank: the largest of the adapters so far.
    """

    def __init__(self) -> None:
        self.rank = 0
        self._held: list[Any] = []

    def matrix(self, linear: Any, bias: torch.Tensor | None = None) -> NativeMatrix:
        """Return a layer as a C structure.

        Args:
            linear: a layer for which `is_native` is True.
            bias: added to the result together with the layer's own bias, [outputs].
        """
        base = native_adapter.base_layer(linear)
        shape = (base.out_features, base.in_features)
        if bias is not None and base.bias is not None:
            bias = bias.float() + base.bias.detach().float()
        bias = base.bias if bias is None else bias
        if _quantized(base) is not None:
            matrix = NativeMatrix(self._with_bias(base, bias), None, *shape, base.bits)
        else:
            weight = base.weight.detach()
            self._held.append(weight)
            kind = KINDS.index(_name(weight.dtype))
            address = None if bias is None else self.floats(bias)
            matrix = NativeMatrix(weight.data_ptr(), address, *shape, kind)
        thin = native_adapter.low_rank(linear)
        if thin is not None:
            matrix.down, matrix.up, matrix.rank = self.floats(thin[0]), self.floats(thin[1]), len(thin[0])
            self.rank = max(self.rank, len(thin[0]))
        return matrix

    def _with_bias(self, base: Any, bias: torch.Tensor | None) -> int:
        """Return the address of a quantized weight; with a bias that is not the layer's own, of a copy."""
        from llmkit.linear import cpu

        packed = base.packed() if bias is base.bias else replace(base.packed(), bias=bias, memo={})
        self._held += [base, packed]
        return cpu.handle(packed)

    def floats(self, tensor: torch.Tensor) -> int:
        """Return the address of a float32 copy."""
        copy = tensor.detach().float().contiguous()
        self._held.append(copy)
        return copy.data_ptr()


def _form(linear: Any) -> str | int:
    """The type of a layer's weight; if it is quantized, the inputs that share a scale of the activations."""
    from llmkit.linear import cpu

    base = native_adapter.base_layer(linear)
    return _name(base.weight.dtype) if _quantized(base) is None else cpu.block_of(base.packed())


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _quantized(linear: Any) -> int | None:
    """Return the address of a quantized layer's weight in the native layout; None for another layout."""
    from llmkit.linear import cpu
    from llmkit.linear.modules import QuantizedLinear

    if not isinstance(linear, QuantizedLinear) or linear.kernel.function is not cpu.product:
        return None
    return cpu.handle(linear.packed())
