"""A self-contained page of explanations: heat maps, matrices, lens grids and parts of the logit.

No script and no network. Blue words make the target more likely, and orange words less likely; words with a
score near 0 have the color of the page. The number is in the title of each piece, and in the table below.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmkit.insight.explanation.result import (
    ComponentScore,
    ExplainedUnit,
    Explanation,
    Faithfulness,
    LensGrid,
    ScoreMatrix,
)
from llmkit.text.html.page import Cell, escape, page, table

_FOR, _AGAINST = "31 111 235", "205 120 20"
_STYLE = """<style>
.heat { line-height: 2; } .heat span { padding: .1rem 0; border-radius: 3px; }
.grid-of td, .grid-of th { padding: .15rem .4rem; font-size: .8rem; text-align: center; }
.grid-of th { white-space: nowrap; } .grid-of .left { text-align: right; }
.scroll { max-height: 24rem; overflow: auto; }
</style>"""
_LONGEST = 200  # rows of a table
_COLUMNS = 120  # of a matrix or a grid, the last ones of a longer text


def explanation_page(explanations: Sequence[tuple[str, Explanation]]) -> str:
    """Return the page.

    Args:
        explanations: each with the place of its text; at least one.
    """
    parts = [_STYLE, "<h1>Explanations</h1>" if len(explanations) > 1 else "<h1>Explanation</h1>"]
    parts.append(
        '<p class="soft">Blue words make the target more likely, orange words less likely. Numbers are in'
        " nats; move the pointer over a word to see its number.</p>"
    )
    for where, one in explanations:
        title = f"<h2>{escape(where)}</h2>" if len(explanations) > 1 else ""
        parts.append(f"<section>{title}{_explanation(one)}</section>")
    return page("llmkit explain", "\n".join(parts))


def _explanation(one: Explanation) -> str:
    parts = [_facts(one)]
    parts += [f'<p class="soft">{escape(note)}</p>' for note in one.notes]
    if one.units:
        for part in dict.fromkeys(unit.part for unit in one.units):
            text = one.question if part == "question" else one.text
            units = [unit for unit in one.units if unit.part == part]
            parts.append(f"<h3>{escape(part.capitalize())}</h3>{_heat_map(text or '', units, one.units)}")
    if one.matrix is not None:
        parts.append(f"<h3>Each part of the target, from the text</h3>{_matrix(one.matrix)}")
    if one.prefix_matrix is not None:
        parts.append(
            f"<h3>Each part of the target, from the target before it</h3>{_matrix(one.prefix_matrix)}"
        )
    if one.lens is not None:
        parts.append(f"<h3>Logit lens</h3>{_lens(one.lens)}")
    if one.components:
        parts.append(f"<h3>Parts of the logit</h3>{_components(one.components)}")
    measured = [
        (name, better, found)
        for name, better, found in (
            ("Comprehensiveness", "higher", one.comprehensiveness),
            ("Sufficiency", "lower", one.sufficiency),
        )
        if found is not None
    ]
    if measured:
        parts.append(f"<h3>Faithfulness</h3>{_measures(measured)}")
    if one.units:
        parts.append(f"<h3>Scores</h3>{_scores(one.units)}")
    return "\n".join(parts)


def _facts(one: Explanation) -> str:
    facts = [("Target", f"“{one.target}”")]
    if one.foil is not None:
        facts.append(("Instead of", f"“{one.foil}”"))
    facts += [
        ("Explained", f"{one.explained} {one.value:.4g}, probability {one.probability:.3g}"),
        ("Method", one.method + (f", {one.steps} steps" if one.steps is not None else "")),
    ]
    if one.baseline is not None:
        facts.append((f"A removed {one.unit} is", f"{one.baseline} (all removed: {one.baseline_value:.4g})"))
    if one.completeness_error is not None:
        facts.append(("Completeness error", f"{one.completeness_error:.2%}"))
    return table([Cell("", left=True)] * 2, [[Cell(a, left=True), Cell(b, left=True)] for a, b in facts])


def _color(score: float, most: float) -> str:
    """Return a background: transparent at 0, full at the highest score."""
    strength = 85 * min(abs(score) / most, 1.0) if most else 0.0
    return f"background: rgb({_FOR if score > 0 else _AGAINST} / {strength:.0f}%)"


def _heat_map(text: str, units: Sequence[ExplainedUnit], every: Sequence[ExplainedUnit]) -> str:
    most = max(abs(unit.score) for unit in every)
    parts, done = [], 0
    for unit in units:
        parts.append(escape(text[done : unit.start]))
        shown = escape(text[unit.start : unit.end])
        parts.append(f'<span title="{unit.score:+.4f}" style="{_color(unit.score, most)}">{shown}</span>')
        done = unit.end
    return f'<div class="text heat">{"".join(parts)}{escape(text[done:])}</div>'


def _matrix(matrix: ScoreMatrix) -> str:
    """Return a table of target parts and units, with the sum of each row."""
    first = max(len(matrix.columns) - _COLUMNS, 0)
    most = max((abs(score) for row in matrix.scores for score in row), default=0.0)
    head = "".join(f"<th>{escape(name)}</th>" for name in matrix.columns[first:])
    lines = [f"<tr><th></th>{head}<th>sum</th></tr>"]
    for name, row in zip(matrix.rows[:_LONGEST], matrix.scores[:_LONGEST], strict=True):
        cells = "".join(
            f'<td title="{score:+.4f}" style="{_color(score, most)}">{score:+.2f}</td>'
            for score in row[first:]
        )
        lines.append(f"<tr><th class=left>{escape(name)}</th>{cells}<td>{sum(row):+.2f}</td></tr>")
    return _grid(lines, len(matrix.columns) - first, len(matrix.columns))


def _lens(grid: LensGrid) -> str:
    """Return layers by positions: the most likely token of each, with a stronger color for a higher
    probability.
    """
    first = max(len(grid.tokens) - _COLUMNS, 0)
    head = "".join(f"<th>{escape(_visible(token))}</th>" for token in grid.tokens[first:])
    lines = [f"<tr><th></th>{head}</tr>"]
    for name, row in zip(grid.layers, grid.cells, strict=True):
        cells = "".join(
            f'<td title="probability {cell.probability:.3f}; the target: {cell.target:.2f} nats, rank'
            f' {cell.rank:,}"'
            f' style="{_color(cell.probability, 1.0)}">{escape(_visible(cell.token))}</td>'
            for cell in row[first:]
        )
        lines.append(f"<tr><th class=left>{escape(name)}</th>{cells}</tr>")
    note = (
        '<p class="soft">Raw: each layer’s state under the model’s own last norm and head. No layer was'
        " trained to be read in this way.</p>"
    )
    return note + _grid(lines, len(grid.tokens) - first, len(grid.tokens))


def _components(components: Sequence[ComponentScore]) -> str:
    """Return layers by heads and MLP, and the parts that belong to no layer."""
    most = max(abs(one.score) for one in components)
    layers: dict[int, list[ComponentScore]] = {}
    for one in components:
        if one.layer is not None:
            layers.setdefault(one.layer, []).append(one)
    names = [one.name.split(" ", 2)[2] for one in next(iter(layers.values()), [])]
    lines = [f"<tr><th></th>{''.join(f'<th>{escape(name)}</th>' for name in names)}<th>sum</th></tr>"]
    for layer, row in layers.items():
        cells = "".join(
            f'<td title="{escape(one.name)}: {one.score:+.4f}" style="{_color(one.score, most)}">'
            f"{one.score:+.2f}</td>"
            for one in row
        )
        total = sum(one.score for one in row)
        lines.append(f"<tr><th class=left>layer {layer}</th>{cells}<td>{total:+.2f}</td></tr>")
    for one in components:
        if one.layer is None:
            lines.append(
                f'<tr><th class=left>{escape(one.name)}</th><td style="{_color(one.score, most)}"'
                f' title="{one.score:+.4f}">{one.score:+.2f}</td></tr>'
            )
    total = sum(one.score for one in components)
    return f'<p class="soft">They add up to {total:+.4f}.</p>' + _grid(lines, len(names), len(names))


def _measures(measured: Sequence[tuple[str, str, Faithfulness]]) -> str:
    head = [
        "",
        "these scores",
        "better is",
        "latest first",
        "random",
        "difference from random",
        "95 % interval",
    ]
    rows = [
        [
            name,
            f"{found.value:.3f}",
            better,
            f"{found.position:.3f}",
            f"{found.random:.3f}",
            f"{found.difference:+.3f}",
            "" if found.low is None or found.high is None else f"{found.low:+.3f} to {found.high:+.3f}",
        ]
        for name, better, found in measured
    ]
    return table([Cell(one) for one in head], [[Cell(one) for one in row] for row in rows])


def _scores(units: Sequence[ExplainedUnit]) -> str:
    ranked = sorted(units, key=lambda unit: -abs(unit.score))
    rows = [
        [
            Cell(f"{unit.score:+.4f}"),
            Cell(_visible(unit.text), left=True),
            Cell(f"{unit.start} to {unit.end}"),
        ]
        for unit in ranked[:_LONGEST]
    ]
    more = f'<p class="soft">and {len(ranked) - _LONGEST} more</p>' if len(ranked) > _LONGEST else ""
    head = [Cell("score"), Cell("piece", left=True), Cell("characters")]
    return f'<div class="scroll">{table(head, rows)}{more}</div>'


def _grid(lines: Sequence[str], shown: int, columns: int) -> str:
    note = f'<p class="soft">The last {shown} of {columns} columns.</p>' if shown < columns else ""
    return f'{note}<div class="wide"><table class="grid-of">{"".join(lines)}</table></div>'


def _visible(text: str) -> str:
    """Return a token with its white space shown."""
    return text.replace("\n", "↵").replace("\t", "⇥").replace(" ", "·") if text.strip() != text else text
