"""Tables of scores as aligned text, LaTeX, Markdown or CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from llmkit.evaluation.report import aligned, as_table, number, score_cells, signatures
from llmkit.evaluation.results import Comparison, Evaluation
from llmkit.evaluation.systems import Systems

_LATEX = {
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
}
_LATEX_SPECIAL = re.compile("|".join(re.escape(one) for one in _LATEX))
_MARK = {"text": ("", "*"), "latex": (r"\textbf{", "}"), "markdown": ("**", "**")}


def of_scores(evaluation: Evaluation, form: str) -> str:
    """Return the scores of one system.

    Args:
        evaluation: the scores.
        form: `text`, `latex`, `markdown` or `csv`. CSV has full precision; LaTeX needs the package booktabs.
    """
    if form == "text":
        return as_table(evaluation)
    if form == "csv":
        return _csv({"": evaluation})
    left = 1 if evaluation.by is None else 2
    cells = [[escape(cell, form) for cell in row] for row in score_cells(evaluation)]
    return _laid_out(cells, form, left, signatures(evaluation))


def of_systems(systems: Systems, form: str) -> str:
    """Return a table with one row per system and one column per score.

    The best score of a column is marked, and so are the scores that do not differ from it significantly.

    Args:
        systems: the scores.
        form: as in `of_scores`.
    """
    if form == "csv":
        return _csv(systems.evaluations, systems)
    first = next(iter(systems.evaluations.values()))
    # A system whose texts are too short for a score lacks it.
    most_first = sorted(systems.evaluations.values(), key=lambda one: -len(one.scores))
    columns = list(dict.fromkeys(score.name for one in most_first for score in one.scores))
    rows = [[escape("system", form), *(escape(column, form) for column in columns), "rows"]]
    opening, closing = _MARK[form]
    for name, evaluation in systems.evaluations.items():
        cells = [escape(name, form)]
        found = {score.name: score for score in evaluation.scores}
        for column in columns:
            score = found.get(column)
            text = number(score.score, score) if score is not None else ""
            cells.append(f"{opening}{text}{closing}" if name in systems.best(column) else text)
        rows.append([*cells, str(evaluation.rows)])
    if form == "text":  # numbers with and without a mark end in the same column
        marked = [any(row[i].endswith("*") for row in rows[1:]) for i in range(len(rows[0]))]
        rows = [
            [cell + " " * (mark and not cell.endswith("*")) for cell, mark in zip(row, marked, strict=True)]
            for row in rows
        ]
    sign = f"{1 - systems.confidence:.3g}"
    notes = [
        f"marked: the best score of a column, and those that do not differ from it at p < {sign}"
        " (paired bootstrap, two-sided)",
        *signatures(first, compared=True),
    ]
    return _laid_out(rows, form, 1, notes)


def escape(text: str, form: str) -> str:
    """Return a text with the special characters of LaTeX or Markdown escaped."""
    if form == "latex":
        return _LATEX_SPECIAL.sub(lambda found: _LATEX[found.group()], text)
    if form == "markdown":
        return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", text.replace("\n", " "))
    return text


def _laid_out(rows: Sequence[Sequence[str]], form: str, left: int, notes: Sequence[str]) -> str:
    head, *body = rows
    if form == "text":
        return "\n".join([aligned(rows, left), "", *notes])
    if form == "markdown":
        rule = [":--" if i < left else "--:" for i in range(len(head))]
        lines = [f"| {' | '.join(row)} |" for row in [head, rule, *body]]
        return "\n".join([*lines, "", *(f"<!-- {note.replace('--', '- -')} -->" for note in notes)])
    kinds = "l" * left + "r" * (len(head) - left)
    lines = [" & ".join(row) + r" \\" for row in rows]
    return "\n".join(
        [
            *(f"% {note}" for note in notes),
            rf"\begin{{tabular}}{{{kinds}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def flat(evaluations: Mapping[str, Evaluation], systems: Systems | None = None) -> list[dict[str, Any]]:
    """Return a row with full precision for each score and each baseline that it is compared with.

    Args:
        evaluations: scores of each system, by its name.
        systems: the comparison of several systems.
    """
    found: list[dict[str, Any]] = []
    compared = any(score.baselines for one in evaluations.values() for score in one.scores)
    for name, evaluation in evaluations.items():
        for score in evaluation.scores:
            row = {
                **{"system": name, "group": score.group, "metric": score.name, "score": score.score},
                **{"low": score.low, "high": score.high, "rows": score.rows},
            }
            if systems is not None:
                row["best"] = int(name in systems.best(score.name))
                row["p_against_best"] = systems.p_values.get(score.name, {}).get(name)
            for other in score.baselines or [None]:
                found.append({**row, **_against(other, compared), "signature": score.signature})
    return found


def _against(other: Comparison | None, compared: bool) -> dict[str, Any]:
    if not compared:
        return {}
    names = {
        **{"baseline": "name", "baseline_score": "score", "difference": "difference"},
        **{"difference_low": "low", "difference_high": "high"},
        **{"p_bootstrap": "p_bootstrap", "p_randomization": "p_randomization"},
    }
    return {column: None if other is None else getattr(other, name) for column, name in names.items()}


def _csv(evaluations: Mapping[str, Evaluation], systems: Systems | None = None) -> str:
    """Return one line for each row of `flat`."""
    rows = flat(evaluations, systems)
    out = io.StringIO()
    lines = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    lines.writeheader()
    lines.writerows({name: "" if cell is None else cell for name, cell in row.items()} for row in rows)
    return out.getvalue().removesuffix("\n")
