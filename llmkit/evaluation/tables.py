"""Tables of scores as aligned text, LaTeX, Markdown or CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from llmkit.evaluation.report import aligned, as_table, number, score_cells, signatures
from llmkit.evaluation.results import Evaluation
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
    """Return a table with one row for each system and one column for each score.

    The best score of a column is marked, and so are the scores that do not differ from it significantly.

    Args:
        systems: the scores.
        form: as in `of_scores`.
    """
    if form == "csv":
        return _csv(systems.evaluations, systems)
    first = next(iter(systems.evaluations.values()))
    columns = [score.name for score in first.scores]
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
        *signatures(first),
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


def _csv(evaluations: dict[str, Evaluation], systems: Systems | None = None) -> str:
    """Return one line for each score, with full precision."""
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(
        ["system", "group", "metric", "score", "low", "high", "rows"]
        + (["best", "p_against_best"] if systems is not None else [])
        + ["signature"]
    )
    for name, evaluation in evaluations.items():
        for score in evaluation.scores:
            cells = [name, score.group, score.name, score.score, score.low, score.high, score.rows]
            if systems is not None:
                p = systems.p_values.get(score.name, {}).get(name)
                cells += [int(name in systems.best(score.name)), p]
            lines.writerow(["" if cell is None else cell for cell in [*cells, score.signature]])
    return out.getvalue().removesuffix("\n")
