"""Round a model's weights to 4 bits so that its outputs change least: GPTQ (Frantar et al. 2022,
https://arxiv.org/abs/2210.17323).

Weights are rounded an input at a time, and the error of each is spread over the inputs not yet rounded, by
the inverse Hessian H = 2 X'X of the layer's squared output error. The scale of a group is chosen when its
first input is reached, for the weights as they are then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import nn

from llmkit.errors import InputError
from llmkit.linear.formats import QuantizedWeight, scale_4
from llmkit.linear.quantize import Quantization, is_linear, matrix, nearest, quantize_model, width
from llmkit.linear.registry import LinearKernel

DAMPING = 0.01
"""Share of the mean diagonal that is added to the Hessian's (the paper's 1 %)."""
MEMORY = 1 << 30
"""Bytes of Hessians that are gathered at a time."""
_BLOCK = 128


def gptq(
    weight: torch.Tensor, hessian: torch.Tensor, group: int, *, damping: float = DAMPING
) -> QuantizedWeight:
    """Round a weight to 4 bits with the least squared error of the layer's outputs.

    Args:
        weight: (outputs, inputs).
        hessian: sum of x x' over the layer's inputs x, (inputs, inputs), float32; a constant factor has no
            effect.
        group: inputs that share a scale; it must divide the inputs.
        damping: share of the mean diagonal that is added to it.

    Raises:
        InputError: the Hessian is not finite, or not positive even with the damping.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(
        1
    )  # the steps are small: threads would wait for each other, most of all on a busy machine
    try:
        return _gptq(weight, hessian, group, damping)
    finally:
        torch.set_num_threads(threads)


def _gptq(weight: torch.Tensor, hessian: torch.Tensor, group: int, damping: float) -> QuantizedWeight:
    outputs, inputs = weight.shape
    left = (
        weight.detach().to("cpu", torch.float32).T.contiguous()
    )  # (inputs, outputs): an input's weights together
    values = torch.empty(inputs, outputs, dtype=torch.int8)
    scale = torch.empty(outputs, inputs // group, dtype=torch.bfloat16)
    upper = _inverse_factor(hessian, damping)
    importance = 1 / upper.diagonal().square()
    for first in range(0, inputs, _BLOCK):
        last = min(first + _BLOCK, inputs)
        errors = torch.zeros(last - first, outputs)
        # numpy works on the same memory, and a small step costs it less.
        rows, known, spread = left[first:last].numpy(), errors.numpy(), upper[first:last, first:last].numpy()
        for row in range(last - first):
            if row % group == 0:
                # Groups divide a block, so that their weights have all errors of the blocks before.
                at = first + row
                chosen = scale_4(left[at : at + group].T, importance[at : at + group])
                scale[:, at // group] = chosen
                step = chosen.to(torch.float32).numpy()
                inverse = np.divide(1, step, out=np.zeros_like(step), where=step != 0)
            rounded = np.clip(np.rint(rows[row] * inverse), -8, 7)
            values[first + row] = torch.from_numpy(rounded)
            known[row] = (rows[row] - rounded * step) / spread[row, row]
            rows[row:] -= spread[row, row:, None] * known[row]
        left[last:].addmm_(upper[first:last, last:].T, errors, alpha=-1)
    return QuantizedWeight(values.T.contiguous(), scale, 4, group)


def _inverse_factor(hessian: torch.Tensor, damping: float) -> torch.Tensor:
    """The upper Cholesky factor of the damped Hessian's inverse, by which errors are spread."""
    damped = hessian.to("cpu", torch.float32).clone()
    if not bool(torch.isfinite(damped).all()):
        raise InputError("the calibration texts gave activations that are not finite")
    diagonal = damped.diagonal()
    diagonal[diagonal == 0] = 1  # an input that is always 0: its weight has no effect
    mean = float(diagonal.mean())
    for attempt in range(4):
        diagonal += damping * mean * 10**attempt
        lower, failed = torch.linalg.cholesky_ex(damped)
        if not int(failed):
            return torch.linalg.cholesky(torch.cholesky_inverse(lower), upper=True)
    raise InputError("there are too few calibration texts for a layer; give more")


def calibrate(
    model: nn.Module,
    batches: Sequence[torch.Tensor],
    group: int = 32,
    *,
    kernel: str | LinearKernel | None = None,
    skip: Sequence[str] = (),
    run: Callable[[nn.Module, torch.Tensor], object] | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Quantization:
    """`quantize_model` to 4 bits with GPTQ.

    Layers are processed in the order of the model, as many at a time as Hessians fit into `MEMORY`. For each
    part the texts run through the model once, with the earlier parts already quantized.

    Args:
        model: a transformers model in eval mode.
        batches: token ids, each (texts, tokens), without padding; about 4,096 tokens are enough for a small
            model.
        group, kernel, skip, progress: as of `quantize_model`.
        run: runs the model on a batch; None calls it with the ids.

    Raises:
        InputError, OptionError: as of `quantize_model`; also without any batch.
    """
    if not batches:
        raise InputError("calibration needs at least one text")
    waiting: dict[str, nn.Module] = {
        name: module for name, module in model.named_modules() if is_linear(module)
    }
    known: dict[str, torch.Tensor] = {}

    def rounding(name: str, layer: nn.Module, bits: int, size: int) -> QuantizedWeight:
        if bits == 8:
            waiting.pop(name, None)
            return nearest(name, layer, bits, size)
        if name not in known:
            known.update(_hessians(model, name, waiting, batches, run))
        waiting.pop(name, None)
        weight = nearest(name, layer, 4, size)  # refuses weights that are not finite, by name
        hessian = known.pop(name)
        if not bool(hessian.any()):
            return weight  # no text reached the layer
        try:
            return gptq(matrix(layer), hessian, size)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error

    return quantize_model(model, 4, group, kernel=kernel, skip=skip, rounding=rounding, progress=progress)


def _hessians(
    model: nn.Module,
    first: str,
    waiting: dict[str, nn.Module],
    batches: Sequence[torch.Tensor],
    run: Callable[[nn.Module, torch.Tensor], object] | None,
) -> dict[str, torch.Tensor]:
    """Sums of x x' of the layers from `first` on, as many as fit."""
    names = list(waiting)
    found: dict[str, torch.Tensor] = {}
    bytes_left = MEMORY
    for name in names[names.index(first) :]:
        size = width(waiting[name])
        if found and bytes_left < 4 * size * size:
            break
        bytes_left -= 4 * size * size
        found[name] = torch.zeros(size, size)
    with ExitStack() as hooks, torch.inference_mode():
        for name, total in found.items():
            handle = waiting[name].register_forward_pre_hook(_adder(total))
            hooks.callback(handle.remove)
        for batch in batches:
            run(model, batch) if run is not None else model(batch)
    return found


def _adder(total: torch.Tensor) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    def add(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        rows = inputs[0].reshape(-1, inputs[0].shape[-1]).to("cpu", torch.float32)
        total.addmm_(rows.T, rows)

    return add
