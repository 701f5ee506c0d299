"""The work of a task by its stages: operations, bytes that are read, and time.

Public: `Stage`, `stages_of`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmkit.runtime.estimate.workload import trains

if TYPE_CHECKING:
    from llmkit.runtime.estimate.counts import ModelCounts
    from llmkit.runtime.estimate.machines import Machine
    from llmkit.runtime.estimate.memory import MemoryPlan
    from llmkit.runtime.estimate.workload import Training

_PROBE = 256  # tokens at which the cost of attention is counted


@dataclass(frozen=True)
class Stage:
    """A part of the work on a batch.

    Attributes:
        name: ``prompt``, ``token``, ``pass`` or ``step``.
        flops: floating point operations.
        bytes: bytes of weights and cache that are read.
        tokens: tokens that are read or written by it.
        times: number of times that it happens for a batch.
        seconds: time of one; None without a machine.
        how: source of the time: ``at least`` for a floor by the data sheet, or ``measured``.
    """

    name: str
    flops: int
    bytes: int
    tokens: int
    times: int = 1
    seconds: float | None = None
    how: str = ""

    def on(self, machine: Machine, dtype: str, measured: dict[str, float]) -> Stage:
        """Return the stage with its time on a machine.

        Args:
            machine: gives the floor.
            dtype: dtype of the products.
            measured: seconds that were measured, by the name of the stage.
        """
        if self.name in measured:
            return replace(self, seconds=measured[self.name], how="measured")
        floor = max(machine.compute_seconds(self.flops, dtype), machine.read_seconds(self.bytes))
        return replace(self, seconds=floor, how="at least")


def stages_of(plan: MemoryPlan) -> tuple[Stage, ...]:
    """Return the stages of a batch of the plan's workload, without times."""
    counts, work, task = plan.counts, plan.workload, plan.task
    rows, prompt = work.batch_size, work.prompt_tokens
    reading = counts.forward_flops(rows, prompt)
    if trains(task):
        flops = round(reading * _passes(plan.training, task))
        passes = plan.training.gradient_accumulation
        return (Stage("step", flops * passes, plan.weights, rows * prompt * passes),)
    if task == "eval":
        return (Stage("pass", reading, plan.weights, rows * prompt),)
    first = Stage("prompt", reading, plan.weights, rows * prompt)
    if work.new_tokens < 2:
        return (first,)
    # An answer's first token comes from the prompt; the others at half of the answer's length on average.
    middle = work.new_tokens // 2 + (0 if counts.kind == "seq2seq" else prompt)
    token = 2 * counts.active_weights * rows + 2 * attention_products(counts, middle) * rows
    source = prompt if counts.kind == "seq2seq" else 0
    read = round(_read_weights(plan) * share_read(counts, rows)) + plan.cache(rows, middle, source)
    return first, Stage("token", token, read, rows, work.new_tokens - 1)


def _passes(training: Training, task: str) -> float:
    """Return the forward passes that a step costs: backward costs two, of a frozen matrix one."""
    recomputed = 1 if training.gradient_checkpointing else 0
    return (3 if training.lora_rank is None or task == "pretrain" else 2) + recomputed


def _read_weights(plan: MemoryPlan) -> int:
    """Return the bytes of weights that a token reads: a decoder's alone behind an encoder."""
    counts = plan.counts
    if counts.kind != "seq2seq":
        return plan.weights
    return round(plan.weights * counts.active_weights / max(1, counts.parameters))


def attention_products(counts: ModelCounts, tokens: int) -> int:
    """Return the multiplications of one token's attention to `tokens` others."""
    if counts.kind == "seq2seq":
        return 0
    # What a prompt costs beyond its products, divided among its tokens; each looks at all of them.
    probe = min(tokens, _PROBE)
    beyond = counts.forward_flops(1, probe) // 2 - counts.active_weights * probe
    return max(0, beyond) * tokens // probe**2


def share_read(counts: ModelCounts, rows: int) -> float:
    """Return the share of the weights that a token of `rows` rows reads; experts may differ by row."""
    if counts.active_share == 1:
        return 1.0
    experts = (counts.linear_weights - counts.active_weights) / (1 - counts.active_share)
    used = 1 - (1 - counts.active_share) ** rows  # rows choose independently
    return 1 - experts * (1 - used) / counts.parameters
