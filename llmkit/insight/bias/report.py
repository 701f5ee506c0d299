"""Show a measurement of bias as a table of text, or as JSON."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from llmkit import __version__
from llmkit.evaluation.report import aligned
from llmkit.insight.bias.results import BiasMeasure, BiasResult
from llmkit.records.strict_json import finite

LONGEST_GROUP = 40
"""Most characters of a group's name in the table."""


def as_json(result: BiasResult) -> dict[str, Any]:
    """Return everything but the records as JSON; a number that is not finite is null."""
    found: dict[str, Any] = finite(asdict(result))
    del found["records"]
    return found | {"version": __version__}


def as_text(result: BiasResult, width: int = 100) -> str:
    """Return a table, and below it the meaning of the numbers, the flaws, and what reproduces them."""
    left = 2 if any(one.group is not None for one in result.measures) else 1
    rows = cells(result)
    table = aligned(rows, left)
    if max(map(len, table.split("\n"))) > width:
        table = _stacked(rows, left)
    parts = [result.title, table, ""]
    parts += [wrapped(line, width) for line in explanations(result)]
    return "\n".join(parts)


def _stacked(rows: Sequence[Sequence[str]], left: int) -> str:
    """Return a narrow table: the name of each measure is above its rows."""
    narrow = [["", *row[1:]] if left == 2 else ["", "", *row[1:]] for row in rows]
    head, *lines = aligned(narrow, 2).split("\n")
    found: dict[str, list[str]] = {}
    for row, line in zip(rows[1:], lines, strict=True):
        found.setdefault(row[0], []).append(line)
    return "\n".join([head, *(text for name, several in found.items() for text in (name, *several))])


def cells(result: BiasResult) -> list[list[str]]:
    """Return the rows of the table, its head first."""
    grouped = any(one.group is not None for one in result.measures)
    tested = any(one.p_adjusted is not None for one in result.measures)
    percent = f"{100 * result.confidence:g}% interval"
    head = ["measure", *(["group"] if grouped else []), "value", percent, "n"]
    head += ["p (Holm)"] if tested else []
    head += ["baseline", "difference", percent, "p"] if result.baseline is not None else []
    rows = [head]
    for one in result.measures:
        row = [one.name, *([_group(one)] if grouped else []), shown(one, one.value)]
        row += [_interval(one, one.low, one.high), str(one.n)]
        row += [p_text(one.p_adjusted)] if tested else []
        if result.baseline is not None:
            other = one.baseline
            row += ["", "", "", ""] if other is None else [
                shown(one, other.score),
                shown(one, other.difference, "+"),
                _interval(one, other.low, other.high, "+"),
                p_text(other.p_randomization),
            ]  # fmt: skip
        rows.append(row)
    return rows


def explanations(result: BiasResult) -> list[str]:
    """Return the sentences below the table."""
    lines = [f"{name}: {meaning}" for name, meaning in meanings(result).items()]
    lines += [f"known flaws: {result.flaws}"]
    lines += [f"note: {note}" for note in result.notes]
    lines += [result.warning, *reproduction(result)]
    return lines


def meanings(result: BiasResult) -> dict[str, str]:
    """Return the meaning of each measure, once."""
    return {one.name: one.meaning for one in result.measures}


def reproduction(result: BiasResult) -> list[str]:
    """Return what reproduces the numbers, line by line."""
    methods = {one.interval for one in result.measures if one.interval is not None}
    wilson = [one.name for one in result.measures if one.interval == "wilson"]
    lines = [result.signature]
    if result.baseline is not None:
        lines.append(f"baseline: {result.baseline}; p of the difference by random swaps")
    if "wilson" in methods:
        lines.append(f"wilson intervals: {', '.join(dict.fromkeys(wilson))}")
    drawn = f"resamples:{result.resamples}|seed:{result.seed}"
    lines.append(f"other intervals: bootstrap over templates|{drawn}|version:llmkit-{__version__}")
    return lines


def wrapped(line: str, width: int) -> str:
    """Return a line broken at spaces."""
    return textwrap.fill(line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def shown(one: BiasMeasure, value: float | None, sign: str = "") -> str:
    """Return a value of a measure as text: in percent with one decimal, or with three decimals."""
    if value is None or not math.isfinite(value):
        return "undefined"
    return f"{100 * value:{sign}.1f}%" if one.percent else f"{value:{sign}.3f}"


def p_text(p: float | None) -> str:
    """Return a p-value as text."""
    return "" if p is None or math.isnan(p) else "<.0001" if p < 1e-4 else f"{p:.4f}".removeprefix("0")


def _group(one: BiasMeasure) -> str:
    if one.group is None:
        return "(all)"
    text = " ".join(one.group.partition("=")[2].split())
    return text if len(text) <= LONGEST_GROUP else text[: LONGEST_GROUP - 1] + "…"


def _interval(one: BiasMeasure, low: float | None, high: float | None, sign: str = "") -> str:
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"{shown(one, low, sign)} to {shown(one, high, sign)}"


def grouped_by_name(measures: Sequence[BiasMeasure]) -> dict[str, list[BiasMeasure]]:
    """Return the measures of each name, in order."""
    found: dict[str, list[BiasMeasure]] = {}
    for one in measures:
        found.setdefault(one.name, []).append(one)
    return found
