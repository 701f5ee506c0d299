"""Charts: round marks on the axes, and no number that breaks them."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from llmkit.text.html.page import Cell, coded, table
from llmkit.text.html.svg import Interval, histogram, intervals, lines, ticks


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 100, [0, 20, 40, 60, 80, 100]),
        (-0.13, 0.31, [-0.1, 0, 0.1, 0.2, 0.3]),
        (2.479, 3.589, [2.6, 2.8, 3, 3.2, 3.4]),
        (1e-5, 5e-5, [1e-5, 2e-5, 3e-5, 4e-5, 5e-5]),
        (0, 1e300, [0, 2e299, 4e299, 6e299, 8e299, 1e300]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected, rel=1e-12, abs=1e-15)
    assert all(f"{tick:g}" == f"{want:g}" for tick, want in zip(ticks(low, high), expected, strict=True))


def test_steps_have_whole_ticks() -> None:
    assert ticks(0, 2, whole=True) == [0, 1, 2]
    assert ticks(0, 997, most=8, whole=True) == [0, 200, 400, 600, 800]


@pytest.mark.parametrize(
    "values", [[3.0], [1.7e308], [2.0**53, 2.0**53], [1e308, -1e308], [0.0, 5e-324], [1e16, 1e16 + 2]]
)
def test_any_finite_values_are_drawn(values: list[float]) -> None:
    for picture in (
        histogram([("a", values)]),
        intervals([Interval("a", value, value, value) for value in values]),
        lines([("a", [(float(i), value) for i, value in enumerate(values)])], across="x", up="y"),
    ):
        assert "nan" not in picture
        assert "inf" not in picture
        ElementTree.fromstring(picture)


def test_backticks_become_code() -> None:
    assert coded("run `llmkit <x>` now") == "run <code>llmkit &lt;x&gt;</code> now"


def test_a_heading_is_not_broken_inside_a_word() -> None:
    from llmkit.text.html.page import page

    made = page("t", table([Cell("score")], [[Cell("0.5")]]))
    body = made.partition("body {")[2].partition("}")[0]
    assert "anywhere" not in body
