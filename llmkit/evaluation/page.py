"""Show an evaluation as one HTML page: scores, intervals, distribution over rows, best and worst rows.

Memory does not grow with the number of rows: the page keeps a sample of their scores, and the few rows that
it shows.
"""

from __future__ import annotations

import difflib
import heapq
import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from llmkit.evaluation.metric import Example
from llmkit.evaluation.report import few_rows, score_cells, signatures
from llmkit.evaluation.results import Evaluation, Record
from llmkit.text.html.page import Cell, escape, page, table
from llmkit.text.html.svg import Interval, histogram, intervals

SHOWN = 8
"""Number of best rows, of worst rows, and of rows that differ most from the baseline."""
SAMPLED = 10_000
"""Number of rows whose scores are kept for the plots."""
LONGEST = 2_000
"""Number of characters shown of a text."""
INPUTS = 4
"""Number of input columns shown of a row."""
_NO_INPUT = frozenset({"prediction", "references", "reference", "answers", "error", "llmkit_error", "id"})
_PIECES = re.compile(r"\s+|[^\W_]+|.", re.DOTALL)


@dataclass
class PlottedRows:
    """Rows for a page; `add` receives each row after scoring.

    Attributes:
        seed: seed of the sample of rows.
        lower_is_better: the first score is an error or a loss.
        count: number of rows so far.
        scores: sampled scores of single rows, by name.
        others: the same for the first baseline.
    """

    seed: int = 0
    lower_is_better: bool = False
    count: int = 0
    scores: dict[str, list[float]] = field(default_factory=dict)
    others: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._best: list[tuple[float, int, Record]] = []
        self._worst: list[tuple[float, int, Record]] = []
        self._moved: list[tuple[float, int, Record]] = []

    def add(self, record: Record) -> None:
        """Add a row."""
        slot = self.count if self.count < SAMPLED else self._random.randrange(self.count + 1)
        self.count += 1
        if slot < SAMPLED:
            _put(self.scores, record.scores, slot)
            if record.baseline_scores is not None:
                _put(self.others, record.baseline_scores, slot)
        value = next(iter(record.scores.values()))
        if not math.isfinite(value):
            return
        goodness = -value if self.lower_is_better else value
        _keep_highest(self._best, goodness, self.count, record)
        _keep_highest(self._worst, -goodness, self.count, record)
        if record.baseline_scores is not None:
            other = next(iter(record.baseline_scores.values()))
            if math.isfinite(other) and other != value:
                _keep_highest(self._moved, abs(value - other), self.count, record)

    def best(self) -> list[Record]:
        """Return the rows with the best first score, best first."""
        return _sorted(self._best)

    def worst(self) -> list[Record]:
        """Return the rows with the worst first score, worst first, without those among the best."""
        shown = {id(record) for record in self.best()}
        return [record for record in _sorted(self._worst) if id(record) not in shown]

    def moved(self) -> list[Record]:
        """Return the rows on which system and baseline differ most."""
        return _sorted(self._moved)


def as_page(evaluation: Evaluation, rows: PlottedRows, *, source: str, baseline: str | None = None) -> str:
    """Return the page as HTML.

    Args:
        evaluation: the scores.
        rows: rows collected while they were scored.
        source: name of the scored file.
        baseline: name of the baseline.
    """
    against = f", against {escape(baseline)}" if baseline is not None else ""
    noun = "row" if evaluation.rows == 1 else "rows"
    parts = [
        f"<h1>{escape(source)}</h1>",
        f'<p class="soft">{evaluation.rows:,} {noun} scored by llmkit eval{against}</p>',
        *([f"<p>{escape(doubt)}</p>"] if (doubt := few_rows(evaluation)) is not None else []),
        "<h2>Scores</h2>",
        *_scores(evaluation),
        "<h2>How rows differ</h2>",
        _distributions(evaluation, rows),
    ]
    first = next(iter(rows.scores), "")
    if rows.moved():
        parts += [
            f"<h2>Rows that differ most from the baseline ({escape(first)})</h2>",
            *map(_row, rows.moved()),
        ]
    best = "Best rows" if rows.worst() else "All rows"
    for title, found in (("Worst rows", rows.worst()), (best, rows.best())):
        if found:
            parts += [f"<h2>{title} by {escape(first)}</h2>", *map(_row, found)]
    parts += [
        "<h2>To reproduce these numbers</h2>",
        f"<pre>{escape(chr(10).join(signatures(evaluation)))}</pre>",
    ]
    return page(f"{source}: evaluation", "\n".join(parts))


