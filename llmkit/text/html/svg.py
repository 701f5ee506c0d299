"""Small SVG charts in the colors of `text.html.page`.

Public: `bars`, `histogram`, `intervals`, `Interval`, `lines`, `ticks`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from llmkit.text.html.page import escape

_COLORS = ("var(--main)", "var(--other)")


def ticks(low: float, high: float, most: int = 6, *, whole: bool = False) -> list[float]:
    """Return round values from `low` to `high` for the marks of an axis: multiples of 1, 2 or 5 times a power
    of ten.

    Args:
        low, high: finite ends of the axis, `low` below `high`.
        most: largest number of values.
        whole: whole numbers only.
    """
    size = 10.0 ** math.floor(math.log10((high - low) / most))
    for step in (one * size for one in (1, 2, 5, 10, 20)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most and not (whole and step < 1):
            break
    # Division by a whole number gives 0.3 where the product gives 0.30000000000000004.
    return [i / round(1 / step) if step < 1 else i * step for i in range(first, last + 1)]


def _ends(low: float, high: float) -> tuple[float, float]:
    """Return the ends of an axis for values from `low` to `high`, far enough from each other to divide."""
    low, high = (max(-1e300, min(1e300, end)) for end in (low, high))
    if high - low <= max(1e-9 * max(abs(low), abs(high)), 1e-290):
        room = max(0.5, 0.01 * abs(low))
        return low - room, high + room
    return low, high


def histogram(
    series: Sequence[tuple[str, Sequence[float]]],
    *,
    limits: tuple[float, float] | None = None,
    bins: int = 20,
) -> str:
    """Return a histogram of one series, or of two side by side.

    Args:
        series: names and finite values.
        limits: ends of the axis; None takes round numbers around all values.
        bins: number of bars; without `limits`, at most about twice as many.
    """
    width, height, left, bottom, top = 440, 180, 8, 24, 18
    every = [value for _, values in series for value in values]
    low, high = limits or (0.0, 0.0)
    if limits is None:
        edges = ticks(*_ends(min(every), max(every)), most=bins)
        bin_width = edges[1] - edges[0]
        low, high = edges[0] - bin_width, edges[-1] + bin_width
        bins = len(edges) + 1
    counts = [_count(values, low, high, bins) for _, values in series]
    # Shares, not counts: the two series may have different numbers of values.
    shares = [
        [count / max(1, len(values)) for count in row]
        for (_, values), row in zip(series, counts, strict=True)
    ]
    tallest = max(max(row) for row in shares) or 1
    slot = (width - 2 * left) / bins
    bar = slot * 0.86 / len(series)
    parts = []
    for number, (row, numbers) in enumerate(zip(shares, counts, strict=True)):
        for i, share in enumerate(row):
            if not numbers[i]:
                continue
            tall = (height - bottom - top) * share / tallest
            x, y = left + i * slot + slot * 0.07 + number * bar, height - bottom - tall
            ends = f"{_short(low + i * (high - low) / bins)} to {_short(low + (i + 1) * (high - low) / bins)}"
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{bar:.1f}" height="{tall:.1f}"'
                f' fill="{_COLORS[number]}"><title>{ends}: {numbers[i]} ({share:.1%})</title></rect>'
            )
    y = height - bottom
    parts.append(f'<line x1="{left}" x2="{width - left}" y1="{y}" y2="{y}" stroke="var(--line)"/>')
    for at in ticks(low, high):
        x = left + (at - low) / (high - low) * (width - 2 * left)
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{y + 4}" stroke="var(--line)"/>'
            f'<text x="{x:.1f}" y="{height - 6}" text-anchor="{_anchor(x, width)}">{_short(at)}</text>'
        )
    if len(series) > 1:
        parts += _legend([name for name, _ in series])
    label = "Histogram of " + " and ".join(name for name, _ in series)
    return _svg(width, height, label, parts)


def bars(values: Sequence[tuple[str, float]], *, unit: str, notes: Sequence[str] = ()) -> str:
    """Return a self-contained bar chart: one bar a line, each with its number.

    Args:
        values: names and lengths of 0 or more.
        unit: unit of the numbers.
        notes: one for each value, shown after its number.
    """
    row, letter = 22, 6.7  # average width of a letter, rounded up
    left = max(120.0, letter * max((len(name) for name, _ in values), default=0) + 8)
    right = 90 + letter * max(map(len, notes), default=0)
    width = round(left + 250 + right)
    longest = max((value for _, value in values), default=0.0) or 1.0
    parts = []
    for i, (name, value) in enumerate(values):
        y, long = i * row, 250 * value / longest
        note = f" ({escape(notes[i])})" if notes else ""
        parts.append(
            f'<text x="{left - 8:.1f}" y="{y + 15}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{left:.1f}" y="{y + 3}" width="{long:.1f}" height="{row - 6}" fill="#1f6feb"/>'
            f'<text x="{left + long + 6:.1f}" y="{y + 15}">{_short(value)} {escape(unit)}{note}</text>'
        )
    style = "<style>text { font: 12px system-ui, sans-serif; fill: #57606a; }</style>"
    label = escape(f"Bars of {len(values)} values in {unit}")
    inside = "\n".join([style, *parts])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {row * len(values)}" role="img"'
        f' aria-label="{label}">\n{inside}\n</svg>\n'
    )


@dataclass(frozen=True)
class Interval:
    """A named point with its interval."""

    name: str
    value: float
    low: float
    high: float


def intervals(points: Sequence[Interval], *, zero: bool = False, mark: float | None = None) -> str:
    """Return points with whiskers, one per line.

    Args:
        points: names, values and finite ends.
        zero: draw a line at 0, for differences.
        mark: draw a line at this value instead.
    """
    mark = 0.0 if zero and mark is None else mark
    width, row, left, bottom = 640, 26, 150, 22
    height = row * len(points) + bottom
    marks = [] if mark is None else [mark]
    low = min([p.low for p in points] + marks)
    high = max([p.high for p in points] + marks)
    low, high = _ends(low, high)
    room = (high - low) * 0.04
    low, high = low - room, high + room

    def x(value: float) -> float:
        return left + (value - low) / (high - low) * (width - left - 12)

    parts = []
    if mark is not None:
        parts.append(
            f'<line x1="{x(mark):.1f}" x2="{x(mark):.1f}" y1="0" y2="{height - bottom}" stroke="var(--soft)"'
            ' stroke-dasharray="3 3"/>'
        )
    for i, p in enumerate(points):
        y = i * row + row / 2
        parts.append(
            f'<text x="0" y="{y + 4:.1f}">{escape(p.name[:22])}</text>'
            f'<line x1="{x(p.low):.1f}" x2="{x(p.high):.1f}" y1="{y}" y2="{y}" stroke="var(--main)"'
            f' stroke-width="3"/><circle cx="{x(p.value):.1f}" cy="{y}" r="5" fill="var(--main)">'
            f"<title>{_short(p.value)} ({_short(p.low)} to {_short(p.high)})</title></circle>"
        )
    y = height - bottom
    parts.append(f'<line x1="{left}" x2="{width - 12}" y1="{y}" y2="{y}" stroke="var(--line)"/>')
    for at in ticks(low, high):
        anchor = _anchor(x(at), width)
        parts.append(f'<text x="{x(at):.1f}" y="{height - 4}" text-anchor="{anchor}">{_short(at)}</text>')
    return _svg(width, height, "Scores and their intervals", parts)


def _count(values: Sequence[float], low: float, high: float, bins: int) -> list[int]:
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, max(0, int((value - low) / (high - low) * bins)))] += 1
    return counts


def _anchor(x: float, width: float) -> str:
    """Return the alignment of a label at `x` that stays inside the picture."""
    return "start" if x < 16 else "end" if x > width - 16 else "middle"


def _legend(names: Sequence[str]) -> list[str]:
    parts, x = [], 8.0
    for name, color in zip(names, _COLORS, strict=False):
        parts.append(
            f'<rect x="{x:.0f}" y="2" width="10" height="10" fill="{color}"/>'
            f'<text x="{x + 15:.0f}" y="11">{escape(name)}</text>'
        )
        x += 40 + 7 * len(name)
    return parts


def _short(value: float) -> str:
    """Format a number with four significant digits, for labels."""
    if math.isclose(value, 0, abs_tol=1e-12):
        return "0"
    return f"{value:,.0f}" if abs(value) < 1e6 and float(value).is_integer() else f"{value:.4g}"


def _svg(width: int, height: float, label: str, parts: Sequence[str]) -> str:
    inside = "\n".join(parts)
    return (
        f'<svg viewBox="0 0 {width} {height:.0f}" role="img" aria-label="{escape(label)}">\n{inside}\n</svg>'
    )


# The picture stands alone: its colors are those of the page, written out.
_LINES_STYLE = (
    "<style>text { font: 12px system-ui, sans-serif; fill: #57606a; } .a { stroke: #1f6feb; } "
    ".b { stroke: #9a6700; } .fa { fill: #1f6feb; } .fb { fill: #9a6700; } .grid { stroke: #d0d7de; } "
    ".mark { stroke: #57606a; stroke-dasharray: 4 4; } "
    "@media (prefers-color-scheme: dark) { text { fill: #9aa4af; } .grid { stroke: #343a41; } "
    ".mark { stroke: #9aa4af; } "
    ".a { stroke: #6cb0ff; } .b { stroke: #e3b341; } .fa { fill: #6cb0ff; } .fb { fill: #e3b341; } }"
    "</style>"
)


def _curve(
    letter: str, values: Sequence[tuple[float, float]], places: Sequence[tuple[float, float]]
) -> list[str]:
    """Return a curve of `lines`, and its points if they are few."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    points = zip(values, places, strict=True) if len(values) <= 40 else ()
    return [
        f'<polyline class="{letter}" points="{path}" fill="none" stroke-width="2"/>',
        *(
            f'<circle class="f{letter}" cx="{at_x:.1f}" cy="{at_y:.1f}" r="3.5">'
            f"<title>{_short(x)}: {_short(y)}</title></circle>"
            for (x, y), (at_x, at_y) in points
        ),
    ]


