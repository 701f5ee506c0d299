"""Estimate the memory, operations, time and price of a task, before anything is loaded or downloaded.

Public: `Estimate`, `Fit`, `estimate`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmkit.errors import OptionError
from llmkit.runtime.estimate.counts import ModelCounts, positions
from llmkit.runtime.estimate.energy import Cost, cost_of
from llmkit.runtime.estimate.memory import BYTES, MemoryPlan, Term
from llmkit.runtime.estimate.source import find_source
from llmkit.runtime.estimate.stages import Stage, stages_of
from llmkit.runtime.estimate.workload import Training, Workload, trains

if TYPE_CHECKING:
    from llmkit.runtime.estimate.machines import Machine
    from llmkit.runtime.estimate.source import ModelSource
    from llmkit.runtime.spec import ModelSpec

    Measure = Callable[[MemoryPlan], dict[str, float]]

_MOST_ROWS, _MOST_DEVICES = 1 << 16, 1024
_LEFT_OUT_GPU = "the driver's context and torch itself on a GPU (0.3 to 0.6 GiB)"


@dataclass(frozen=True)
class Fit:
    """Largest sizes that fit into a machine.

    Attributes:
        fits: True if the memory is enough.
        largest_batch: most rows of this length; 0 if none fits.
        longest_row: most tokens of a row at this batch size; 0 if none fits.
        fewest_devices: smallest number of devices with enough memory, if they share weights, cache, gradients
            and moments evenly, and each has the activations; None if a thousand are not enough.
    """

    fits: bool
    largest_batch: int
    longest_row: int
    fewest_devices: int | None


@dataclass(frozen=True)
class Estimate:
    """The cost of a task.

    Attributes:
        model: the model's name.
        task: one of `workload.TASKS`.
        architecture: its `model_type`.
        parameters: number of weights.
        active_parameters: those in the products of one token; fewer in a mixture of experts.
        layers: number of layers.
        dtype: dtype that the model computes in.
        workload: rows and lengths.
        training: options of a training; None for other tasks.
        memory: the parts of the memory, at its peak.
        loading: bytes while the weights are loaded, if that is known to matter; else 0.
        left_out: parts that the memory does not include.
        stages: operations and times of a batch.
        machine: the machine; None if none was named.
        fit: what fits into it; None without a machine.
        cost: cost of all batches; None without a machine.
        notes: notes for the reader.
    """

    model: str
    task: str
    architecture: str
    parameters: int
    active_parameters: int
    layers: int
    dtype: str
    workload: Workload
    training: Training | None
    memory: tuple[Term, ...]
    loading: int
    left_out: tuple[str, ...]
    stages: tuple[Stage, ...]
    machine: Machine | None = None
    fit: Fit | None = None
    cost: Cost | None = None
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """Return the bytes at the peak."""
        return max(self.loading, sum(term.bytes for term in self.memory))


def estimate(
    spec: ModelSpec,
    machine: Machine | None = None,
    *,
    task: str = "generate",
    prompt_tokens: int | None = None,
    new_tokens: int | None = None,
    batch_size: int | None = None,
    rows: int | None = None,
    training: Training | None = None,
    watts: float | None = None,
    grid: float | None = None,
    price: float | None = None,
    process: Callable[[], int] | None = None,
    measure: Measure | None = None,
) -> Estimate:
    """Estimate the cost of a task.

    Args:
        spec: the model; its weights are not read. `dtype` auto is what the verb would take on the machine,
            `quantize` counts weights of 8 or 4 bits.
        machine: the device to fit into.
        task: ``generate``, ``serve``, ``eval``, ``finetune`` or ``pretrain``.
        prompt_tokens, new_tokens, batch_size, rows: see `Workload`; None is the verb's default, or less in a
            short context.
        training: options of a training; None takes the defaults, an adapter for finetune.
        watts: power of a device; None takes the machine's.
        grid: grams of CO2 for a kWh; None leaves the carbon out.
        price: price of a device for an hour; None leaves it out.
        process: gives the bytes of a process without a model on a CPU; None takes what was measured before.
        measure: measures seconds of stages on this machine; None takes the floor of the data sheet.

    Returns:
        Memory by its parts, operations, and for a machine what fits, times and price.

    Raises:
        InputError: there is no such model, or its architecture does not run without values.
        OptionError: an option has no such value.
    """
    for name, value in (("watts", watts), ("price", price)):
        if value is not None and not 0 <= value < float("inf"):
            raise OptionError(name, f"must be 0 or more, not {value}")
    source = find_source(spec)
    given = (prompt_tokens, new_tokens, batch_size, rows)
    plan = _plan(spec, source, task, machine, given, training, process)
    found = _without_machine(plan)
    if machine is None:
        return found
    measured = {} if measure is None else measure(plan)
    stages = tuple(stage.on(machine, plan.dtype, measured) for stage in found.stages)
    seconds = plan.workload.batches * sum((stage.seconds or 0) * stage.times for stage in stages)
    fit = _fit(plan, machine)
    power = machine.watts or None if watts is None else watts
    cost = cost_of(seconds, devices=fit.fewest_devices or 1, watts=power, grid=grid, price=price)
    return replace(found, machine=machine, stages=stages, fit=fit, cost=cost)


def _plan(
    spec: ModelSpec,
    source: ModelSource,
    task: str,
    machine: Machine | None,
    given: tuple[int | None, int | None, int | None, int | None],
    training: Training | None,
    process: Callable[[], int] | None,
) -> MemoryPlan:
    """Return the memory of the task; `given` is prompt tokens, new tokens, batch size and rows."""
    import torch

    dtype = _dtype(spec, source, task, machine)
    counts = ModelCounts(source.config, getattr(torch, dtype), source.name)
    together = counts.kind != "seq2seq"
    work = Workload.within(positions(source.config), *given, task=task, together=together)
    return MemoryPlan(
        counts,
        source,
        task,
        work,
        training or Training(lora_rank=None if task == "pretrain" else Training.lora_rank),
        dtype=dtype,
        quantize=spec.quantize,
        on_cpu=machine is not None and machine.kind == "cpu",
        free=0.0 if machine is None else machine.memory,
        process=process,
    )


def _without_machine(plan: MemoryPlan) -> Estimate:
    """Return what does not depend on a machine's speed."""
    counts, work = plan.counts, plan.workload
    return Estimate(
        model=plan.source.name,
        task=plan.task,
        architecture=str(plan.source.config.model_type),
        parameters=counts.parameters,
        active_parameters=counts.active_weights,
        layers=counts.layers,
        dtype=plan.dtype,
        workload=work,
        training=plan.training if trains(plan.task) else None,
        memory=plan.terms(work.batch_size, work.prompt_tokens),
        loading=plan.loading,
        left_out=_left_out(plan.task, plan.on_cpu),
        stages=stages_of(plan),
        notes=plan.source.notes,
    )


