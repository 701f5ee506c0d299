"""Small pictures as SVG, in the colours of `text.page`.

Public: `bars`, `histogram`, `intervals`, `Interval`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from llmkit.text.page import escape

_COLOURS = ("var(--main)", "var(--other)")


def histogram(
    series: Sequence[tuple[str, Sequence[float]]],
    *,
    limits: tuple[float, float] | None = None,
    bins: int = 20,
) -> str:
    """How often values fall where, for one series or for two side by side.

    Args:
        series: a name and finite values each.
        limits: of the axis; None takes the values'.
        bins: how many bars.
    """
    width, height, left, bottom, top = 440, 180, 8, 24, 18
    every = [value for _, values in series for value in values]
    low, high = limits or (min(every), max(every))
    if low == high:
        low, high = low - 0.5, high + 0.5
    counts = [_count(values, low, high, bins) for _, values in series]
    # Shares, not counts: the two may differ in how many values they have.
    shares = [
        [count / max(1, len(values)) for count in row]
        for (_, values), row in zip(series, counts, strict=True)
    ]
    tallest = max(max(row) for row in shares) or 1
    slot = (width - 2 * left) / bins
    bar = slot * 0.86 / len(series)
    parts = []
    for which, (row, numbers) in enumerate(zip(shares, counts, strict=True)):
        for i, share in enumerate(row):
            if not numbers[i]:
                continue
            tall = (height - bottom - top) * share / tallest
            x, y = left + i * slot + slot * 0.07 + which * bar, height - bottom - tall
            ends = f"{_short(low + i * (high - low) / bins)} to {_short(low + (i + 1) * (high - low) / bins)}"
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{bar:.1f}" height="{tall:.1f}"'
                f' fill="{_COLOURS[which]}"><title>{ends}: {numbers[i]} ({share:.1%})</title></rect>'
            )
    y = height - bottom
    parts.append(f'<line x1="{left}" x2="{width - left}" y1="{y}" y2="{y}" stroke="var(--line)"/>')
    for i in range(5):
        x = left + i * (width - 2 * left) / 4
        anchor = ("start", "middle", "middle", "middle", "end")[i]
        at = _short(low + i * (high - low) / 4)
        parts.append(f'<text x="{x:.1f}" y="{height - 6}" text-anchor="{anchor}">{at}</text>')
    if len(series) > 1:
        parts += _legend([name for name, _ in series])
    what = "Histogram of " + " and ".join(name for name, _ in series)
    return _svg(width, height, what, parts)


def bars(values: Sequence[tuple[str, float]], *, unit: str) -> str:
    """Named lengths, one below the other, each with its number: a picture that stands alone.

    Args:
        values: a name and a length of 0 or more each.
        unit: what the numbers count.
    """
    width, row, left = 640, 22, 300
    longest = max((value for _, value in values), default=0.0) or 1.0
    parts = []
    for i, (name, value) in enumerate(values):
        y, long = i * row, (width - left - 90) * value / longest
        parts.append(
            f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{left}" y="{y + 3}" width="{long:.1f}" height="{row - 6}" fill="#1f6feb"/>'
            f'<text x="{left + long + 6:.1f}" y="{y + 15}">{_short(value)} {escape(unit)}</text>'
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
    """A point with its interval, and what it is called."""

    name: str
    value: float
    low: float
    high: float


def intervals(points: Sequence[Interval], *, zero: bool = False) -> str:
    """Points with whiskers, one below the other.

    Args:
        points: their ends are finite.
        zero: draw where 0 is, as differences want.
    """
    width, row, left, bottom = 640, 26, 150, 22
    height = row * len(points) + bottom
    low = min([p.low for p in points] + ([0.0] if zero else []))
    high = max([p.high for p in points] + ([0.0] if zero else []))
    room = (high - low) * 0.04 or 0.5
    low, high = low - room, high + room

    def x(value: float) -> float:
        return left + (value - low) / (high - low) * (width - left - 12)

    parts = []
    if zero:
        parts.append(
            f'<line x1="{x(0):.1f}" x2="{x(0):.1f}" y1="0" y2="{height - bottom}" stroke="var(--soft)"'
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
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        at = low + share * (high - low)
        parts.append(f'<text x="{x(at):.1f}" y="{height - 4}" text-anchor="{anchor}">{_short(at)}</text>')
    return _svg(width, height, "Scores and their intervals", parts)


def _count(values: Sequence[float], low: float, high: float, bins: int) -> list[int]:
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, max(0, int((value - low) / (high - low) * bins)))] += 1
    return counts


def _legend(names: Sequence[str]) -> list[str]:
    parts, x = [], 8.0
    for name, colour in zip(names, _COLOURS, strict=False):
        parts.append(
            f'<rect x="{x:.0f}" y="2" width="10" height="10" fill="{colour}"/>'
            f'<text x="{x + 15:.0f}" y="11">{escape(name)}</text>'
        )
        x += 40 + 7 * len(name)
    return parts


def _short(value: float) -> str:
    """Four significant digits: an axis's label."""
    return "0" if math.isclose(value, 0, abs_tol=1e-12) else f"{value:.4g}"


def _svg(width: int, height: float, label: str, parts: Sequence[str]) -> str:
    inside = "\n".join(parts)
    return (
        f'<svg viewBox="0 0 {width} {height:.0f}" role="img" aria-label="{escape(label)}">\n{inside}\n</svg>'
    )
