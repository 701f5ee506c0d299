"""Show an evaluation as a table, as JSON, or as bare numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from llmkit import __version__
from llmkit.evaluation.resampling import FEW_ROWS
from llmkit.evaluation.results import Comparison, Evaluation, Score
from llmkit.records.strict_json import finite


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Return everything as JSON; a missing interval and an infinite score are null."""
    result: dict[str, Any] = finite(asdict(evaluation))
    for score in result["scores"]:
        baselines = score.pop("baselines")
        if baselines:
            score["baseline"] = {key: value for key, value in baselines[0].items() if key != "name"}
        if len(baselines) > 1:
            score["baselines"] = baselines
        if evaluation.by is None:
            del score["group"]
        del score["task"], score["lower_is_better"]
    for name in ("by", "model"):
        if result[name] is None:
            del result[name]
    return result


def as_bare(evaluation: Evaluation) -> str:
    """Return the scores over all rows with four decimals, one per line."""
    return "\n".join(f"{score.score:.4f}" for score in evaluation.scores if score.group is None)


def as_table(evaluation: Evaluation) -> str:
    """Return an aligned table, one for each baseline, and everything needed to reproduce the numbers.

    Comparisons have separate tables, because the columns of both do not fit into 80 characters.
    """
    left = 1 if evaluation.by is None else 2  # names are aligned left, numbers right
    alone = replace(evaluation, scores=[replace(score, baselines=()) for score in evaluation.scores])
    parts = [aligned(score_cells(alone), left), ""]
    for title, cells in _comparison_cells(evaluation).items():
        parts += [f"{title}:", aligned(cells), ""]
    return "\n".join([*parts, *signatures(evaluation)])


def _comparison_cells(evaluation: Evaluation) -> dict[str, list[list[str]]]:
    """Return the rows of a table for each baseline and group, by its title, with a head of two lines."""
    head = [
        ["", "", "", f"{100 * evaluation.confidence:g}%", "p by", "p by"],
        ["metric", "baseline", "difference", "interval", "bootstrap", "randomization"],
    ]
    tables: dict[str, list[list[str]]] = {}
    for score in evaluation.scores:
        group = "" if score.group is None else f", {evaluation.by} {score.group}"
        for other in score.baselines:
            rows = tables.setdefault(f"against {other.name}{group}", [*head])
            rows.append([score.name, *_compared(score, other)])
    return tables


def score_cells(evaluation: Evaluation) -> list[list[str]]:
    """Return the rows of a table, its head first; a score has one row for each baseline."""
    percent = f"{100 * evaluation.confidence:g}%"
    baselines = max((len(score.baselines) for score in evaluation.scores), default=0)
    head = [evaluation.by] if evaluation.by is not None else []
    head += ["metric", "score", f"{percent} interval", "rows"]
    if baselines:
        head += ["against"] if baselines > 1 else []
        head += ["baseline", "difference", f"{percent} interval", "p (bootstrap)", "p (randomization)"]
    rows = [head]
    for score in evaluation.scores:
        cells = [score.group or "(all)"] if evaluation.by is not None else []
        cells += [score.name, number(score.score, score), _interval(score.low, score.high, score)]
        cells.append(str(score.rows))
        if not score.baselines:
            rows.append(cells + [""] * (len(head) - len(cells)))
        for i, other in enumerate(score.baselines):
            before = cells if i == 0 else [""] * len(cells)
            rows.append([*before, *([other.name] if baselines > 1 else []), *_compared(score, other)])
    return rows


def aligned(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return a table as aligned text; the first `left` columns are aligned left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for cells in rows:
        padded = [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def _compared(score: Score, other: Comparison) -> list[str]:
    """Return the cells of a comparison; a number that is undefined has an empty one."""
    cells = [
        number(other.score, score),
        number(other.difference, score, sign="+"),
        _interval(other.low, other.high, score, sign="+"),
        f"{other.p_bootstrap:.4f}",
        f"{other.p_randomization:.4f}",
    ]
    return ["" if "nan" in cell else cell for cell in cells]


def signatures(evaluation: Evaluation, compared: bool = False) -> list[str]:
    """Return everything needed to reproduce the numbers, line by line.

    Args:
        evaluation: the scores.
        compared: True if they are compared with other systems by a bootstrap.
    """
    found = {score.metric: score.signature for score in evaluation.scores if score.group is None}
    lines = [f"{metric}: {signature}" for metric, signature in found.items()]
    if evaluation.model is not None:
        lines.insert(0, f"model: {evaluation.model}")
    shares = [score.name for score in evaluation.scores if score.interval == "wilson" and score.group is None]
    if shares:
        lines.append(f"intervals of {', '.join(dict.fromkeys(shares))}: wilson")
    if compared or any(score.interval == "bootstrap" or score.baselines for score in evaluation.scores):
        drawn = f"resamples:{evaluation.resamples}|seed:{evaluation.seed}"
        lines.append(f"intervals: bootstrap|{drawn}|version:llmkit-{__version__}")
    return lines


def few_rows(evaluation: Evaluation, compared: bool = False) -> str | None:
    """Return a warning about bootstrap intervals and p-values of few rows; None if there are none.

    Args:
        evaluation: the scores.
        compared: True if they are compared with other systems by a bootstrap.
    """
    few = {
        score.group: score.rows
        for score in evaluation.scores
        if score.rows < FEW_ROWS and (compared or score.interval == "bootstrap" or score.baselines)
    }
    if not few:
        return None
    groups = f"{len(few)} group{'s' * (len(few) > 1)} with fewer than {FEW_ROWS} rows"
    rows = f"only {few[None]} row{'s' * (few[None] > 1)}" if None in few else groups
    numbers = "intervals" + " and p-values" * (
        compared or any(score.baselines for score in evaluation.scores)
    )
    return f"{rows}: {numbers} are unreliable; use at least {FEW_ROWS} rows, better hundreds"


def number(value: float, score: Score, sign: str = "") -> str:
    """Return a value with two decimals on a scale of 100, and with four on any other."""
    return f"{value:{sign}.{2 if score.scale == 100 else 4}f}"


def _interval(low: float | None, high: float | None, score: Score, sign: str = "") -> str:
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return ""
    return f"{number(low, score, sign)} to {number(high, score, sign)}"