def _scores(evaluation: Evaluation) -> list[str]:
    head, *cells = score_cells(evaluation)
    left = 1 if evaluation.by is None else 2
    lines = [[Cell(text, i < left) for i, text in enumerate(row)] for row in cells]
    parts = [table([Cell(text, i < left) for i, text in enumerate(head)], lines)]
    overall = [score for score in evaluation.scores if score.group is None]
    percent = f"{evaluation.confidence * 100:g}%"
    differences = [
        Interval(score.name, c.difference, c.low, c.high)
        for score in overall
        if (c := score.baseline) is not None
        and c.low is not None
        and c.high is not None
        and math.isfinite(c.low)
        and math.isfinite(c.high)
        and math.isfinite(c.difference)
    ]
    points = [
        Interval(score.name, score.score, score.low, score.high)
        for score in overall
        if score.low is not None and score.high is not None and math.isfinite(score.high)
    ]
    # Scores of one scale share an axis; a score without a scale, such as a perplexity, has its own.
    scales: dict[object, list[str]] = {}
    for score in overall:
        scales.setdefault(score.name if score.scale is None else score.scale, []).append(score.name)
    for names in scales.values():
        shown = [one for one in points if one.name in names]
        if shown:
            noun = f"{_listed(names)} with {'its' if len(names) == 1 else 'their'}"
            parts.append(_figure(intervals(shown), f"{noun} {percent} intervals"))
    for names in scales.values():
        shown = [one for one in differences if one.name in names]
        if shown:
            caption = f"Difference from the baseline in {_listed(names)}, with its {percent} interval"
            parts.append(_figure(intervals(shown, zero=True), caption))
    return parts


def _listed(names: Sequence[str]) -> str:
    """Join names with commas; many become a number."""
    return ", ".join(names) if len(names) <= 4 else f"{len(names)} scores"


def _distributions(evaluation: Evaluation, rows: PlottedRows) -> str:
    scales = {score.name: score.scale for score in evaluation.scores}
    figures = []
    for name, values in rows.scores.items():
        finite = [value for value in values if math.isfinite(value)]
        others = [value for value in rows.others.get(name, []) if math.isfinite(value)]
        if not finite:
            continue
        series = [(name, finite), *([("baseline", others)] if others else [])]
        scale = scales.get(name)
        fits = scale is not None and all(-1e-6 <= value <= scale + 1e-6 for value in [*finite, *others])
        limits = (0.0, float(scale)) if fits and scale is not None else None
        caption = f"{name} of single rows: mean {math.fsum(finite) / len(finite):.4g}"
        if rows.count > SAMPLED:
            caption += f", of a sample of {SAMPLED:,} rows"
        figures.append(_figure(histogram(series, limits=limits), caption))
    return f'<div class="grid">{"".join(figures)}</div>'


