"""An estimate as lines for a terminal.

Public: `lines`, `check_lines`.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from llmkit.cli.common.streams import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmkit.benchmark.one_step import StepResult
    from llmkit.runtime.estimate.estimate import Estimate
    from llmkit.runtime.estimate.stages import Stage

MOST_ROWS = 1 << 16
"""Maximum number of rows in a batch that is tried."""
_WIDTH = 79
_MIB, _GIB = 1 << 20, 1 << 30
_NAMES = {
    "prompt": "reading {rows} x {prompt} tokens",
    "token": "each further token of {rows} {noun}",
    "pass": "a pass over {rows} x {prompt} tokens",
    "step": "a step of {rows} x {prompt} tokens",
}


def lines(found: Estimate, grid_source: str | None = None) -> list[str]:
    """Return the lines of an estimate; `grid_source` is the source of the grid's carbon intensity."""
    active = f", {_short(found.active_parameters)} for a token" * (
        found.active_parameters < 0.9 * found.parameters and found.task != "eval"
    )
    head = (
        f"{printable(found.model)}: {found.task}, {found.architecture}, {_short(found.parameters)}"
        f" parameters{active}, {found.layers} layers, {found.dtype}"
    )
    parts = (*found.notes, *_memory(found), *_compute(found), *_on(found), *_cost(found, grid_source))
    return [short for line in (head, *parts) for short in _wrapped(line)]


def check_lines(found: Estimate, measured: StepResult) -> list[str]:
    """Return lines that compare predicted and measured values."""
    rows = [("peak memory", size(found.total), size(measured.peak), found.total / measured.peak)]
    for stage in found.stages:
        seconds = measured.seconds.get(stage.name)
        if stage.seconds is not None and seconds:
            predicted = f"{'>= ' if stage.how == 'at least' else ''}{duration(stage.seconds)}"
            rows.append((stage.name, predicted, duration(seconds), stage.seconds / seconds))
    shown = [f"  {name:<14}{predicted:>14}{taken:>14}{ratio:>8.2f}" for name, predicted, taken, ratio in rows]
    return ["", f"check           {'predicted':>14}{'measured':>14}   ratio", *shown]


def _wrapped(line: str) -> list[str]:
    """Cut a line that is wider than most terminals; the rest is indented further."""
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.wrap(line, _WIDTH, subsequent_indent=indent, break_long_words=False) or [""]


def _memory(found: Estimate) -> Iterator[str]:
    yield ""
    yield "memory"
    for term in found.memory:
        yield f"  {term.name:<36} {size(term.bytes):>10}"
    together = sum(term.bytes for term in found.memory)
    if found.loading > together:
        yield f"  {'together, during the run':<36} {size(together):>10}"
        yield f"  {'additional, during loading':<36} {size(found.loading):>10}"
    yield f"  {'peak':<36} {size(found.total):>10}"
    yield f"  not counted: {', '.join(found.left_out)}"


def _compute(found: Estimate) -> Iterator[str]:
    yield ""
    yield "compute"
    for stage in found.stages:
        yield f"  {_named(found, stage)}"
        yield f"    {_operations(stage.flops)}, {size(stage.bytes)} of weights and cache read"


def _named(found: Estimate, stage: Stage) -> str:
    work = found.workload
    return _NAMES[stage.name].format(
        rows=f"{work.batch_size:,}",
        prompt=f"{work.prompt_tokens:,}",
        noun="rows" if work.batch_size > 1 else "row",
    )


def _on(found: Estimate) -> Iterator[str]:
    machine, fit = found.machine, found.fit
    if machine is None or fit is None:
        return
    work = found.workload
    yield ""
    numbers = f"{machine.memory_gb:g} GB, {machine.bandwidth_gbs:g} GB/s"
    yield f"on {printable(machine.name)} ({numbers}; {printable(machine.source)})"
    free = machine.memory - found.total
    fits, rest = ("fits", "free") if free >= 0 else ("does not fit", "missing")
    yield f"  {fits}: {size(abs(free))} {rest}"
    more = " or more" * (fit.largest_batch >= MOST_ROWS)
    yield f"  at most {fit.largest_batch:,}{more} rows of {work.tokens:,} tokens"
    rows = f"{work.batch_size:,} {'rows' if work.batch_size > 1 else 'row'}"
    yield f"  at most {fit.longest_row:,} tokens in {rows}"
    if machine.kind == "gpu":
        many = fit.fewest_devices
        yield f"  fewest devices: {'more than 1,000' if many is None else many}"
    for stage in found.stages:
        if stage.seconds:
            how = "at least " if stage.how == "at least" else ""
            speed = f"{'at most ' * bool(how)}{stage.tokens / stage.seconds:,.0f} tokens/s"
            yield f"  {_named(found, stage)}: {how}{duration(stage.seconds)} ({speed})"


def _cost(found: Estimate, grid_source: str | None) -> Iterator[str]:
    cost, work = found.cost, found.workload
    if cost is None:
        return
    rows = work.batch_size if work.rows is None else work.rows
    parts = [duration(cost.seconds)]
    if cost.kwh is not None:
        parts.append(f"{cost.kwh:.3g} kWh")
    if cost.carbon_kg is not None:
        parts.append(f"{cost.carbon_kg:.3g} kg CO2")
    if cost.price is not None:
        parts.append(f"price {cost.price:,.2f}")
    floor = "at least " * any(stage.how == "at least" for stage in found.stages)
    yield f"  {rows:,} {'rows' if rows > 1 else 'row'} in all: {floor}{', '.join(parts)}"
    if cost.kwh is not None or cost.price is not None:
        yield f"    {cost.how}"
    if cost.carbon_kg is not None and grid_source:
        yield f"    grid: {grid_source}"


def size(count: float) -> str:
    """Return a number of bytes in MiB or GiB."""
    return f"{count / _GIB:,.2f} GiB" if count >= _GIB else f"{count / _MIB:,.1f} MiB"


def duration(seconds: float) -> str:
    """Return a time in a readable form."""
    if seconds >= 36_000:
        return f"{seconds / 3600:,.1f} h"
    return f"{seconds:,.2f} s" if seconds >= 1 else f"{1000 * seconds:,.3g} ms"


def _operations(count: int) -> str:
    return f"{count / 1e12:,.2f} TFLOP" if count >= 1e13 else f"{count / 1e9:,.2f} GFLOP"


def _short(count: int) -> str:
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= unit:
            return f"{count / unit:,.3g}{letter}"
    return str(count)
