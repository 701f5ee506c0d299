"""Limits of the machine, the work of a token, and signs that other programs are running.

One stream decodes at most bandwidth / (bytes of a step's weights + bytes of the cache) tokens per second. A
prompt is read at most as fast as its products can be computed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.benchmark.results import Bound, MachineLimits
from llmkit.runtime.estimate.cache import token_bytes

if TYPE_CHECKING:
    import torch

    from llmkit.benchmark.systems import BenchmarkPrompt

_SPREAD = 0.25
_LOAD = 0.5


@dataclass(frozen=True)
class ModelWork:
    """The work of a model.

    Attributes:
        step_bytes: stored bytes that one decoding step reads, without the cache.
        step_weights: numbers in the matrices of a step.
        head_weights: those of them in the output layer.
        encoder_weights: numbers in the matrices of an encoder; 0 without one.
        cache_bytes: bytes of the cache for one token.
        attention_width: layers times query heads times their width.
        model_bytes: stored bytes of all weights.
        quantized: True if weights have 8 or 4 bits; the arithmetic of the dtype is then no limit.
    """

    step_bytes: int
    step_weights: int
    head_weights: int
    encoder_weights: int
    cache_bytes: int
    attention_width: int
    model_bytes: int
    quantized: bool


def measure_limits(device: str, dtype: torch.dtype, size: int | None = None) -> MachineLimits:
    """Measure the bandwidth of memory, and the arithmetic of a matrix product.

    Args:
        device: a device of torch.
        dtype: of the product.
        size: rows and columns of its matrices; None is large enough for the device.
    """
    from llmkit.runtime.estimate.this_machine import measure_speed

    found = measure_speed(device, dtype, size)
    return MachineLimits(found.bandwidth, found.operations, str(dtype).removeprefix("torch."), found.notes)


def model_work(model: Any) -> ModelWork | None:
    """Count the work of a model; None for a mixture of experts, whose steps read a part of the weights.

    Args:
        model: a causal or encoder-decoder model of transformers, quantized by llmkit or not.
    """
    from llmkit.linear.modules import QuantizedModule

    # Of an encoder-decoder, `get_text_config` would drop the names that begin with decoder_.
    own = model.config
    config = own if getattr(own, "is_encoder_decoder", False) else own.get_text_config(decoder=True)
    if any(getattr(config, name, None) for name in ("num_experts", "num_local_experts", "n_routed_experts")):
        return None
    head = model.get_output_embeddings()
    if model.config.is_encoder_decoder:
        modules = list({id(one): one for one in [*model.get_decoder().modules(), head]}.values())
        encoder = _weights(list(model.get_encoder().modules()))
    else:
        modules, encoder = list(model.modules()), 0
    heads = config.num_attention_heads
    layers = _first(config, "decoder_layers", "num_decoder_layers", "num_hidden_layers")
    width = _first(config, "head_dim", "d_kv") or config.hidden_size // heads
    head_weights = _weights([head])
    return ModelWork(
        step_bytes=_nbytes([one for one in modules if not _is_embedding(one)]),
        step_weights=_weights([one for one in modules if one is not head]) + head_weights,
        head_weights=head_weights,
        encoder_weights=encoder,
        cache_bytes=token_bytes(model.config, model.dtype),
        attention_width=layers * heads * width,
        model_bytes=_nbytes(list(model.modules())),
        quantized=any(isinstance(one, QuantizedModule) for one in modules),
    )


def _first(config: Any, *names: str) -> int:
    return next((int(value) for name in names if (value := getattr(config, name, None))), 0)


def _is_embedding(module: Any) -> bool:
    return hasattr(module, "num_embeddings")


def _weights(modules: Sequence[Any]) -> int:
    """Count the numbers of matrices that are multiplied; an embedding is looked up."""
    total = 0
    for module in modules:
        weight = getattr(module, "weight", None)
        if weight is not None and weight.dim() == 2 and not _is_embedding(module):
            total += weight.numel()
    return total


def _nbytes(modules: Sequence[Any]) -> int:
    """Sum the bytes of modules' own tensors, each once where modules share it."""
    found: dict[int, int] = {}
    total = 0
    for module in modules:
        own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        for tensor in own:
            found[tensor.data_ptr()] = tensor.nbytes
        weight = getattr(module, "weight", None)
        if weight is not None and weight.is_meta and not any(tensor.dim() > 1 for tensor in own):
            total += weight.numel() * weight.element_size()  # kept in a separate layout
    return total + sum(found.values())


