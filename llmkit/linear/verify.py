"""Prove a kernel for quantized products: compare it with x W' + bias in float64, over a matrix of cases.

A kernel that rounds activations must also give exact results, on inputs that rounding does not change.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from llmkit.errors import one_line
from llmkit.linear.formats import QuantizedWeight
from llmkit.linear.registry import LinearKernel, PackedWeight
from llmkit.linear.verify_cases import ROUNDING, SMALLEST_BLOCK, TOLERANCES, ProductCase, matrix

ALONE_AND_TOGETHER = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64)
"""Batch sizes in which a row must give the same bits as alone."""


@dataclass(frozen=True)
class ProductResult:
    """Result of one case.

    Args:
        name: name of the case.
        error: largest error divided by the allowed error; None if the case was not run.
        passed: True if the output is right; None if the kernel does not claim the property.
        note: the fault, or the reason why the case was not run.
    """

    name: str
    error: float | None
    passed: bool | None
    note: str = ""


def verify(kernel: LinearKernel, *, device: str = "cpu", quick: bool = False) -> Iterator[ProductResult]:
    """Run a kernel over its matrix.

    Args:
        kernel: the kernel.
        device: device to run on.
        quick: only one case of each kind.

    Yields:
        A result for each case; then for the layout, for rows alone and in batches, and for values that are no
        numbers.
    """
    for case in matrix(kernel, quick=quick):
        yield _run(kernel, case, device)
    for bits, gguf in itertools.product(kernel.bits, (False, True) if kernel.gguf else (False,)):
        case = ProductCase("", bits=bits, dtype=kernel.dtypes[0], activations="normal", gguf=gguf)
        case = replace(case, offset=gguf and bits == 4)
        kind = f"{bits} bits as in a GGUF file" if gguf else f"{bits} bits"
        yield _layout(kernel, replace(case, name=f"{kind}, the weight comes back from its layout"))
        yield _rows(kernel, replace(case, name=f"{kind}, a row alone and in a batch", rows=64), device)
        yield _not_a_number(kernel, replace(case, name=f"{kind}, NaN stays in its row"), device)


@dataclass(frozen=True)
class _Inputs:
    x: torch.Tensor  # (rows, inputs), float64, of the case's precision
    weight: QuantizedWeight
    bias: torch.Tensor | None  # float64


def inputs_of(case: ProductCase) -> _Inputs:
    """Return a case's inputs; equal cases give equal inputs."""
    made = torch.Generator().manual_seed(case.inputs * 131 + case.outputs * 7 + case.rows + case.bits)
    low, high = (-127, 128) if case.bits == 8 else (-8, 8)
    values = torch.randint(low, high, (case.outputs, case.inputs), generator=made).to(torch.int8)
    group = case.group if case.bits == 4 or case.gguf else case.inputs
    scale = torch.rand(case.outputs, case.inputs // group, generator=made) * 0.02 + 0.005
    sign = torch.randint(0, 2, scale.shape, generator=made) * 2 - 1 if case.bits == 4 else 1
    kind = torch.float16 if case.gguf else torch.bfloat16
    offset = (torch.randn(scale.shape, generator=made) * 0.05).to(kind) if case.offset else None
    weight = QuantizedWeight(values, (scale * sign).to(kind), case.bits, group, offset)
    if case.activations == "grid":
        x = torch.randint(-127, 128, (case.rows, case.inputs), generator=made).double()
        for first in range(0, case.inputs, SMALLEST_BLOCK):
            last = min(first + SMALLEST_BLOCK, case.inputs)
            at = torch.randint(first, last, (case.rows,), generator=made)
            ends = torch.randint(0, 2, (case.rows,), generator=made).double() * 254 - 127
            x[torch.arange(case.rows), at] = ends
    else:
        x = torch.randn(case.rows, case.inputs, generator=made, dtype=torch.float64)
        if case.activations == "large":
            x[:, :: max(1, case.inputs // 3)] *= 100
    x = x.to(getattr(torch, case.dtype)).double()
    bias = torch.randn(case.outputs, generator=made).double() if case.bias else None
    return _Inputs(x, weight, bias)


def truth(inputs: _Inputs) -> torch.Tensor:
    """Return x W' + bias in float64, from values, scales and offsets."""
    weight = inputs.weight
    numbers = weight.values.double()
    scale = weight.scale.double().repeat_interleave(weight.group, dim=1)
    if weight.offset is not None:
        offset = weight.offset.double().repeat_interleave(weight.group, dim=1)
        numbers = (numbers + 8) * scale + offset
    else:
        numbers *= scale
    found = torch.einsum("rk,nk->rn", inputs.x, numbers)
    return found if inputs.bias is None else found + inputs.bias


def allowed(inputs: _Inputs, case: ProductCase, kernel: LinearKernel) -> torch.Tensor:
    """Return the largest allowed error of each output."""
    products, own = TOLERANCES[case.dtype]
    numbers = inputs.weight.dequantize().double()
    size = (inputs.x.square() @ numbers.square().T).sqrt()
    limit = products * size + own * truth(inputs).abs() + 1e-6
    if kernel.activations == "int8" and case.activations != "grid":
        # Rounding to steps of a 127th of the row's largest input is an error of step / sqrt(12) in each.
        step = inputs.x.abs().amax(1, keepdim=True) / 127
        limit = limit + ROUNDING * step / math.sqrt(12) * numbers.square().sum(1).sqrt()
    return limit


def call(kernel: LinearKernel, case: ProductCase, inputs: _Inputs, device: str = "cpu") -> torch.Tensor:
    """Return the kernel's output for a case."""
    return _product(kernel, _packed(kernel, inputs, device), case, inputs.x, device)


def _packed(kernel: LinearKernel, inputs: _Inputs, device: str) -> PackedWeight:
    bias = None if inputs.bias is None else inputs.bias.to(device, torch.float32)
    packed = kernel.packed(inputs.weight, bias)
    packed.tensors = {name: tensor.to(device) for name, tensor in packed.tensors.items()}
    return packed


def _product(
    kernel: LinearKernel, packed: PackedWeight, case: ProductCase, x: torch.Tensor, device: str
) -> torch.Tensor:
    given = x.to(device, getattr(torch, case.dtype))
    if case.three:
        given = given.view(2, -1, case.inputs)
    with torch.inference_mode():
        found = kernel.function(given, packed)
    if not isinstance(found, torch.Tensor) or found.shape != (*given.shape[:-1], case.outputs):
        raise ValueError(f"it gives {getattr(found, 'shape', type(found))} for x of {tuple(given.shape)}")
    if found.dtype != given.dtype:
        raise ValueError(f"it gives {found.dtype} for x of {given.dtype}")
    return found.reshape(-1, case.outputs)


def _run(kernel: LinearKernel, case: ProductCase, device: str) -> ProductResult:
    inputs = inputs_of(case)
    expected, limit = truth(inputs), allowed(inputs, case, kernel)
    try:
        found = call(kernel, case, inputs, device).double().cpu()
    except Exception as error:
        # Whatever a kernel raises is its failure, and the next case still has to be tried.
        return ProductResult(case.name, None, False, f"{type(error).__name__}: {one_line(error, 200)}")
    if not bool(torch.isfinite(found).all()):
        return ProductResult(case.name, math.inf, False, "NaN or infinity in the output")
    worst = float(((found - expected).abs() / limit).max())
    return ProductResult(
        case.name, worst, worst <= 1, "" if worst <= 1 else _mistake(case, inputs, found, limit)
    )


def _mistake(case: ProductCase, inputs: _Inputs, found: torch.Tensor, limit: torch.Tensor) -> str:
    """Return a note on a wrong output: the common mistake that explains it, or the wrong rows."""
    weight = inputs.weight
    others = {
        "it is right without the bias": replace(inputs, bias=None),
        "it uses one scale where each group has its own": replace(
            inputs, weight=replace(weight, scale=weight.scale[:, :1].expand_as(weight.scale))
        ),
    }
    if case.inputs % 2 == 0:
        swapped = weight.values.view(case.outputs, -1, 2).flip(2).reshape(weight.values.shape)
        others["it takes the upper half of a byte for the lower"] = replace(
            inputs, weight=replace(weight, values=swapped)
        )
    right = truth(inputs)
    for note, other in others.items():
        wrong = truth(other)
        if not torch.equal(wrong, right) and bool(((found - wrong).abs() <= limit).all()):
            return note
    rows = ((found - right).abs() > limit).any(1)
    return "" if bool(rows.all()) else f"wrong in rows {rows.nonzero().flatten().tolist()[:8]} of {case.rows}"


def _layout(kernel: LinearKernel, case: ProductCase) -> ProductResult:
    inputs = inputs_of(replace(case, inputs=96, outputs=41))
    try:
        back = kernel.unpacked(kernel.packed(inputs.weight))
    except Exception as error:
        return ProductResult(case.name, None, False, f"{type(error).__name__}: {one_line(error, 200)}")
    weight = inputs.weight
    same = torch.equal(back.values, weight.values) and torch.equal(
        back.scale.to(weight.scale.dtype), weight.scale
    )
    if weight.offset is not None:
        same &= back.offset is not None and torch.equal(back.offset, weight.offset)
    return ProductResult(case.name, None, same, "" if same else "unpack does not undo pack")


def _rows(kernel: LinearKernel, case: ProductCase, device: str) -> ProductResult:
    if not kernel.row_independent:
        return ProductResult(case.name, None, None, "not claimed: row_independent")
    inputs = inputs_of(case)
    try:
        packed = _packed(kernel, inputs, device)
        alone = torch.cat(
            [_product(kernel, packed, case, inputs.x[row : row + 1], device) for row in range(case.rows)]
        )
        for rows in ALONE_AND_TOGETHER:
            for first in (0, case.rows - rows):
                part = slice(first, first + rows)
                if not torch.equal(_product(kernel, packed, case, inputs.x[part], device), alone[part]):
                    return ProductResult(case.name, None, False, f"a row has other bits in a batch of {rows}")
    except Exception as error:
        return ProductResult(case.name, None, False, f"{type(error).__name__}: {one_line(error, 200)}")
    return ProductResult(case.name, None, True)


def _not_a_number(kernel: LinearKernel, case: ProductCase, device: str) -> ProductResult:
    inputs = inputs_of(case)
    try:
        packed = _packed(kernel, inputs, device)
        before = _product(kernel, packed, case, inputs.x, device)
        for bad in (math.nan, math.inf):
            x = inputs.x.clone()
            x[1, 3] = bad
            found = _product(kernel, packed, case, x, device)
            if bool(torch.isfinite(found[1]).any()):
                return ProductResult(case.name, None, False, f"{bad} in x gives finite outputs")
            others = [row for row in range(case.rows) if row != 1]
            if not torch.equal(found[others], before[others]):
                return ProductResult(case.name, None, False, f"{bad} in a row of x changes other rows")
    except Exception as error:
        return ProductResult(case.name, None, False, f"{type(error).__name__}: {one_line(error, 200)}")
    return ProductResult(case.name, None, True)
