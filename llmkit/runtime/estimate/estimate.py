"""Estimate the memory and time of generating text, before anything is loaded or downloaded.

Public: `Workload`, `Term`, `Estimate`, `estimate`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, OptionError
from llmkit.runtime.estimate.counts import ModelCounts

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from llmkit.runtime.estimate.machines import Machine
    from llmkit.runtime.spec import ModelSpec

_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
# Bytes of a weight: 8 bits and a float32 scale for each output, or 4 bits and a scale for 32 inputs.
_QUANTIZED = {"int8": 1.0, "int4": 0.5 + 4 / 32}
_LONGEST = 1 << 20  # tokens; a context that nothing limits ends here


@dataclass(frozen=True)
class Workload:
    """Lengths and number of the rows to generate.

    Attributes:
        prompt_tokens: tokens of each prompt.
        new_tokens: tokens that each answer gets.
        batch_size: rows at the same time.

    Raises:
        OptionError: a number is below 1.
    """

    prompt_tokens: int = 512
    new_tokens: int = 256
    batch_size: int = 1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise OptionError(name, "must be 1 or more")

    @classmethod
    def within(
        cls,
        positions: int,
        prompt_tokens: int | None = None,
        new_tokens: int | None = None,
        batch_size: int = 1,
    ) -> Workload:
        """Return a workload that fits the context; None takes the default, or less in a short context.

        Raises:
            OptionError: what was given is longer than the context.
        """
        prompt = prompt_tokens or min(512, max(1, positions * 2 // 3 - (new_tokens or 0)))
        new = new_tokens or max(1, min(256, positions - prompt))
        if prompt + new > positions:
            raise OptionError(
                "prompt_tokens", f"and `new_tokens` make {prompt + new:,}, and the model sees {positions:,}"
            )
        return cls(prompt, new, batch_size)

    @property
    def tokens(self) -> int:
        """Return the tokens of a row at its end."""
        return self.prompt_tokens + self.new_tokens


@dataclass(frozen=True)
class Term:
    """A part of the memory.

    Attributes:
        name: what takes it.
        bytes: how much.
        how: where the number is from.
    """

    name: str
    bytes: int
    how: str


@dataclass(frozen=True)
class Estimate:
    """The cost of a workload.

    Attributes:
        model: the model's name.
        architecture: its `model_type`.
        parameters: number of weights.
        active_parameters: those in the products of one token; fewer in a mixture of experts.
        layers: number of layers.
        dtype: dtype of weights and cache.
        workload: what was asked.
        memory: the parts of the memory, at its peak.
        left_out: what the memory does not hold.
        prompt_flops: operations that read all prompts.
        token_flops: operations of the next token of every row.
        token_bytes: bytes that the next token of every row reads: weights and cache.
        machine: the machine; None if none was named.
        fits: True if the memory is enough; None without a machine.
        largest_batch: most rows of this length that fit; 0 if none does, None without a machine.
        longest_row: most tokens of a row that fit at this batch size; None as above.
        prompt_seconds, token_seconds: shortest times of a prompt pass and of a token.
    """

    model: str
    architecture: str
    parameters: int
    active_parameters: int
    layers: int
    dtype: str
    workload: Workload
    memory: tuple[Term, ...]
    left_out: tuple[str, ...]
    prompt_flops: int
    token_flops: int
    token_bytes: int
    machine: Machine | None = None
    fits: bool | None = None
    largest_batch: int | None = None
    longest_row: int | None = None
    prompt_seconds: float | None = None
    token_seconds: float | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def total(self) -> int:
        """Return the bytes of all parts of the memory."""
        return sum(term.bytes for term in self.memory)


def estimate(
    spec: ModelSpec,
    machine: Machine | None = None,
    *,
    prompt_tokens: int | None = None,
    new_tokens: int | None = None,
    batch_size: int = 1,
) -> Estimate:
    """Estimate what generating text costs.

    Args:
        spec: the model, by its name, folder or cached repository; its weights are not read. `dtype` auto is
            the dtype of the file, `quantize` counts weights of 8 or 4 bits.
        machine: the device to fit into.
        prompt_tokens, new_tokens: lengths of a prompt and of its answer; None is 512 and 256, or less in a
            short context.
        batch_size: rows at the same time.

    Returns:
        Memory by its parts, operations, and for a machine what fits and the shortest times.

    Raises:
        InputError: there is no such model, or its architecture does not run without values.
        OptionError: an option has no such value.
    """
    import torch

    config, stored = _config(spec)
    workload = Workload.within(_positions(config), prompt_tokens, new_tokens, batch_size)
    dtype = stored if spec.dtype == "auto" else spec.dtype
    if dtype not in _BYTES:
        raise OptionError("dtype", f"{dtype}: use auto, float32, bfloat16 or float16")
    counts = ModelCounts(config, getattr(torch, dtype), spec.name)
    sizes = _Sizes(counts, _weight_bytes(counts, dtype, spec.quantize))
    rows = workload.batch_size
    cache = sizes.cache(rows, workload.tokens)
    working = counts.activation_bytes(rows, workload.prompt_tokens)
    own = counts.cache_bytes(rows, workload.prompt_tokens)
    memory = (
        Term("weights", sizes.weights, _weights_how(spec.quantize, dtype)),
        Term(
            f"cache of {rows} x {workload.tokens:,} tokens",
            cache,
            "the architecture's cache, without storage",
        ),
        Term(
            f"activations of {rows} x {workload.prompt_tokens:,} tokens",
            max(0, working - own),
            "live tensors of the prompt pass, without storage",
        ),
    )
    flops = counts.forward_flops(rows, workload.prompt_tokens)
    token_flops = 2 * counts.active_weights * rows + 2 * _attention(counts, workload.tokens) * rows
    read = round(sizes.weights * _share_read(counts, rows)) + cache
    found = Estimate(
        model=spec.name,
        architecture=str(config.model_type),
        parameters=counts.parameters,
        active_parameters=counts.active_weights,
        layers=counts.layers,
        dtype=dtype,
        workload=workload,
        memory=memory,
        left_out=("torch itself (0.3 to 0.6 GiB, on a GPU also its context)", "fragments of the allocator"),
        prompt_flops=flops,
        token_flops=token_flops,
        token_bytes=read,
    )
    return found if machine is None else _on(found, sizes, machine)


@dataclass(frozen=True)
class _Sizes:
    """Bytes of the parts of a model.

    Attributes:
        counts: the architecture.
        weights: bytes of all weights.
        known: bytes of one row's cache at some lengths.
    """

    counts: ModelCounts
    weights: int
    known: dict[int, int] = field(default_factory=dict)

    def cache(self, rows: int, tokens: int) -> int:
        """Return the bytes of the cache; between lengths that were counted they grow in a straight line."""
        return rows * self._of_one(tokens)

    def count_at(self, tokens: int) -> None:
        """Count the cache at a length."""
        if tokens not in self.known:
            self.known[tokens] = self.counts.cache_bytes(1, tokens)

    def _of_one(self, tokens: int) -> int:
        if tokens in self.known:
            return self.known[tokens]
        below = max((one for one in self.known if one < tokens), default=None)
        above = min((one for one in self.known if one > tokens), default=None)
        if below is None or above is None:
            self.count_at(tokens)
            return self.known[tokens]
        share = (tokens - below) / (above - below)
        return round(self.known[below] + share * (self.known[above] - self.known[below]))


def _config(spec: ModelSpec) -> tuple[PreTrainedConfig, str]:
    """Return a model's configuration and the dtype of its weights."""
    from transformers import AutoConfig

    from llmkit.runtime.checkpoint import inspect_checkpoint
    from llmkit.runtime.locate import locate

    if spec.adapter is not None:
        raise OptionError("adapter", "adds less than a hundredth; estimate the model without it")
    location = locate(spec.name, spec)
    if location.is_gguf:
        raise InputError(f"{spec.name}: a GGUF file; give the folder of the model that it was made from")
    checkpoint = inspect_checkpoint(
        location.folder, spec.name, task="feature-extraction", allow_bin=True, trusted=False
    )
    try:
        return AutoConfig.from_pretrained(location.folder, trust_remote_code=False), checkpoint.stored
    except Exception as error:  # configs of the wrong kind raise errors of many types
        raise InputError(f"{spec.name}: config.json: {error}") from None