def bounds(
    work: ModelWork, limits: MachineLimits, prompt: BenchmarkPrompt, batch: Sequence[BenchmarkPrompt]
) -> dict[str, Bound]:
    """Return the best that the machine allows, by the name of the quantity.

    Args:
        work: of the model.
        limits: of the machine.
        prompt: one that runs alone. Its decoding is judged at the middle of its answer.
        batch: prompts whose sequences all run together.
    """
    seconds, by = _step(work, limits, 1, prompt.length + prompt.new_tokens / 2)
    found = {"decode": Bound(1 / seconds, by)}
    if work.quantized:
        return found
    seconds, by = _prompt(work, limits, prompt.length)
    found |= {"first token": Bound(seconds, by), "prefill": Bound(prompt.length / seconds, by)}
    reading = sum(_prompt(work, limits, one.length)[0] for one in batch)
    tokens = sum(one.new_tokens for one in batch)
    steps = max(one.new_tokens for one in batch) - 1
    context = sum((one.length + one.new_tokens / 2) * one.new_tokens for one in batch) / tokens
    each, by = _step(work, limits, (tokens - len(batch)) / steps, context)
    by = by if steps * each > reading else "arithmetic"
    return {**found, "batch": Bound(tokens / (reading + steps * each), by)}


def _step(work: ModelWork, limits: MachineLimits, rows: float, context: float) -> tuple[float, str]:
    reading = (work.step_bytes + rows * context * work.cache_bytes) / limits.bandwidth
    if work.quantized:
        return reading, "bandwidth"
    operations = rows * (2 * work.step_weights + 4 * work.attention_width * context)
    return _slower(reading, operations / limits.operations)


def _prompt(work: ModelWork, limits: MachineLimits, tokens: int) -> tuple[float, str]:
    # A decoder computes logits for the last token only, and half of the scores are masked.
    reading = work.step_bytes / limits.bandwidth
    if work.encoder_weights:
        operations = 2 * (work.encoder_weights * tokens + work.step_weights)
    else:
        body = work.step_weights - work.head_weights
        operations = 2 * (body * tokens + work.head_weights) + 2 * work.attention_width * tokens**2
    return _slower(reading, operations / limits.operations)


def _slower(reading: float, computing: float) -> tuple[float, str]:
    return (reading, "bandwidth") if reading >= computing else (computing, "arithmetic")


def peak_memory() -> int:
    """Return the most bytes of memory that this process has had so far."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def load_average() -> float | None:
    """Return the processes that wanted a processor in the last minute; None where the system has no count."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def calibrate(clock: Callable[[], float] = time.perf_counter, rounds: int = 40) -> list[float]:
    """Return the times of a fixed loop in seconds; on an idle machine they are nearly equal."""
    taken = []
    for _ in range(rounds):
        started = clock()
        sum(range(100_000))
        taken.append(clock() - started)
    return taken


def signs_of_load(load: float | None, cores: int, loops: Sequence[float]) -> list[str]:
    """Return signs that other programs are running; none on a quiet machine.

    Args:
        load: from `load_average`, taken before the benchmark's own work.
        cores: processors of the machine.
        loops: from `calibrate`.
    """
    found = []
    if load is not None and load > _LOAD * cores:
        found.append(f"the load average is {load:.1f} on {cores} cores")
    ordered = sorted(loops)
    slow = ordered[len(ordered) * 9 // 10] / ordered[0] - 1
    if slow > _SPREAD:
        found.append(f"one in ten runs of a fixed loop takes {slow:.0%} longer than the fastest")
    return found
