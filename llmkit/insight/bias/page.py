"""Show a measurement of bias as one HTML page: numbers, intervals against the ideal, and telling items."""

from __future__ import annotations

import math
from typing import Any

from llmkit.insight.bias.report import cells, grouped_by_name, meanings, reproduction
from llmkit.insight.bias.results import BiasMeasure, BiasResult
from llmkit.text.html.page import Cell, escape, page, table
from llmkit.text.html.svg import Interval, intervals

SHOWN = 8
"""Number of items on the page."""
LONGEST = 600
"""Number of characters shown of a text."""


def as_page(result: BiasResult, *, model: str) -> str:
    """Return the page as HTML.

    Args:
        result: the measurement.
        model: name of the model.
    """
    against = f", against {escape(result.baseline)}" if result.baseline is not None else ""
    left = 2 if any(one.group is not None for one in result.measures) else 1
    head, *rows = cells(result)
    parts = [
        f"<h1>{escape(result.title)}</h1>",
        f'<p class="soft">bias of {escape(model)}{against}, measured by llmkit bias</p>',
        f"<article><strong>Read this first.</strong> {escape(result.warning)}</article>",
        "<h2>Numbers</h2>",
        table(
            [Cell(text, i < left) for i, text in enumerate(head)],
            [[Cell(text, i < left) for i, text in enumerate(row)] for row in rows],
        ),
        '<p class="soft">p (Holm): chance of a value so far from its ideal without bias, corrected for the'
        " number"
        " of values in this table.</p>",
        "<h2>Meaning</h2>",
        *(
            f"<p><strong>{escape(name)}</strong>: {escape(text)}</p>"
            for name, text in meanings(result).items()
        ),
        *_figures(result),
        *_items(result),
        "<h2>Known flaws</h2>",
        f"<p>{escape(result.flaws)}</p>",
        *(f"<p>{escape(note)}</p>" for note in result.notes),
        "<h2>To reproduce these numbers</h2>",
        f"<pre>{escape(chr(10).join(reproduction(result)))}</pre>",
    ]
    return page(f"{result.title}: bias of {model}", "\n".join(parts))


def _figures(result: BiasResult) -> list[str]:
    """Return a chart of each measure that has an interval, its groups next to it."""
    found = []
    for name, measures in grouped_by_name(result.measures).items():
        points = []
        for one in measures:
            if one.low is not None and one.high is not None and math.isfinite(one.value):
                factor = 100 if one.percent else 1
                points.append(Interval(_name(one), factor * one.value, factor * one.low, factor * one.high))
        if not points:
            continue
        first = measures[0]
        ideal = None if first.ideal is None else first.ideal * (100 if first.percent else 1)
        caption = f"{name}{', in percent' if first.percent else ''}, with {result.confidence:.0%} intervals"
        caption += "" if ideal is None else "; the dashed line is the ideal"
        drawn = intervals(points, mark=ideal)
        found.append(f"<figure>{drawn}<figcaption>{escape(caption)}</figcaption></figure>")
    return ["<h2>Intervals</h2>", *found] if found else []


def _name(one: BiasMeasure) -> str:
    return "all" if one.group is None else one.group.partition("=")[2]


def _items(result: BiasResult) -> list[str]:
    chosen = sorted(result.records, key=_weight, reverse=True)[:SHOWN]
    if not chosen:
        return []
    return ["<h2>Items to look at</h2>", *map(_item, chosen)]


def _weight(record: dict[str, Any]) -> float:
    """Return the difference of the two texts' scores, or what the measurement calls the weight."""
    scores = record["scores"]
    values = sorted((v for k, v in scores.items() if k in record["texts"]), reverse=True)
    if len(values) == 2:
        return float(values[0] - values[1])
    return abs(float(scores.get("weight", 0.0)))


def _item(record: dict[str, Any]) -> str:
    groups = [
        f"{key}: {value}"
        for key, value in record.items()
        if key not in ("id", "scores", "texts", "output", "context")
    ]
    header = " ".join(
        f"<span>{escape(text)}</span>" for text in (str(record["id"]), *groups, *_numbers(record))
    )
    parts = [f"<header>{header}</header>"]
    if "context" in record:
        parts.append(_text("context", record["context"]))
    for name, text in record["texts"].items():
        score = record["scores"].get(name)
        label = name if score is None else f"{name} ({score:.3f})"
        parts.append(_text(label, text))
    parts += [_text(name, text) for name, text in record.get("output", {}).items()]
    return f"<article>{''.join(parts)}</article>"


def _numbers(record: dict[str, Any]) -> list[str]:
    return [f"{k} {v:.4g}" for k, v in record["scores"].items() if k not in record["texts"] and k != "weight"]


def _text(label: str, text: str) -> str:
    cut = text if len(text) <= LONGEST else text[:LONGEST] + "…"
    return f'<p class="soft">{escape(label)}</p><div class="text">{escape(cut)}</div>'