def _weight_bytes(counts: ModelCounts, dtype: str, quantize: str | None) -> int:
    """Return the bytes of all weights."""
    each = _BYTES[dtype]
    if quantize is None:
        return round(counts.parameters * each)
    if quantize not in _QUANTIZED:
        raise OptionError("quantize", f"{quantize}: use int8 or int4")
    # Embeddings, and output layers that are tied to them, have 8 bits.
    eight = counts.embedding_weights
    low = counts.linear_weights - (eight if counts.tied else 0)
    rest = counts.parameters - low - eight
    return round(low * _QUANTIZED[quantize] + eight * _QUANTIZED["int8"] + max(0, rest) * each)


def _weights_how(quantize: str | None, dtype: str) -> str:
    kept = f"{quantize}, and {dtype} for the rest" if quantize else dtype
    return f"parameters of the architecture, in {kept}"


def _attention(counts: ModelCounts, tokens: int) -> int:
    """Return the multiplications of one token's attention to `tokens` others."""
    # What a prompt costs beyond its products, divided among its tokens; each looks at all of them.
    probe = min(tokens, 256)
    return max(0, counts.forward_flops(1, probe) // 2 - counts.active_weights * probe) * tokens // probe**2


def _share_read(counts: ModelCounts, rows: int) -> float:
    """Return the share of the weights that a token of `rows` rows reads; experts may differ by row."""
    if counts.active_share == 1:
        return 1.0
    experts = (counts.linear_weights - counts.active_weights) / (1 - counts.active_share)
    used = 1 - (1 - counts.active_share) ** rows  # rows choose independently
    return 1 - experts * (1 - used) / counts.parameters


def _on(found: Estimate, sizes: _Sizes, machine: Machine) -> Estimate:
    """Add what fits into a machine, and its shortest times."""
    work = found.workload
    counts = sizes.counts

    def total(rows: int, tokens: int) -> int:
        # Activations grow with the prompts, and this asks for prompts that leave room for the answer.
        prompt = max(1, tokens - work.new_tokens)
        scale = rows * prompt / (work.batch_size * work.prompt_tokens)
        return sizes.weights + sizes.cache(rows, tokens) + round(found.memory[2].bytes * scale)

    limit = _positions(counts.config)
    length = 1
    while length < limit:
        sizes.count_at(length)
        length *= 4
    sizes.count_at(limit)
    return replace(
        found,
        machine=machine,
        fits=found.total <= machine.memory,
        largest_batch=_largest(lambda rows: total(rows, work.tokens) <= machine.memory, 1 << 16),
        longest_row=_largest(lambda tokens: total(work.batch_size, tokens) <= machine.memory, limit),
        prompt_seconds=max(
            machine.compute_seconds(found.prompt_flops, found.dtype), machine.read_seconds(found.token_bytes)
        ),
        token_seconds=max(
            machine.compute_seconds(found.token_flops, found.dtype), machine.read_seconds(found.token_bytes)
        ),
    )


def _positions(config: Any) -> int:
    """Return the positions of the architecture, the answer included."""
    own = config.get_text_config(decoder=True)
    positions = getattr(own, "max_position_embeddings", None)
    return positions if isinstance(positions, int) and positions > 0 else _LONGEST


def _largest(fits: Callable[[int], bool], most: int) -> int:
    """Return the largest number up to `most` that fits; 0 if 1 does not."""
    if not fits(1):
        return 0
    low, high = 1, 2
    while high <= most and fits(high):
        low, high = high, 2 * high
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


__all__ = ["Estimate", "Term", "Workload", "estimate"]