def lines(
    series: Sequence[tuple[str, Sequence[tuple[float, float]]]],
    *,
    across: str,
    up: str,
    mark: tuple[float, str] | None = None,
) -> str:
    """Return a self-contained line chart, light or dark as the reader's system.

    Args:
        series: at most two curves, each a name and finite (x, y) points; few points are shown as dots.
        across: label of the x axis.
        up: label of the y axis.
        mark: an x value with its label: a vertical line is drawn there, and the legend shows the label.
    """
    width, height, left, bottom, top = 640, 300, 56, 40, 26
    points = [point for _, curve in series for point in curve]
    (x_low, x_high), (y_low, y_high) = (
        (min(values), max(values)) for values in zip(*points or [(0.0, 0.0)], strict=True)
    )
    whole = all(float(x).is_integer() for x, _ in points)
    (x_low, x_high), (y_low, y_high) = _ends(x_low, x_high), _ends(y_low, y_high)
    x_span, y_span = x_high - x_low, y_high - y_low

    def position(x: float, y: float) -> tuple[float, float]:
        return (
            left + (x - x_low) / x_span * (width - left - 12),
            height - bottom - (y - y_low) / y_span * (height - bottom - top),
        )

    parts = [_LINES_STYLE]
    for y in ticks(y_low, y_high):
        at_y = position(x_low, y)[1]
        parts.append(
            f'<line class="grid" x1="{left}" x2="{width - 12}" y1="{at_y:.1f}" y2="{at_y:.1f}"/>'
            f'<text x="{left - 8}" y="{at_y + 4:.1f}" text-anchor="end">{_short(y)}</text>'
        )
    for x in ticks(x_low, x_high, most=8, whole=whole):
        at_x = position(x, y_low)[0]
        parts.append(f'<text x="{at_x:.1f}" y="{height - 22}" text-anchor="middle">{_short(x)}</text>')
    if mark is not None:
        at_x = position(mark[0], y_low)[0]
        legend = width - 400  # in the legend: a label next to the line would cover a curve
        parts.append(
            f'<line class="mark" x1="{at_x:.1f}" x2="{at_x:.1f}" y1="{top}" y2="{height - bottom}"/>'
            f'<line class="mark" x1="{legend + 5}" x2="{legend + 5}" y1="2" y2="18"/>'
            f'<text x="{legend + 15}" y="14">{escape(mark[1])}</text>'
        )
    parts.append(
        f'<text x="{(left + width) / 2:.0f}" y="{height - 4}" text-anchor="middle">{escape(across)}</text>'
        f'<text x="4" y="14">{escape(up)}</text>'
    )
    for letter, (name, curve), legend in zip("ab", series, (width - 240, width - 120), strict=False):
        parts += _curve(letter, curve, [position(*point) for point in curve])
        parts.append(
            f'<rect class="f{letter}" x="{legend}" y="5" width="10" height="10"/>'
            f'<text x="{legend + 15}" y="14">{escape(name)}</text>'
        )
    inside = "\n".join(parts)
    label = escape(f"{up} over {across}: {' and '.join(name for name, _ in series)}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"'
        f' aria-label="{label}">\n{inside}\n</svg>\n'
    )
