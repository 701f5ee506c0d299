"""Weights of 8 and 4 bits: rounding to them and back, and their layout in compressed-tensors' files.

Both formats are symmetric: weight = value * scale. Weights of 8 bits have a scale for each output, weights of
4 bits one for each output and group of inputs. Scales are bfloat16 numbers, and values are rounded with the
stored scale, so the file contains exactly the numbers that are used.

Weights of a GGUF file (Q8_0, Q4_0, Q4_1) keep that file's numbers: float16 scales by group in 8 bits too, and
for Q4_1 an offset for each group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from llmkit.errors import InputError

if TYPE_CHECKING:
    import torch

BITS = (8, 4)
GROUPS = (128, 64, 32, 16)
"""Inputs that share a scale in 4 bits; a width that the wanted size does not divide takes the next smaller
one."""
# What the largest weight of a group becomes: -8, the side with one value more, or 7, or a little beyond,
# clipped.
_REACHES = (*(-8.6 + 0.2 * step for step in range(8)), *(6.6 + 0.2 * step for step in range(8)))
# Weights at a time: their float copies stay in the processor's cache. Operations on fewer than 32,768 numbers
# run on one thread in torch; waking the others for each costs more than all the work, most of all on a busy
# machine.
_CHUNK = 32_000


class MatrixRows(Protocol):
    """A matrix that is read some rows at a time: a tensor, or a matrix in a file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Outputs and inputs."""

    def __getitem__(self, rows: slice, /) -> torch.Tensor:
        """Return some of its rows."""


@dataclass(frozen=True)
class QuantizedWeight:
    """A quantized weight.

    Attributes:
        values: int8 (outputs, inputs), in [-127, 127] for 8 bits and [-8, 7] for 4.
        scale: (outputs, inputs / group), so one column for 8 bits; bfloat16, or float16 from a GGUF file.
        bits: 8 or 4.
        group: inputs that share a scale; all of them for 8 bits, if the weight is not from a GGUF file.
        offset: float16, shaped as the scale, or None. With it weight = (value + 8) * scale + offset.
    """

    values: torch.Tensor
    scale: torch.Tensor
    bits: int
    group: int
    offset: torch.Tensor | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs and inputs."""
        return self.values.shape[0], self.values.shape[1]

    def dequantize(self, dtype: torch.dtype | None = None) -> torch.Tensor:
        """The weight as numbers (outputs, inputs), float32 unless `dtype` says otherwise."""
        import torch

        outputs, inputs = self.shape
        grouped = self.values.view(outputs, -1, self.group).to(torch.float32)
        if self.offset is not None:
            grouped += 8
        grouped *= self.scale.to(torch.float32)[..., None]
        if self.offset is not None:
            grouped += self.offset.to(torch.float32)[..., None]
        return grouped.view(outputs, inputs).to(dtype)

    @property
    def is_gguf(self) -> bool:
        """True for the numbers of a GGUF file, which not every kernel takes."""
        import torch

        return self.scale.dtype == torch.float16


def fitting_group(inputs: int, group: int) -> int | None:
    """The largest of `GROUPS` up to `group` that divides `inputs`; None if there is none.

    Raises:
        InputError: `group` is none of `GROUPS`.
    """
    if group not in GROUPS:
        raise InputError(f"group: {group} is none of {', '.join(map(str, GROUPS))}")
    return next((size for size in GROUPS if size <= group and inputs % size == 0), None)


