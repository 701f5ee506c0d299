"""Show a benchmark as a table, as plain text or as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from llmkit.benchmark.results import BenchmarkResult, Quantity, SystemResult

_SCALES = {"bytes": ((1e9, "GB"), (1e6, "MB")), "s": ((1, "s"), (1e-3, "ms"))}


def lines(result: BenchmarkResult, *, markdown: bool = False) -> list[str]:
    """Return the lines of a table: a row for each quantity and program, then the limits, then notes.

    Args:
        result: the benchmark.
        markdown: write a Markdown table.
    """
    rows = [["", "program", "median", "spread", "of the limit", "limit", "llmkit is"]]
    ours = result.systems[0]
    for own in ours.measurements:
        for system in result.systems:
            one = system.find(own.name)
            if one is not None:
                rows.append(_row(own, one, system))
    table = _markdown(rows) if markdown else _plain(rows)
    bullet = "- " if markdown else ""
    return [*table, *([""] if markdown else []), *(bullet + note for note in _notes(result))]


def _row(own: Quantity, one: Quantity, system: SystemResult) -> list[str]:
    share, limit = "", ""
    if one.limit is not None and one.share is not None:
        share, limit = f"{one.share:.0%}", f"{_amount(one.limit.value, one.unit)} ({one.limit.by})"
    ratio = ""
    if own is not one:
        times = own.median / one.median if one.unit == "tokens/s" else one.median / own.median
        ratio = f"{times:.2f} times as fast"
    spread = f"{one.spread:.0%}" if len(one.samples) > 1 else ""
    return [one.name, system.name, _amount(one.median, one.unit), spread, share, limit, ratio]


def _amount(value: float, unit: str) -> str:
    factor, name = next(
        (scale for scale in _SCALES.get(unit, ()) if value >= scale[0]), _SCALES.get(unit, ((1, unit),))[-1]
    )
    return f"{value / factor:.3g} {name}" if value / factor < 1000 else f"{value / factor:,.0f} {name}"


def _notes(result: BenchmarkResult) -> list[str]:
    options, limits = result.options, result.limits
    kind = result.dtype if result.quantize is None else f"{result.quantize}, {result.dtype}"
    lengths = "a quarter to all of " if options.mixed else ""
    found = [
        f"{result.model} ({kind}) on {result.device}, {result.threads} threads; {options.prompt_tokens}"
        f" prompt tokens, {options.new_tokens} new tokens, batches of {options.batch} with {lengths}those,"
        f" {options.repeats} rounds",
        f"limits measured here: {limits.bandwidth / 1e9:.1f} GB/s read from memory,"
        f" {limits.operations / 1e9:,.0f} GFLOP/s in a {limits.dtype} matrix product",
        *limits.notes,
        *(["; ".join(result.notes)] if result.notes else []),
        ", ".join(f"{name} {version}" for name, version in result.versions.items()),
    ]
    for system in result.systems:
        found += [f"{system.name}: {note}" for note in system.notes]
        if system.skipped is not None:
            found.append(f"{system.name} skipped: {system.skipped}")
    if result.busy:
        found.append(f"the machine is busy: {'; '.join(result.reasons)}")
    return found


def _plain(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as aligned lines, without columns that are empty below the header."""
    columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
    aligned = []
    for column in columns:
        width = max(map(len, column))
        aligned.append([cell.ljust(width) for cell in column])
    return ["  ".join(cells).rstrip() for cells in zip(*aligned, strict=True)]


def _markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    head, *rest = (f"| {' | '.join(row)} |" for row in rows)
    return [head, "|---" * len(rows[0]) + "|", *rest]