def _dtype(spec: ModelSpec, source: ModelSource, task: str, machine: Machine | None) -> str:
    """Return the dtype that the model computes in."""
    import torch

    from llmkit.runtime.device import choose_dtype, cpu_has_bfloat16

    if spec.dtype != "auto":
        if spec.dtype not in BYTES:
            raise OptionError("dtype", f"{spec.dtype}: use auto, float32, bfloat16 or float16")
        return spec.dtype
    on_cpu = machine is not None and machine.kind == "cpu"
    if trains(task):
        return "bfloat16" if not on_cpu or cpu_has_bfloat16() else "float32"
    if not on_cpu:
        return source.stored
    return str(choose_dtype("auto", getattr(torch, source.stored), "cpu")[0]).removeprefix("torch.")


def _left_out(task: str, on_cpu: bool) -> tuple[str, ...]:
    found = () if on_cpu else (_LEFT_OUT_GPU, "fragments of the allocator")
    if trains(task):
        return (*found, "the rows of the data", "a held-out measurement", "writing a checkpoint")
    return (*found, "the text of the rows")


def _fit(plan: MemoryPlan, machine: Machine) -> Fit:
    work, memory = plan.workload, machine.memory
    limit = positions(plan.counts.config)
    source = work.prompt_tokens if plan.counts.kind == "seq2seq" else 0
    if not trains(plan.task) and not source and plan.counts.kind == "causal":
        length = 1
        while length < limit:
            plan.count_at(length)
            length *= 4
        plan.count_at(limit)
    together = 0 if source else work.new_tokens
    longest = _largest(lambda n: plan.total(work.batch_size, n) <= memory, max(1, limit - together))
    return Fit(
        fits=plan.total(work.batch_size, work.prompt_tokens) <= memory,
        largest_batch=_largest(lambda n: plan.total(n, work.prompt_tokens) <= memory, _MOST_ROWS),
        longest_row=longest + together if longest else 0,
        fewest_devices=next(
            (
                n
                for n in range(1, _MOST_DEVICES + 1)
                if plan.total(work.batch_size, work.prompt_tokens, n) <= memory
            ),
            None,
        ),
    )


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


__all__ = ["Estimate", "Fit", "Term", "Workload", "estimate"]