def _row(record: Record) -> str:
    """Return one row: its texts, with their differences marked."""
    example = record.row
    numbers = " ".join(
        f"<span>{escape(name)} {value:.4g}</span>"
        for name, value in record.scores.items()
        if math.isfinite(value)
    )
    parts = [f"<header><strong>{escape(example.where)}</strong> {numbers}</header>"]
    losses = example.data.get("token_losses")
    if isinstance(losses, list):
        parts.append(_tokens(example.data["tokens"], losses))
    elif isinstance(example.prediction, str):
        parts += [_text(name, _plain(value, LONGEST // 4)) for name, value in _inputs(example)]
        reference = _nearest(example.prediction, [str(one) for one in example.references])
        prediction, right = marked(example.prediction, reference) if reference is not None else ("", "")
        parts.append(_text("Prediction", prediction or escape(_cut(example.prediction))))
        if record.baseline is not None:
            parts.append(_text("Baseline", _plain(record.baseline.prediction)))
        if reference is not None:
            parts.append(_text("Reference", right))
        for other in example.references:
            if str(other) != reference:
                parts.append(_text("Another reference", _plain(other)))
    else:
        shown = {
            name: value
            for name, value in example.data.items()
            if name not in {"losses", "prediction", "tokens", "token_losses"}
        }
        parts += [_text(name, _plain(value)) for name, value in shown.items()]
        if "prediction" in example.data:
            parts.append(_text("Chosen", _plain(example.data["prediction"])))
    return f"<article>{''.join(parts)}</article>"


def _inputs(example: Example) -> list[tuple[str, Any]]:
    """Return the input columns of a row: all texts except the prediction and the references."""
    known = {example.prediction, *(str(one) for one in example.references)}
    return [
        (name, value)
        for name, value in example.data.items()
        if isinstance(value, str) and value.strip() and value not in known and name not in _NO_INPUT
    ][:INPUTS]


def marked(prediction: str, reference: str) -> tuple[str, str]:
    """Return both as HTML, with `ins` around additions of the prediction and `del` around missing text."""
    one, two = _PIECES.findall(_cut(prediction)), _PIECES.findall(_cut(reference))
    ours, theirs = [], []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, one, two, autojunk=False).get_opcodes():
        mine, right = escape("".join(one[a:b])), escape("".join(two[c:d]))
        ours.append(mine if kind == "equal" or not mine else f"<ins>{mine}</ins>")
        theirs.append(right if kind == "equal" or not right else f"<del>{right}</del>")
    return "".join(ours), "".join(theirs)


def _nearest(prediction: str, references: Sequence[str]) -> str | None:
    """Return the reference that shares the most words with the prediction."""
    if not references:
        return None
    words = set(prediction.split())
    return max(references, key=lambda one: len(words & set(one.split())) / (len(set(one.split())) or 1))


def _tokens(tokens: Sequence[str], losses: Sequence[float]) -> str:
    """Return tokens on a background whose strength shows the loss of each."""
    parts = []
    for token, loss in zip(tokens[:LONGEST], losses[:LONGEST], strict=True):
        share = min(80.0, 8 * loss)
        shown = escape(token.replace("Ġ", " ").replace("▁", " ").replace("Ċ", "\n"))
        parts.append(
            f'<span title="{loss:.2f} nats" style="background: rgb(205 140 20 / {share:.0f}%)">{shown}</span>'
        )
    return _text("Tokens, colored by their loss", "".join(parts))


def _text(label: str, html: str) -> str:
    return f'<h3>{escape(label)}</h3><div class="text">{html}</div>'


def _plain(value: Any, most: int = LONGEST) -> str:
    return escape(_cut(value if isinstance(value, str) else str(value), most))


def _cut(text: str, most: int = LONGEST) -> str:
    return text if len(text) <= most else text[:most] + "…"


def _figure(picture: str, caption: str) -> str:
    return f"<figure>{picture}<figcaption>{escape(caption)}</figcaption></figure>"


def _put(into: dict[str, list[float]], scores: dict[str, float], slot: int) -> None:
    for name, value in scores.items():
        values = into.setdefault(name, [])
        if slot < len(values):
            values[slot] = value
        else:
            values.append(value)


def _keep_highest(heap: list[tuple[float, int, Record]], value: float, number: int, record: Record) -> None:
    """Keep the `SHOWN` highest values; of equal values, the earlier ones."""
    item = (value, -number, record)
    if len(heap) < SHOWN:
        heapq.heappush(heap, item)
    elif item[:2] > heap[0][:2]:
        heapq.heapreplace(heap, item)


def _sorted(heap: list[tuple[float, int, Record]]) -> list[Record]:
    return [record for _, _, record in sorted(heap, key=lambda item: item[:2], reverse=True)]
