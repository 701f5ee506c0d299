"""An evaluation as a table, as JSON, and as bare numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from llmkit import __version__
from llmkit.evaluation.scoring import Evaluation, Score


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Everything in it, as JSON has it; an interval that is not there and an infinite score are null."""
    result: dict[str, Any] = _finite(asdict(evaluation))
    for score in result["scores"]:
        if score["baseline"] is None:
            del score["baseline"]
        if evaluation.by is None:
            del score["group"]
    for name in ("by", "model"):
        if result[name] is None:
            del result[name]
    return result


def as_bare(evaluation: Evaluation) -> str:
    """The scores over all rows, four decimals, one a line."""
    return "\n".join(f"{score.score:.4f}" for score in evaluation.scores if score.group is None)


def as_table(evaluation: Evaluation) -> str:
    """Columns for a person, and below them what is needed to get the numbers again."""
    rows = score_cells(evaluation)
    left = 1 if evaluation.by is None else 2  # names stand left, numbers right
    lines = [_line(cells, widths, left) for widths in [_widths(rows)] for cells in rows]
    return "\n".join([*lines, "", *signatures(evaluation)])


def score_cells(evaluation: Evaluation) -> list[list[str]]:
    """The scores as the rows of a table, after its head."""
    percent = f"{100 * evaluation.confidence:g}%"
    paired = any(score.baseline for score in evaluation.scores)
    head = [evaluation.by] if evaluation.by is not None else []
    head += ["metric", "score", f"{percent} interval", "rows"]
    if paired:
        head += ["baseline", "difference", f"{percent} interval", "p (bootstrap)", "p (randomization)"]
    rows = [head]
    for score in evaluation.scores:
        cells = [score.group or "(all)"] if evaluation.by is not None else []
        cells += [score.name, _number(score.score, score), _interval(score.low, score.high, score)]
        cells.append(str(score.rows))
        if paired:
            cells += _compared(score)
        rows.append(cells)
    return rows


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _compared(score: Score) -> list[str]:
    other = score.baseline
    if other is None:
        return ["", "", "", "", ""]
    return [
        _number(other.score, score),
        _number(other.difference, score, sign="+"),
        _interval(other.low, other.high, score, sign="+"),
        f"{other.p_bootstrap:.4f}",
        f"{other.p_randomization:.4f}",
    ]


def signatures(evaluation: Evaluation) -> list[str]:
    """What another person needs to get the same numbers, a line for each metric."""
    found = {score.metric: score.signature for score in evaluation.scores if score.group is None}
    lines = [f"{metric}: {signature}" for metric, signature in found.items()]
    if evaluation.model is not None:
        lines.insert(0, f"model: {evaluation.model}")
    drawn = f"resamples:{evaluation.resamples}|seed:{evaluation.seed}"
    return [*lines, f"intervals: bootstrap|{drawn}|version:llmkit-{__version__}"]


def _number(value: float, score: Score, sign: str = "") -> str:
    """Two decimals of a hundred, four of anything else."""
    return f"{value:{sign}.{2 if score.scale == 100 else 4}f}"


def _interval(low: float | None, high: float | None, score: Score, sign: str = "") -> str:
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return ""
    return f"{_number(low, score, sign)} to {_number(high, score, sign)}"


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _line(cells: Sequence[str], widths: Sequence[int], left: int) -> str:
    aligned = [
        cell.ljust(width) if i < left else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(aligned).rstrip()