def quantize(
    weight: torch.Tensor | MatrixRows, bits: int, group: int = 32, *, scale: torch.Tensor | None = None
) -> QuantizedWeight:
    """Round a weight to the nearest values of 8 or 4 bits.

    For 4 bits the scale of each group is the one of several candidates with the least squared error; the
    largest magnitude becomes about -8 or 7, so a scale may be negative.

    Args:
        weight: (outputs, inputs), of any floating-point type.
        bits: 8 or 4.
        group: inputs that share a scale in 4 bits; it must divide the inputs (see `fitting_group`).
        scale: the scales to use, shaped as of `QuantizedWeight`; None to choose them.

    Raises:
        InputError: another number of bits, a group that does not divide the width, or weights that are not
            finite.
    """
    import torch

    if bits not in BITS:
        raise InputError(f"bits: {bits} is none of {', '.join(map(str, BITS))}")
    outputs, inputs = weight.shape
    if bits == 8:
        group = inputs
    if group < 1 or inputs % group:
        raise InputError(f"group: {group} does not divide a layer's {inputs} inputs")
    values = torch.empty(outputs, inputs, dtype=torch.int8)
    scales = torch.empty(outputs, inputs // group, dtype=torch.bfloat16)
    step = max(1, _CHUNK // max(inputs, 1))  # rows at a time: no second float copy of the weight is made
    for first in range(0, outputs, step):
        rows = weight[first : first + step].detach().to("cpu", torch.float32)
        if rows.numel() and not bool(torch.isfinite(rows.abs().amax())):  # NaN is the largest of all
            raise InputError("the model has weights that are not finite numbers and cannot be quantized")
        rows = rows.view(rows.shape[0], -1, group)
        if scale is not None:
            chosen = scale[first : first + step].to(torch.bfloat16)
        else:
            chosen = scale_8(rows) if bits == 8 else scale_4(rows)
        scales[first : first + step] = chosen
        values[first : first + step] = round_to(rows, chosen, bits).view(rows.shape[0], inputs)
    return QuantizedWeight(values, scales, bits, group)


def round_to(rows: torch.Tensor, scale: torch.Tensor, bits: int) -> torch.Tensor:
    """The nearest int8 values of groups of float32 weights (..., group) for bfloat16 scales (...)."""
    import torch

    rounded = torch.empty_like(rows)
    _rounded(rows, scale.to(torch.float32)[..., None], bits, rounded)
    return rounded.to(torch.int8)


def _rounded(rows: torch.Tensor, by: torch.Tensor, bits: int, out: torch.Tensor) -> None:
    """Write the nearest values of `rows` for the scales `by` into `out`, in float32; a scale of 0 gives 0."""
    import torch

    torch.div(rows, by.masked_fill(by == 0, torch.inf), out=out)
    out.round_().clamp_(*((-127, 127) if bits == 8 else (-8, 7)))


def scale_8(rows: torch.Tensor) -> torch.Tensor:
    """Bfloat16 scales (...) of groups of weights (..., group): the largest magnitude becomes 127."""
    import torch

    return (rows.abs().amax(-1) / 127).to(torch.bfloat16)


def scale_4(rows: torch.Tensor, importance: torch.Tensor | None = None) -> torch.Tensor:
    """Bfloat16 scales (...) of groups of weights (..., group) for 4 bits, with the least squared error.

    Args:
        rows: weights, float32.
        importance: how much each input's squared error counts, broadcast to `rows`; None: all alike.
    """
    import torch

    top = _largest(rows)
    best = torch.full_like(top, torch.inf)
    chosen = torch.zeros_like(top, dtype=torch.bfloat16)
    error = torch.empty_like(rows)
    for reach in _REACHES:
        scale = (top / reach).to(torch.bfloat16)
        by = scale.to(torch.float32)[..., None]
        _rounded(rows, by, 4, error)
        torch.sub(rows, error.mul_(by), out=error).square_()
        squared = (error if importance is None else error.mul_(importance)).sum(-1)
        better = squared < best
        best = torch.where(better, squared, best)
        chosen = torch.where(better, scale, chosen)
    return chosen


def _largest(rows: torch.Tensor) -> torch.Tensor:
    """The number of the largest magnitude in each group (..., group); the first of several."""
    import torch

    high, low = rows.amax(-1), rows.amin(-1)
    top = torch.where(high > -low, high, low)
    both = (high == -low) & (high != 0)
    if bool(both.any()):
        tied = rows[both]
        top[both] = tied.gather(-1, tied.abs().argmax(-1, keepdim=True))[..., 0]
    return top


def pack_int32(values: torch.Tensor, bits: int) -> torch.Tensor:
    """Values (outputs, inputs) as ``weight_packed``: int32 (outputs, ceil(inputs * bits / 32)), low bits
    first.

    Each value is stored as value + 2^(bits - 1). The layout is compressed-tensors' ``pack-quantized``
    (https://github.com/vllm-project/compressed-tensors).
    """
    import torch

    outputs, inputs = values.shape
    each = 32 // bits
    padded = torch.nn.functional.pad(values, (0, -inputs % each))
    unsigned = (padded.to(torch.int16) + (1 << (bits - 1))).to(torch.uint8)
    if bits == 4:
        unsigned = unsigned[:, 0::2] | (unsigned[:, 1::2] << 4)
    return unsigned.contiguous().view(torch.int32).view(outputs, -1)


def unpack_int32(packed: torch.Tensor, bits: int, inputs: int) -> torch.Tensor:
    """The int8 values (outputs, inputs) of a ``weight_packed``.

    Raises:
        InputError: its width does not belong to so many inputs, or its type is not int32.
    """
    import torch

    each = 32 // bits
    if packed.dtype != torch.int32 or packed.dim() != 2 or packed.shape[1] != -(-inputs // each):
        raise InputError(
            f"weight_packed has {list(packed.shape)} {packed.dtype}; {inputs} inputs of {bits} bits need"
            f" {-(-inputs // each)} int32 in a row"
        )
    unsigned = packed.contiguous().view(torch.uint8)
    if bits == 4:
        unsigned = torch.stack((unsigned & 15, unsigned >> 4), dim=-1).view(packed.shape[0], -1)
    signed = (unsigned - (1 << (bits - 1))).view(torch.int8)  # whole numbers wrap around
    return signed[:, :inputs].contiguous()
