"""Report of a training run: the loss curve, and an HTML page.

Public: `ReportPage`, `write_report`, `curve`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmkit.text.html.page import Cell, coded, escape, page, table
from llmkit.text.html.svg import lines

# Maximum number of samples on a page: the last ones, which are the best.
_SAMPLES = 40


@dataclass(frozen=True)
class ReportPage:
    """Contents of a run's page.

    Attributes:
        name: name of the model.
        sentence: description of the model.
        command: command that started the run; "" is none.
        unit: unit of the loss: per "token" or per "pair".
        kept: step whose weights were kept; None if no held-out loss chose one.
        results, facts: lines of the tables: name and value.
    """

    name: str
    sentence: str
    command: str
    unit: str
    kept: int | None
    results: list[tuple[str, str]]
    facts: list[tuple[str, str]]


def write_report(metrics: Path, contents: ReportPage) -> None:
    """Write loss.svg and report.html next to metrics.jsonl.

    Args:
        metrics: the run's measurements, one JSON object per line.
        contents: the rest of the page.
    """
    # A sample can have line breaks of other kinds.
    lines = metrics.read_text(encoding="utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line]
    picture = curve(rows, f"nats per {contents.unit}", contents.kept)
    metrics.with_name("loss.svg").write_text(picture, encoding="utf-8", errors="replace")
    body = [f"<h1>{escape(contents.name)}</h1>", f'<p class="soft">{coded(contents.sentence)}</p>']
    if contents.command:
        body.append(f"<pre>{escape(contents.command)}</pre>")
    body += ["<h2>Loss</h2>", f"<figure>{picture}</figure>", "<h2>Result</h2>"]
    head = [Cell("", left=True), Cell("")]
    body.append(table(head, [[Cell(key, left=True), Cell(value)] for key, value in contents.results]))
    body.append("<h2>Data and recipe</h2>")
    body.append(table(head, [[Cell(key, left=True), Cell(value)] for key, value in contents.facts]))
    body += _samples(rows)
    metrics.with_name("report.html").write_text(
        page(contents.name, "\n".join(body)), encoding="utf-8", errors="replace"
    )


def _samples(rows: list[dict[str, Any]]) -> list[str]:
    found = [row for row in rows if "sample" in row][-_SAMPLES:]
    return ["<h2>Samples</h2>"] * bool(found) + [
        f'<p class="soft">step {row["step"]:,}</p>\n<pre>{escape(row["prompt"] + row["sample"])}</pre>'
        for row in found
    ]


def curve(rows: list[dict[str, Any]], up: str = "nats per token", kept: int | None = None) -> str:
    """Draw the loss over the steps as SVG: in training, and on held-out rows if it was measured.

    Args:
        rows: measurements, as in metrics.jsonl.
        up: label of the vertical axis.
        kept: step whose weights were kept, which is marked.
    """
    series = [
        (name, [(row["step"], row[key]) for row in rows if key in row])
        for name, key in (("training", "loss"), ("held out", "eval_loss"))
    ]
    mark = None if kept is None else (float(kept), f"selected: step {kept:,}")
    return lines([one for one in series if one[1]], across="step", up=up, mark=mark)
